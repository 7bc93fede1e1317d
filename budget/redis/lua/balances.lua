#!lua flags=allow-oom
-- balances reads the counters that claims name, and the thrown switches.
--
-- KEYS  1 tenant
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6... claims, twelve arguments each (see shared/claim.lua); their
--            amounts and limits are not used
-- Reply lost WHY
--       window NOW EPOCH NUMBER DIGEST
--       balances NOW EPOCH NUMBER DIGEST OPEN THROWN { SWITCH EVENT AT }... { START END SPENT HELD [+NEW] }...
--       where only a claim with marks has +NEW

local t, lost = begin('switches')
if not t then return lost end

local claims = read_claims(6, t.now)
if not claims then return reply('window', t) end
load_counters(claims, t.now)
kept().open()

local out = { reply('balances', t), int(call('ZCARD', OPEN) - 1), int(t.switches) }
if t.switches > 0 then
  local thrown = call('HGETALL', PREFIX .. 'switches')
  for i = 1, #thrown, 2 do out[#out + 1] = thrown[i] .. ' ' .. thrown[i + 1] end
end
for _, c in ipairs(claims) do
  if #c.at_end > 6 then marks().count(c) end -- see reserve.lua
  out[#out + 1] = observed(c)
end
return table.concat(out, ' ')
