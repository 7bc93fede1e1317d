#!lua flags=allow-oom
-- renew moves the expiry of an open lease. It is no event: a balance does not
-- change by it. Counters that would not have to exist for so long are written anew.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 lease id  7 time to live, ms
-- Reply lost WHY
--       unknown|ended NOW EPOCH NUMBER DIGEST
--       renewed NOW EPOCH NUMBER DIGEST EXPIRES

local id, ttl = ARGV[6], tonumber(ARGV[7])

-- outlasted are the counters of a lease that are not promised until it expires.
local function outlasted(l, now)
  local claims, short = unpack_claims(l), {}
  local gone = load_held(claims, l, now)
  if gone then kept().lost(gone) end
  for _, c in ipairs(claims) do
    if c.promised < l.expires then short[#short + 1] = c end
  end
  return short
end

local t, lost = begin()
if not t then return lost end
local l = own_lease(t, id)
if not l then return kept().refuse(id, t.now, reply('unknown', t)) end
if l.state ~= 'open' then return reply('ended', t) end

l.expires = math.min(t.now + ttl, l.at + MAX_LEASE_LIFE_MS)
t.due = math.min(t.due, l.expires)
local short = outlasted(l, t.now)
for _, c in ipairs(short) do assure(c, t.now, l.expires) end
if call('ZADD', OPEN, int(l.expires), id) == 1 then kept().lost('the entry of the open lease ' .. id) end
write_counters(short, t.now)
write_lease(l, t.now)
write_tenant(t)
return reply('renewed', t) .. ' ' .. int(l.expires)
