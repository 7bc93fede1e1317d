#!lua flags=allow-oom
-- release ends a lease of which nothing was sent. Of an unknown one it leaves a
-- record, so that a reserve that comes late is refused.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 lease id
-- Reply lost WHY
--       ended NOW EPOCH NUMBER DIGEST
--       closed NOW EPOCH NUMBER DIGEST KIND END AT CHARGE HOLD REPEATED

local id = ARGV[6]

local function tombstone(t)
  local l = { key = KEYS[2], number = t.number + 1, at = t.now, expires = 0, hold = 0, forget_at = 0 }
  end_lease(t, id, l, 'release', usage(0, 0, 0))
  return l
end

local t, lost = begin()
if not t then return lost end
local l = own_lease(t, id)
local before = l and l.state
if l and l.state == 'settle' then return reply('ended', t) end
if not l then
  kept().lease(id, t.now)
  l = tombstone(t)
  write_tenant(t)
elseif l.state == 'open' then
  close_lease(t, id, l, 'release', usage(0, 0, 0))
  write_tenant(t)
elseif l.state == 'expire' then
  correct_lease(t, id, l, usage(0, 0, 0))
  write_tenant(t)
end
return ending(t, l, before)
