-- What the verbs have in common is in this directory. The Go side puts the
-- files that a verb uses, common.lua first, between the verb's first line (its
-- flags) and its body, so that a verb stays one script and one round trip. The
-- server makes every function anew with each call, so a verb takes no file that
-- it does not use.
--
-- KEYS of every verb
--   1  the tenant's record   aegis:{TENANT}:tenant
--   2  the lease's record    aegis:{TENANT}:lease:ID   (verbs about one lease)
--   and last one that never exists, so that a cluster refuses the verb as a whole
--   while it moves the tenant's slot: see slot.go
-- The other keys of the tenant are made here from the prefix of KEYS[1]. They
-- share its hash tag, so a cluster finds them on the same node.
--
-- ARGV of every verb but provision and restore
--   1  epoch that the caller has seen, or empty
--   2  highest event number that the caller has seen
--   3  the digest that came with it, or empty
--   4  the caller's clock, ms
--   5  event numbers whose receipts are durable, joined by spaces
--
-- Reply of every verb: one string, "WORD NOW EPOCH NUMBER DIGEST ..." with the
-- ledger's time and the tenant's last event number; or "lost" and why. Reserve and
-- extend may answer "clock NOW EPOCH NUMBER DIGEST APART": the ledger's clock is so
-- many ms ahead of the caller's.
--
-- Lua's numbers are doubles, exact to 2^53. They are printed by "%d" only:
-- Lua itself prints 1e15 as "1e+15". Records that only scripts read keep them
-- as the eight bytes of a double, which is exact and much cheaper than digits.
-- Where digits are read on the way of a request, "+ 0" makes them a number:
-- tonumber does the same work twice.

-- Names in capitals that no script declares are constants: the Go side writes
-- their values in their place. MAX_AMOUNT, MAX_LEASE_LIFE_MS, REMEMBER_ENDED_MS,
-- REMEMBER_EXPIRED_MS and BUCKETS are those of package budget. CLOCKS_APART_MS is how
-- far two clocks that agree may be apart. DIGESTS is how many digests a tenant
-- remembers, DIGEST_CHARS how long each is. NEVER is an instant
-- that does not come. NONE is "no name", for a field that may be empty. SPARE_MS
-- is how long a key is kept that nothing needs any more, for clocks that differ.
-- KEPT_AHEAD_MS is how much longer than it is needed a key is promised: see kept.lua.
--
-- A local of the script that a function uses costs time with each call, when the
-- function is made, and the more the earlier it stands. So there are few.

local call, format = redis.call, string.format

local PREFIX = string.sub(KEYS[1], 1, -1 - #'tenant')
local OPEN = PREFIX .. 'open'
local EVENTS = PREFIX .. 'events'

local function int(n)
  return format('%d', n)
end
