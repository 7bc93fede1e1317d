#!lua
-- extend raises the hold of every adjust claim of an open lease to a total.
-- With memory full it is refused, as reserve is.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 acknowledged
--       4 lease id  5 total
-- Reply lost WHY
--       unknown|ended NOW EPOCH NUMBER
--       granted NOW EPOCH NUMBER EXTENSION AT EXPIRES HOLD 0 { START END SPENT HELD }...
--       denied NOW EPOCH NUMBER { START END SPENT HELD REASON }...

local id, total = ARGV[4], tonumber(ARGV[5])

-- answer repeats the last extension, or the grant if there was none.
local function answer(t, l)
  if l.extension == '' then return granted(t, l, l.number, l.at, l.seen, l.hold, 0) end
  local number, at, seen = string.match(l.extension, '^(%d+) (%d+) (.*)$')
  return granted(t, l, tonumber(number), tonumber(at), seen, l.hold, 0)
end

-- place_as_granted gives claims the spans that they were granted in.
local function place_as_granted(claims, l)
  local i, seen = 0, string.gsub(l.seen, ' %+%d+', '')
  for span in string.gmatch(seen, '(%d+ %d+) %d+ %d+') do
    i = i + 1
    claims[i].span = span
  end
end

local function judge_all(claims, more)
  local reasons, fits, adjusts = {}, true, false
  for i, c in ipairs(claims) do
    reasons[i] = 'fits'
    if c.at_end == 'adjust' then
      adjusts = true
      reasons[i] = judge(more, c)
    end
    fits = fits and reasons[i] == 'fits'
  end
  return reasons, fits, adjusts
end

local function extend(t, l, claims)
  local seen, raised = {}, {}
  for i, c in ipairs(claims) do
    seen[i] = observed(c)
    if c.at_end == 'adjust' then
      c.held = c.held + total - l.hold
      raised[#raised + 1] = c
    end
  end
  write_counters(raised, t.now)
  add_event(t, 'extend', id, total, 0, '0 ~')
  l.hold = total
  l.extension = int(t.number) .. ' ' .. int(t.now) .. ' ' .. table.concat(seen, ' ')
  write_lease(l, t.now)
  write_tenant(t)
end

local t, lost = begin()
if not t then return lost end
local l = own_lease(t, id)
if not l then return reply('unknown', t) end
if l.state ~= 'open' then return reply('ended', t) end
if total <= l.hold then return answer(t, l) end

local claims = unpack_claims(l)
load_counters(claims, t.now)
place_as_granted(claims, l)
local reasons, fits, adjusts = judge_all(claims, total - l.hold)
if not adjusts then return answer(t, l) end
if not fits then return denied(t, claims, reasons) end
extend(t, l, claims)
return answer(t, l)
