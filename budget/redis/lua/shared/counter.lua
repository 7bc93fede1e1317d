-- A counter is "SPENT HELD OPEN USED BORN LENGTH GROUP": what was charged, what
-- is held by open leases, how many those are, when an event last touched it, the
-- number of the grant that made it, and the group that its key is a member of.
-- A rolling counter is a hash of the same fields, where SPENT is the sum of its
-- buckets, with HEAD, the newest bucket, and the buckets themselves in slots 0
-- to BUCKETS.
local SLOTS = BUCKETS + 1

local function counter_name(c)
  if c.kind == 'fixed' then return PREFIX .. 'fixed:' .. c.first .. '-' .. c.last .. ':' .. c.key end
  if c.kind == 'rolling' then return PREFIX .. 'rolling:' .. int(c.length) .. ':' .. c.key end
  return PREFIX .. c.kind .. ':' .. c.key
end

-- forget_at is when a counter without open leases stops to exist.
local function forget_at(k)
  if k.kind == 'idle' then return k.used + k.length end
  if k.kind == 'rolling' then return k.used + k.length + math.ceil(k.length / BUCKETS) end
  if k.kind == 'fixed' then return k.last + MAX_LEASE_LIFE_MS + REMEMBER_EXPIRED_MS end
  return NEVER
end

local function new_counter(c)
  return {
    name = counter_name(c), kind = c.kind, group = NONE, key = c.key, last = tonumber(c.last),
    spent = 0, held = 0, open = 0, used = 0, born = 0, length = c.length, live = false,
  }
end

-- fill takes over the stored fields of a counter that is still remembered.
local function fill(k, now, spent, held, open, used, born, length, group)
  local asked = k.length
  k.open, k.used, k.length = tonumber(open), tonumber(used), tonumber(length)
  if k.open == 0 and now >= forget_at(k) then
    k.open, k.used, k.length = 0, 0, asked
    return
  end
  k.spent, k.held, k.born, k.group, k.live = tonumber(spent), tonumber(held), tonumber(born), group, true
end

-- sum_slots adds up the buckets that still count.
local function sum_slots(k)
  local sum = 0
  local all = redis.call('HGETALL', k.name)
  for i = 1, #all, 2 do
    local slot = tonumber(all[i])
    if slot and not k.cleared[slot] then sum = sum + tonumber(all[i + 1]) end
  end
  return math.min(sum, MAX_AMOUNT)
end

-- turn moves a ring's head to the present. The buckets that it runs over left
-- the window; their slots are cleared when the counter is written.
local function turn(k, head)
  local steps = math.min(k.head - head, SLOTS)
  if steps <= 0 then
    k.head = head
    return
  end
  local slots = {}
  for i = 1, steps do slots[i] = (head + i) % SLOTS end
  local values = redis.call('HMGET', k.name, unpack(slots))
  for i, slot in ipairs(slots) do
    k.cleared[slot] = true
    k.spent = k.spent - tonumber(values[i] or 0)
  end
end

-- load_ring reads a rolling counter with a sum that is kept, not computed. A
-- sum that reached MAX_AMOUNT is no longer exact and is computed.
local function load_ring(c, now)
  local k = new_counter(c)
  k.head, k.cleared, k.slots = math.floor(now * BUCKETS / c.length), {}, {}
  local r = redis.call('HMGET', k.name, 'spent', 'held', 'open', 'used', 'born', 'group', 'head')
  if not r[1] then return k end
  fill(k, now, r[1], r[2], r[3], r[4], r[5], c.length, r[6])
  if not k.live then
    redis.call('DEL', k.name)
    return k
  end
  k.saturated = k.spent == MAX_AMOUNT
  turn(k, tonumber(r[7]))
  if k.saturated then
    k.spent = sum_slots(k)
    k.saturated = k.spent == MAX_AMOUNT
  end
  return k
end

-- load_counters reads the counters of placed claims, in their order.
local function load_counters(claims, now)
  local counters, names, plain = {}, {}, {}
  for i, c in ipairs(claims) do
    if c.kind == 'rolling' then
      counters[i] = load_ring(c, now)
    else
      local k = new_counter(c)
      counters[i], plain[#plain + 1], names[#names + 1] = k, k, k.name
    end
  end
  if #names == 0 then return counters end
  for i, raw in ipairs(redis.call('MGET', unpack(names))) do
    if raw then fill(plain[i], now, string.match(raw, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+)$')) end
  end
  return counters
end

-- add changes what a counter has spent, in the bucket of the instant at if it
-- has buckets. What has reached MAX_AMOUNT stays there.
local function add(k, amount, at)
  if k.kind ~= 'rolling' then
    if k.spent < MAX_AMOUNT then k.spent = clamp(k.spent + amount) end
    return
  end
  local bucket = math.floor(at * BUCKETS / k.length)
  if k.head > bucket + BUCKETS then return end
  local slot = bucket % SLOTS
  local before = 0
  if not k.cleared[slot] then before = tonumber(redis.call('HGET', k.name, slot) or 0) end
  if before == MAX_AMOUNT then return end
  k.slots[slot] = clamp(before + amount)
  k.spent = clamp(k.spent + k.slots[slot] - before)
end

local function write_ring(k)
  local spent = k.spent
  if k.saturated then spent = MAX_AMOUNT end
  local gone = {}
  for slot in pairs(k.cleared) do gone[#gone + 1] = slot end
  if #gone > 0 then redis.call('HDEL', k.name, unpack(gone)) end
  local fields = { 'spent', int(spent), 'held', int(k.held), 'open', int(k.open), 'used', int(k.used),
    'born', int(k.born), 'group', k.group, 'head', int(k.head) }
  for slot, value in pairs(k.slots) do
    fields[#fields + 1], fields[#fields + 2] = slot, int(value)
  end
  redis.call('HSET', k.name, unpack(fields))
end

-- write_member keeps a group's list of live keys: a sorted set by when each is
-- forgotten. Counters of several fixed windows may share a key, which lives as
-- long as the last of them.
local function write_member(k, now)
  local group = PREFIX .. 'group:' .. k.group
  local forget = forget_at(k)
  if k.kind == 'fixed' then
    redis.call('ZADD', group, 'GT', int(forget), k.key)
  elseif k.open > 0 then
    redis.call('ZADD', group, int(NEVER), k.key)
  else
    redis.call('ZADD', group, int(forget), k.key)
  end
  local ttl = forget - now + MAX_LEASE_LIFE_MS + SPARE_MS
  if redis.call('PTTL', group) < ttl then redis.call('PEXPIRE', group, int(ttl)) end
end

-- write_counter stores a counter that an event has touched. With a lease open
-- in it, a counter has no time to live: the lease must end in it.
local function write_counter(k, now)
  k.used = now
  local ttl = nil
  if k.open == 0 and k.kind ~= 'forever' then ttl = int(math.max(forget_at(k) - now, 0) + SPARE_MS) end
  if k.kind == 'rolling' then
    write_ring(k)
    if ttl then redis.call('PEXPIRE', k.name, ttl) else redis.call('PERSIST', k.name) end
  else
    local value = string.format('%.0f %.0f %.0f %.0f %.0f %.0f %s',
      k.spent, k.held, k.open, k.used, k.born, k.length, k.group)
    if ttl then redis.call('SET', k.name, value, 'PX', ttl) else redis.call('SET', k.name, value) end
  end
  if k.group ~= NONE then write_member(k, now) end
end
