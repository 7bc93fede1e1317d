#!lua flags=allow-oom
-- sweep ends expired leases and hands out events whose receipts are overdue,
-- each to one caller in a while. Events that no caller was told of are overdue
-- at once: nobody else writes their receipts.
--
-- The events that wait are found by walking the tenant's numbers from the
-- oldest that may wait. One call walks a bounded way and the next goes on there.
--
-- KEYS  1 tenant
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 how many events to hand out at most
--       7 how long an event may wait, in milliseconds; 0: hand out all that wait
-- Reply one string: lost
--       or a list: swept NOW EPOCH NUMBER DIGEST MORE, then "NUMBER EVENT" for each;
--       MORE is 1 if leases are still to be ended.

local MAX_EVENTS = tonumber(ARGV[6])
local OVERDUE_MS = tonumber(ARGV[7])
local MAX_WALK = 20000
local CHUNK = 500

local OWNERLESS = { provision = true, policy = true, expire = true, kill = true, lift = true }

local function overdue(handed, kind, at, now)
  if handed > 0 then return now >= handed + OVERDUE_MS end
  return OWNERLESS[kind] or now >= at + OVERDUE_MS
end

-- hand_out appends an event to out if it is overdue, and notes the time.
local function hand_out(t, number, event, out)
  local handed, rest = string.match(event, '^(%d+) (.*)$')
  local kind, at = string.match(rest, '^(%l+) (%d+)')
  if not overdue(tonumber(handed), kind, tonumber(at), t.now) then return end
  call('HSET', EVENTS, number, int(t.now) .. ' ' .. rest)
  out[#out + 1] = number .. ' ' .. rest
end

-- events_from reads what waits under the numbers from first to last.
local function events_from(first, last)
  local numbers = {}
  for n = first, last do numbers[#numbers + 1] = int(n) end
  return numbers, call('HMGET', EVENTS, unpack(numbers))
end

-- walk goes over the numbers from first. It returns the number to go on with
-- and the oldest that it saw waiting, if any.
local function walk(t, first, out)
  local oldest = nil
  local last = math.min(t.number, first + MAX_WALK - 1)
  local from = first
  while from <= last do
    local numbers, events = events_from(from, math.min(from + CHUNK - 1, last))
    for i, event in ipairs(events) do
      if #out > MAX_EVENTS then return from + i - 1, oldest end
      if event then
        oldest = oldest or tonumber(numbers[i])
        hand_out(t, numbers[i], event, out)
      end
    end
    from = from + #numbers
  end
  return from, oldest
end

local t, lost = begin()
if not t then return lost end
if not call('HGET', EVENTS, NONE) then kept().lost('the list of events without a receipt') end
local saved = call('HMGET', KEYS[1], 'oldest', 'walk')
local oldest = tonumber(saved[1] or 1)
local from = math.max(tonumber(saved[2] or 1), oldest)
if OVERDUE_MS == 0 then from = oldest end

local out = { '' }
local next_walk, waiting = walk(t, from, out)
-- Nothing waits below where this walk began or found its first event.
if from == oldest then oldest = waiting or next_walk end
if next_walk > t.number then next_walk = oldest end
call('HSET', KEYS[1], 'oldest', int(oldest), 'walk', int(next_walk))

out[1] = reply('swept', t) .. (t.more_due and ' 1' or ' 0')
return out
