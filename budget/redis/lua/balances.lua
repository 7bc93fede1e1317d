#!lua flags=allow-oom
-- balances reads the counters that claims name.
--
-- KEYS  1 tenant
-- ARGV  1 epoch seen  2 number seen  3 acknowledged
--       4... claims, one string each; their amounts and limits are not used
-- Reply lost WHY
--       window NOW EPOCH NUMBER
--       balances NOW EPOCH NUMBER OPEN { START END SPENT HELD }...

local t = begin()
if not t then return lost() end

local claims = {}
for i = 4, #ARGV do
  local c = parse_claim(ARGV[i])
  if not place(c, t.now) then return reply('window', t) end
  claims[#claims + 1] = c
end

local out = { reply('balances', t), int(redis.call('ZCARD', OPEN)) }
for i, k in ipairs(load_counters(claims, t.now)) do out[#out + 1] = observed(claims[i], k) end
return table.concat(out, ' ')
