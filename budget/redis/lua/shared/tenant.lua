-- mark_lost refuses the tenant to every caller until it is restored. Others may
-- have seen too little of it to find that it is behind, and would grant again
-- what was spent.
local function mark_lost()
  redis.call('HSET', KEYS[1], 'restoring', 'lost')
end

-- read_tenant returns the tenant's record and the ledger's time, or nil and why
-- if the record is missing, being restored, of another epoch or behind the
-- caller.
local function read_tenant()
  local r = redis.call('HMGET', KEYS[1], 'epoch', 'number', 'at', 'generation', 'hash', 'due', 'restoring')
  if not r[1] then return nil, 'it has no record' end
  if r[7] then return nil, 'it is being restored, or was found lost before' end
  local t = {
    epoch = r[1], number = tonumber(r[2]), at = tonumber(r[3]),
    generation = tonumber(r[4]), hash = r[5], due = tonumber(r[6]),
  }
  if ARGV[1] ~= '' and ARGV[1] ~= t.epoch then return nil, 'its record is of epoch ' .. t.epoch .. ', seen was ' .. ARGV[1] end
  if t.number < tonumber(ARGV[2]) then
    mark_lost()
    return nil, 'its record is at event ' .. int(t.number) .. ', seen was ' .. ARGV[2]
  end
  local time = redis.call('TIME')
  t.now = math.max(t.at, time[1] * 1000 + math.floor(time[2] / 1000))
  return t
end

-- write_tenant stores what events change. due is no later than the expiry of
-- the first open lease, so that most calls need not look for expired ones.
local function write_tenant(t)
  redis.call('HSET', KEYS[1], 'number', int(t.number), 'at', int(t.now), 'due', int(t.due))
end

local function forget_acknowledged()
  if ARGV[3] == '' then return end
  local numbers = {}
  for n in string.gmatch(ARGV[3], '%d+') do numbers[#numbers + 1] = n end
  redis.call('HDEL', EVENTS, unpack(numbers))
end

-- reply is the start of every answer.
local function reply(word, t)
  return string.format('%s %.0f %s %.0f', word, t.now, t.epoch, t.number)
end
