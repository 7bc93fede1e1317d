#!lua flags=allow-oom
-- balances reads the counters that claims name.
--
-- KEYS  1 tenant
-- ARGV  1 epoch seen  2 number seen  3 acknowledged
--       4... claims, twelve arguments each (see shared/claim.lua); their
--            amounts and limits are not used
-- Reply lost WHY
--       window NOW EPOCH NUMBER
--       balances NOW EPOCH NUMBER OPEN { START END SPENT HELD }...

local t, lost = begin()
if not t then return lost end

local claims = read_claims(4, t.now)
if not claims then return reply('window', t) end
load_counters(claims, t.now)

local out = { reply('balances', t), int(call('ZCARD', OPEN)) }
for _, c in ipairs(claims) do out[#out + 1] = observed(c) end
return table.concat(out, ' ')
