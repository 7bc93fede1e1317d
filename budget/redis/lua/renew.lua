#!lua flags=allow-oom
-- renew moves the expiry of an open lease. It is no event: a balance does not
-- change by it.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 lease id  7 time to live, ms
-- Reply lost WHY
--       unknown|ended NOW EPOCH NUMBER DIGEST
--       renewed NOW EPOCH NUMBER DIGEST EXPIRES

local id, ttl = ARGV[6], tonumber(ARGV[7])

local t, lost = begin()
if not t then return lost end
local l = own_lease(t, id)
if not l then return reply('unknown', t) end
if l.state ~= 'open' then return reply('ended', t) end

l.expires = math.min(t.now + ttl, l.at + MAX_LEASE_LIFE_MS)
t.due = math.min(t.due, l.expires)
write_lease(l, t.now)
call('ZADD', OPEN, int(l.expires), id)
write_tenant(t)
return reply('renewed', t) .. ' ' .. int(l.expires)
