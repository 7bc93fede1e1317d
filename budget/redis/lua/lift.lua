#!lua flags=allow-oom
-- lift takes a kill switch back.
--
-- KEYS  1 tenant
-- ARGV  1 epoch seen  2 number seen  3 acknowledged
--       4 switch
-- Reply lost WHY
--       lifted NOW EPOCH NUMBER EVENT AT, both 0 where it was not thrown

local t, lost = begin('switches')
if not t then return lost end
if call('HDEL', SWITCHES, ARGV[4]) == 0 then return reply('lifted', t) .. ' 0 0' end
call('HSET', KEYS[1], 'switches', int(t.switches - 1))
add_event(t, 'lift', ARGV[4], 0, 0, '0 ~')
write_tenant(t)
return reply('lifted', t) .. ' ' .. int(t.number) .. ' ' .. t.now_text
