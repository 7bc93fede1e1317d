#!lua
-- extend raises the hold of every adjust claim of an open lease to a total, by the
-- limits, policy and switches that it is given. With memory full it is refused, as
-- reserve is.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 lease id  7 total
--       8 policy generation  9 policy hash
--       10 switches that would stop it, joined by spaces
--       11... limits, each KEY LIMIT. An adjust claim whose key has none may reach 0.
-- Reply lost WHY
--       unknown|ended|stale NOW EPOCH NUMBER DIGEST
--       granted NOW EPOCH NUMBER DIGEST EXTENSION AT EXPIRES HOLD REPEATED { START END SPENT HELD }...
--       killed NOW EPOCH NUMBER DIGEST SWITCH EVENT AT
--       denied NOW EPOCH NUMBER DIGEST HOLD { KEY START END SPENT HELD REASON }...

local id, total, hash = ARGV[6], tonumber(ARGV[7]), ARGV[9]

-- answer repeats the last extension, or the grant if there was none.
local function answer(t, l, repeated)
  if l.extension == '' then return granted(t, l, l.number, l.at, l.seen, l.hold, repeated) end
  local number, at, seen = string.match(l.extension, '^(%d+) (%d+) (.*)$')
  return granted(t, l, tonumber(number), tonumber(at), seen, l.hold, repeated)
end

local function adjusts(claims)
  for _, c in ipairs(claims) do
    if c.at_end == 'adjust' then return true end
  end
  return false
end

-- place_as_granted gives claims the spans that they were granted in.
local function place_as_granted(claims, l)
  local i, seen = 0, string.gsub(l.seen, ' %+%d+', '')
  for span in string.gmatch(seen, '(%d+ %d+) %d+ %d+') do
    i = i + 1
    claims[i].span = span
  end
end

local function read_limits()
  local limits = {}
  for i = 11, #ARGV, 2 do limits[ARGV[i]] = tonumber(ARGV[i + 1]) end
  return limits
end

local function judge_all(claims, more)
  local reasons, fits, limits = {}, true, read_limits()
  for i, c in ipairs(claims) do
    reasons[i] = 'fits'
    if c.at_end == 'adjust' then
      c.limit = limits[c.key] or 0
      reasons[i] = judge(more, c)
    end
    fits = fits and reasons[i] == 'fits'
  end
  return reasons, fits
end

local function refuse(t, l, claims, reasons)
  local out = { reply('denied', t), int(l.hold) }
  for i, c in ipairs(claims) do out[#out + 1] = c.key .. ' ' .. observed(c) .. ' ' .. reasons[i] end
  return table.concat(out, ' ')
end

local function extend(t, l, claims)
  local seen, raised = {}, {}
  for i, c in ipairs(claims) do
    seen[i] = observed(c)
    if c.at_end == 'adjust' then
      assure(c, t.now, 0)
      c.held = c.held + total - l.hold
      raised[#raised + 1] = c
    end
  end
  write_counters(raised, t.now)
  add_event(t, 'extend', id, total, 0, ARGV[8] .. ' ' .. hash .. '\n' .. table.concat(ARGV, ' ', 11))
  l.hold = total
  l.extension = int(t.number) .. ' ' .. int(t.now) .. ' ' .. table.concat(seen, ' ')
  write_lease(l, t.now)
  write_tenant(t)
end

local t, lost = begin('switches', 'generation', 'hash')
if not t then return lost end
local l = own_lease(t, id)
if not l then return kept().refuse(id, t.now, reply('unknown', t)) end
if l.state ~= 'open' then return reply('ended', t) end
if total <= l.hold then return answer(t, l, 1) end
local claims = unpack_claims(l)
if not adjusts(claims) then return answer(t, l, 1) end
if t.apart then return disagree(t) end
if is_stale(t, ARGV[8] + 0, hash) then return reply('stale', t) end

adopt(t, ARGV[8], hash)
local stopped = killed(t, ARGV[10])
if stopped then return stopped end
local gone = load_held(claims, l, t.now)
if gone then kept().lost(gone) end
place_as_granted(claims, l)
local reasons, fits = judge_all(claims, total - l.hold)
if not fits then return refuse(t, l, claims, reasons) end
extend(t, l, claims)
return answer(t, l, 0)
