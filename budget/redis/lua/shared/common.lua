-- What the verbs have in common is in this directory. The Go side puts these
-- files, from common.lua to answer.lua, between a verb's first line (its flags)
-- and its body, so that a verb stays one script and one round trip.
--
-- KEYS of every verb
--   1  the tenant's record   aegis:{TENANT}:tenant
--   2  the lease's record    aegis:{TENANT}:lease:ID   (verbs about one lease)
-- The other keys of the tenant are made here from the prefix of KEYS[1]. They
-- share its hash tag, so a cluster finds them on the same node.
--
-- ARGV of every verb but provision and restore
--   1  epoch that the caller has seen, or empty
--   2  highest event number that the caller has seen
--   3  event numbers whose receipts are durable, joined by spaces
--
-- Reply of every verb: one string, "WORD NOW EPOCH NUMBER ..." with the
-- ledger's time and the tenant's last event number; or "lost" and why.
--
-- Lua's numbers are doubles, exact to 2^53. They are always printed by "%.0f",
-- because Lua itself prints 1e15 as "1e+15".

-- MAX_AMOUNT, MAX_LEASE_LIFE_MS, REMEMBER_ENDED_MS, REMEMBER_EXPIRED_MS and
-- BUCKETS stand before this file: the Go side writes them there from the
-- constants of package budget.

-- Leases that one call ends before it does its own work.
local EXPIRE_BATCH = 100
local NEVER = MAX_AMOUNT
-- "No name", for a field that may be empty: a byte that no name has.
local NONE = '~'
-- A key that nothing needs any more is kept an hour, for clocks that differ.
local SPARE_MS = 3600 * 1000

local PREFIX = string.sub(KEYS[1], 1, -1 - #'tenant')
local OPEN = PREFIX .. 'open'
local EVENTS = PREFIX .. 'events'

local function int(n)
  return string.format('%.0f', n)
end

-- A counter never leaves the range in which it is exact.
local function clamp(n)
  return math.max(0, math.min(n, MAX_AMOUNT))
end
