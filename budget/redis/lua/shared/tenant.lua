-- tell_time is the time of a tenant whose newest event was at the instant at, and by
-- how much the caller's clock disagrees with it, if that is too much. The time never
-- goes back, so what it once was stays. Where the two clocks disagree one of them has
-- leapt, and it goes on no further than both have come; a leap that ends leaves no
-- tenant in the future.
local function tell_time(at, caller)
  local time = call('TIME')
  local server = time[1] * 1000 + math.floor(time[2] / 1000)
  local now = server
  if now < at then now = at end
  local apart = now - caller
  if apart <= CLOCKS_APART_MS and apart >= -CLOCKS_APART_MS then return now end
  return math.max(at, math.min(server, caller)), apart
end

-- differs says how a record's history is another than what the caller has seen of it,
-- or nil. The caller has seen an event's number and digest. The record has those of
-- the last numbers that callers were told, in a ring; what is older, or was seen
-- before a restore, is believed.
local function differs(number, digest, restored)
  local seen = ARGV[2] + 0
  if number < seen then return 'its record is at event ' .. int(number) .. ', seen was ' .. ARGV[2] end
  if ARGV[3] == '' or seen <= restored or number - seen >= DIGESTS then return nil end
  if seen < number then
    local from = seen % DIGESTS * DIGEST_CHARS
    digest = call('GETRANGE', PREFIX .. 'digests', int(from), int(from + DIGEST_CHARS - 1))
  end
  if digest ~= ARGV[3] then return 'its record has another event ' .. ARGV[2] .. ' than was seen' end
end

-- read_tenant returns the tenant's record and the ledger's time, or nil and why
-- if the record is missing, being restored, of another epoch, behind the caller or
-- of another history. Such a one is refused to every caller until it is restored:
-- others may have seen too little of it to find that out, and would grant again
-- what was spent. A verb that needs more fields names them, in this order: switches,
-- how many are thrown; generation and hash, of the policy.
local function read_tenant(...)
  local r = call('HMGET', KEYS[1], 'epoch', 'number', 'digest', 'restored', 'at', 'due', 'restoring', ...)
  local epoch = r[1]
  if not epoch then return nil, 'it has no record' end
  if r[7] then return nil, 'it is being restored, or was found lost before' end
  if ARGV[1] ~= '' and ARGV[1] ~= epoch then
    return nil, 'its record is of epoch ' .. epoch .. ', seen was ' .. ARGV[1]
  end
  local number, digest = r[2] + 0, r[3]
  local why = differs(number, digest, r[4] + 0)
  if why then
    call('HSET', KEYS[1], 'restoring', 'lost')
    return nil, why
  end
  local now, apart = tell_time(r[5] + 0, ARGV[4] + 0)
  local due = r[6] + 0
  return {
    epoch = epoch, number = number, told = number, digest = digest, now = now, now_text = int(now), apart = apart,
    due = due, due_before = due, switches = r[8] and r[8] + 0 or 0, generation = r[9] and r[9] + 0, hash = r[10],
    more_due = false,
  }
end

-- write_tenant stores what events change. due is no later than the expiry of
-- the first open lease, so that most calls need not look for expired ones.
local function write_tenant(t)
  if t.due == t.due_before then
    call('HSET', KEYS[1], 'number', int(t.number), 'digest', t.digest, 'at', t.now_text)
  else
    call('HSET', KEYS[1], 'number', int(t.number), 'digest', t.digest, 'at', t.now_text, 'due', int(t.due))
    t.due_before = t.due
  end
  if t.number > t.told then
    call('SETRANGE', PREFIX .. 'digests', int(t.number % DIGESTS * DIGEST_CHARS), t.digest)
    t.told = t.number
  end
end

-- reply is the start of every answer.
local function reply(word, t)
  return format('%s %s %s %d %s', word, t.now_text, t.epoch, t.number, t.digest)
end
