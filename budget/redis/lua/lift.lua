#!lua flags=allow-oom
-- lift takes a kill switch back, if the event that is given threw it.
--
-- KEYS  1 tenant
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 switch  7 event, 0 for any
-- Reply lost WHY
--       lifted NOW EPOCH NUMBER DIGEST EVENT AT, both 0 where it was not thrown so

local t, lost = begin('switches')
if not t then return lost end
local event = string.match(call('HGET', SWITCHES, ARGV[6]) or '', '^%d+')
if not event or ARGV[7] ~= '0' and ARGV[7] ~= event then return reply('lifted', t) .. ' 0 0' end
call('HDEL', SWITCHES, ARGV[6])
call('HSET', KEYS[1], 'switches', int(t.switches - 1))
add_event(t, 'lift', ARGV[6], 0, 0, '0 ~')
write_tenant(t)
return reply('lifted', t) .. ' ' .. int(t.number) .. ' ' .. t.now_text
