#!lua flags=allow-oom
-- throw throws a kill switch. One that is thrown stays as it is, unless it is to
-- be thrown anew. It runs with memory full: that is no reason not to stop.
--
-- KEYS  1 tenant
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 switch  7 how many may be thrown  8 whether anew: 1 or 0
-- Reply lost WHY
--       full NOW EPOCH NUMBER DIGEST
--       thrown NOW EPOCH NUMBER DIGEST EVENT AT

local t, lost = begin('switches')
if not t then return lost end
local event = call('HGET', SWITCHES, ARGV[6])
if not event and t.switches >= ARGV[7] + 0 then return reply('full', t) end
if not event or ARGV[8] == '1' then
  event = throw(t, ARGV[6])
  write_tenant(t)
end
return reply('thrown', t) .. ' ' .. event
