#!lua flags=allow-oom
-- settle ends a lease with what was used, or corrects the charge of one that
-- has expired. It runs with memory full: it writes little and frees more.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 lease id  7 actual cost  8 input tokens  9 output tokens
-- Reply lost WHY
--       unknown|ended NOW EPOCH NUMBER DIGEST
--       closed NOW EPOCH NUMBER DIGEST KIND END AT CHARGE HOLD REPEATED

local id, used = ARGV[6], usage(ARGV[7] + 0, ARGV[8] + 0, ARGV[9] + 0)

local t, lost = begin()
if not t then return lost end
local l = own_lease(t, id)
if not l then return kept().refuse(id, t.now, reply('unknown', t)) end
local before = l.state
if l.state == 'release' then return reply('ended', t) end
if l.state == 'open' then
  close_lease(t, id, l, 'settle', used)
  write_tenant(t)
elseif l.state == 'expire' then
  correct_lease(t, id, l, used)
  write_tenant(t)
end
return ending(t, l, before)
