-- add_event gives an event the tenant's next number and keeps it until its
-- receipt is durable. Stored as "HANDED KIND AT LEASE AMOUNT EXPIRES GENERATION
-- HASH", where HANDED is when sweep last gave it to a caller, or 0. A grant has
-- two more lines: its claims as reserve was given them, and what it observed. An
-- extension has one more: its limits as extend was given them. So has the end of a
-- lease that used tokens: "INPUT OUTPUT".
-- Where a kill switch is thrown or lifted, its name stands in the place of LEASE.
-- policy is "GENERATION HASH" and what follows it, "0 ~" if no policy decides.
--
-- The tenant's digest stands for all of its events so far: each is hashed with the
-- digest before it. Two histories that part have other digests from there on.
local function add_event(t, kind, lease, amount, expires, policy)
  t.number = t.number + 1
  local event = format('0 %s %s %s %d %d ', kind, t.now_text, lease, amount, expires)
  t.digest = string.sub(redis.sha1hex(t.digest .. event), 1, DIGEST_CHARS)
  call('HSET', EVENTS, int(t.number), event .. policy)
end
