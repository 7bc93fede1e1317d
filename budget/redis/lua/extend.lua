#!lua
-- extend raises the hold of every adjust claim of an open lease to a total.
-- With memory full it is refused, as reserve is.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 acknowledged
--       4 lease id  5 total
-- Reply lost WHY
--       unknown|ended NOW EPOCH NUMBER
--       granted NOW EPOCH NUMBER EXTENSION AT EXPIRES { START END SPENT HELD }...
--       denied NOW EPOCH NUMBER { START END SPENT HELD REASON }...

local id, total = ARGV[4], tonumber(ARGV[5])

-- answer repeats the last extension, or the grant if there was none.
local function answer(t, l)
  if l.extension == '' then return granted(t, l, l.number, l.at, observed_by_grant(l)) end
  local number, at, seen = string.match(l.extension, '^(%d+) (%d+) (.*)$')
  return granted(t, l, tonumber(number), tonumber(at), seen)
end

local function judge_all(claims, counters, more)
  local reasons, fits, adjusts = {}, true, false
  for i, c in ipairs(claims) do
    reasons[i] = 'fits'
    if c.at_end == 'adjust' then
      adjusts = true
      reasons[i] = judge(more, c.limit, counters[i])
    end
    fits = fits and reasons[i] == 'fits'
  end
  return reasons, fits, adjusts
end

local function extend(t, l, claims, counters)
  local seen = {}
  for i, c in ipairs(claims) do
    local k = counters[i]
    seen[i] = observed(c, k)
    if c.at_end == 'adjust' then
      k.held = k.held + total - l.hold
      write_counter(k, t.now)
    end
  end
  add_event(t, 'extend', id, total, 0, '')
  l.hold = total
  l.extension = int(t.number) .. ' ' .. int(t.now) .. ' ' .. table.concat(seen, ' ')
  write_lease(l, t.now)
  write_tenant(t)
end

local t = begin()
if not t then return lost() end
local l = own_lease(t, id)
if not l then return reply('unknown', t) end
if l.state ~= 'open' then return reply('ended', t) end
if total <= l.hold then return answer(t, l) end

local claims = parse_claims(l.claims)
local counters = load_counters(claims, t.now)
local reasons, fits, adjusts = judge_all(claims, counters, total - l.hold)
if not adjusts then return answer(t, l) end
if not fits then return denied(t, claims, counters, reasons) end
extend(t, l, claims, counters)
return answer(t, l)
