-- correct_lease replaces the charge of an expired lease. A counter that was
-- forgotten since is another one and keeps what it has.
local function correct_lease(t, id, l, used)
  local claims, corrected = unpack_claims(l), {}
  load_counters(claims, t.now)
  for _, c in ipairs(claims) do
    if used[c.at_end] and c.born > 0 and c.born <= l.number then corrected[#corrected + 1] = c end
  end
  for _, c in ipairs(corrected) do assure(c, t.now, 0) end
  for _, c in ipairs(corrected) do add(c, used[c.at_end] - hold_of(l, c), l.end_at) end
  write_counters(corrected, t.now)
  end_lease(t, id, l, 'correct', used)
end

-- ending is the answer to settle and release. before is the lease's state before
-- the verb, or nil.
local function ending(t, l, before)
  local repeated = 0
  if before == 'settle' or before == 'release' or before == 'correct' then repeated = 1 end
  return format('%s %s %d %d %d %d %d', reply('closed', t), l.state, l.end_number, l.end_at, l.charge, l.hold, repeated)
end
