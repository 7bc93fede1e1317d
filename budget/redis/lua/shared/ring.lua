-- A rolling counter is a hash. The field "counter" is what the value of another
-- counter is, where spent is the sum of the buckets; "head" is the newest
-- bucket, and the buckets themselves are in slots 0 to BUCKETS.
--
-- Most calls have no rolling claim, so ring makes its functions when one is
-- met: load, add and write.
local made_ring
local function ring()
  if made_ring then return made_ring end
  local SLOTS = BUCKETS + 1

  -- sum_slots adds up the buckets that still count.
  local function sum_slots(c)
    local sum = 0
    local all = call('HGETALL', c.name)
    for i = 1, #all, 2 do
      local slot = tonumber(all[i])
      if slot and not c.cleared[slot] then sum = sum + tonumber(all[i + 1]) end
    end
    return math.min(sum, MAX_AMOUNT)
  end

  -- turn moves the head to the present. The buckets that it runs over left the
  -- window; their slots are cleared when the counter is written.
  local function turn(c, head)
    local steps = math.min(c.head - head, SLOTS)
    if steps <= 0 then
      c.head = head
      return
    end
    local slots = {}
    for i = 1, steps do slots[i] = int((head + i) % SLOTS) end
    local values = call('HMGET', c.name, unpack(slots))
    for i, slot in ipairs(slots) do
      c.cleared[tonumber(slot)] = true
      c.spent = c.spent - tonumber(values[i] or 0)
    end
  end

  -- load reads a counter with a sum that is kept, not computed. A sum that
  -- reached MAX_AMOUNT is no longer exact and is computed.
  local function load(c, now)
    c.head, c.cleared, c.slots = math.floor(now * BUCKETS / c.life), {}, {}
    local r = call('HMGET', c.name, 'counter', 'head')
    fill(c, now, r[1])
    if not r[1] then return end
    c.outlived = c.born == 0
    if c.outlived then return end
    c.expires = c.open == 0
    c.saturated = c.spent == MAX_AMOUNT
    turn(c, tonumber(r[2]))
    if c.saturated then
      c.spent = sum_slots(c)
      c.saturated = c.spent == MAX_AMOUNT
    end
  end

  -- add charges the bucket of the instant at.
  local function add(c, amount, at)
    local bucket = math.floor(at * BUCKETS / c.life)
    if c.head > bucket + BUCKETS then return end
    local slot = bucket % SLOTS
    local before = 0
    if not c.outlived and not c.cleared[slot] then before = tonumber(call('HGET', c.name, int(slot)) or 0) end
    if before == MAX_AMOUNT then return end
    c.slots[slot] = clamp(before + amount)
    c.spent = clamp(c.spent + c.slots[slot] - before)
  end

  local function write_slots(c, now)
    local gone, fields = {}, { 'head', int(c.head) }
    for slot in pairs(c.cleared) do gone[#gone + 1] = int(slot) end
    if #gone > 0 then call('HDEL', c.name, unpack(gone)) end
    for slot, value in pairs(c.slots) do
      fields[#fields + 1], fields[#fields + 2] = int(slot), int(value)
    end
    if c.saturated then c.spent = MAX_AMOUNT end
    call('HSET', c.name, 'counter', record(c, now), unpack(fields))
  end

  -- write stores a counter. Its time to live is ttl, or none if ttl is nil.
  local function write(c, now, ttl)
    if c.outlived then call('DEL', c.name) end
    write_slots(c, now)
    if ttl then
      call('PEXPIRE', c.name, ttl)
    elseif c.expires then
      call('PERSIST', c.name)
    end
  end

  made_ring = { load = load, add = add, write = write }
  return made_ring
end
