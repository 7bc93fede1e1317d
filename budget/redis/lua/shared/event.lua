-- add_event gives an event the tenant's next number and keeps it until its
-- receipt is durable. Stored as "HANDED KIND AT LEASE AMOUNT EXPIRES GENERATION
-- HASH\nCLAIMS", where HANDED is when sweep last gave it to a caller, or 0.
local function add_event(t, kind, lease, amount, expires, claims)
  t.number = t.number + 1
  local policy = '0 ' .. NONE
  if kind == 'grant' or kind == 'policy' then policy = int(t.generation) .. ' ' .. t.hash end
  redis.call('HSET', EVENTS, int(t.number),
    string.format('0 %s %.0f %s %.0f %.0f %s\n%s', kind, t.now, lease, amount, expires, policy, claims))
end
