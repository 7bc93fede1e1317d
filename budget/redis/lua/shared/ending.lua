-- correct_lease replaces the charge of an expired lease. A counter that was
-- forgotten since is another one and keeps what it has.
local function correct_lease(t, id, l, cost)
  local claims, corrected = unpack_claims(l), {}
  load_counters(claims, t.now)
  for _, c in ipairs(claims) do
    if c.at_end == 'adjust' and c.born > 0 and c.born <= l.number then corrected[#corrected + 1] = c end
  end
  for _, c in ipairs(corrected) do assure(c, t.now, 0) end
  for _, c in ipairs(corrected) do add(c, cost - l.charge, l.end_at) end
  write_counters(corrected, t.now)
  end_lease(t, id, l, 'correct', cost)
end

-- ending is the answer to settle and release. before is the lease's state before
-- the verb, or nil.
local function ending(t, l, before)
  local repeated = 0
  if before == 'settle' or before == 'release' or before == 'correct' then repeated = 1 end
  return format('%s %s %d %d %d %d %d', reply('closed', t), l.state, l.end_number, l.end_at, l.charge, l.hold, repeated)
end
