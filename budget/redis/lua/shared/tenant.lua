-- read_tenant returns the tenant's record and the ledger's time, or nil and why
-- if the record is missing, being restored, of another epoch or behind the
-- caller. One that is behind is refused to every caller until it is restored:
-- others may have seen too little of it to find that it is behind, and would
-- grant again what was spent. A verb that needs more fields names them, in this
-- order: switches, how many are thrown; generation and hash, of the policy.
local function read_tenant(...)
  local r = call('HMGET', KEYS[1], 'epoch', 'number', 'at', 'due', 'restoring', ...)
  local epoch = r[1]
  if not epoch then return nil, 'it has no record' end
  if r[5] then return nil, 'it is being restored, or was found lost before' end
  if ARGV[1] ~= '' and ARGV[1] ~= epoch then
    return nil, 'its record is of epoch ' .. epoch .. ', seen was ' .. ARGV[1]
  end
  local number = r[2] + 0
  if number < ARGV[2] + 0 then
    call('HSET', KEYS[1], 'restoring', 'lost')
    return nil, 'its record is at event ' .. int(number) .. ', seen was ' .. ARGV[2]
  end
  local time = call('TIME')
  local now, at = time[1] * 1000 + math.floor(time[2] / 1000), r[3] + 0
  if now < at then now = at end
  local due = r[4] + 0
  return {
    epoch = epoch, number = number, now = now, now_text = int(now), due = due, due_before = due,
    switches = r[6] and r[6] + 0 or 0, generation = r[7] and r[7] + 0, hash = r[8], more_due = false,
  }
end

-- write_tenant stores what events change. due is no later than the expiry of
-- the first open lease, so that most calls need not look for expired ones.
local function write_tenant(t)
  if t.due == t.due_before then
    call('HSET', KEYS[1], 'number', int(t.number), 'at', t.now_text)
  else
    call('HSET', KEYS[1], 'number', int(t.number), 'at', t.now_text, 'due', int(t.due))
    t.due_before = t.due
  end
end

-- reply is the start of every answer.
local function reply(word, t)
  return format('%s %s %s %d', word, t.now_text, t.epoch, t.number)
end
