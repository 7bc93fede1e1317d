-- load_counters reads the counters of claims. It fails if one is absent that must
-- exist.
local function load_counters(claims, now)
  local names, plain = {}, {}
  for i = 1, #claims do
    local c = claims[i]
    if c.kind == 'rolling' then
      ring().load(c, now)
    else
      plain[#plain + 1], names[#names + 1] = c, c.name
    end
  end
  if #names == 0 then return end
  local raw = call('MGET', unpack(names))
  for i = 1, #plain do
    fill(plain[i], now, raw[i])
  end
end

-- assure has a counter promised for as long as it is needed if an event touches it now,
-- and at least until the instant till; and looks for its group. It comes before
-- anything is written, for it fails if it finds that keys are gone; and the counter
-- must then be written, so that it lives so long.
local function assure(c, now, till)
  if c.promised < NEVER then
    local needed, before = forget_at(c.kind, now, c.asked_life or c.life), c.promised
    if needed < till then needed = till end
    if before < needed then
      c.promised = math.min(needed + KEPT_AHEAD_MS, NEVER)
      kept().promise(c.name, now, c.promised, before)
    end
  end
  local name = c.asked_group or c.group
  if name ~= NONE then
    local group = PREFIX .. 'group:' .. name
    c.group_ttl = call('PTTL', group)
    if c.group_ttl == -2 then kept().miss(group, now) end
  end
end

-- add changes what a counter has spent, in the bucket of the instant at if it
-- has buckets. What has reached MAX_AMOUNT stays there.
local function add(c, amount, at)
  if c.kind == 'rolling' then return ring().add(c, amount, at) end
  if c.spent < MAX_AMOUNT then c.spent = clamp(c.spent + amount) end
end

-- write_member keeps a group's list of live keys: a sorted set by when each is
-- forgotten. Counters of several fixed windows may share a key, which lives as
-- long as the last of them. The list's own time to live has an hour too much,
-- so that it need not be set each time.
local function write_member(c, now)
  local group = PREFIX .. 'group:' .. c.group
  local forget = forget_at(c.kind, now, c.life)
  if c.kind == 'fixed' then
    call('ZADD', group, 'GT', int(forget), c.key)
  elseif c.open > 0 then
    call('ZADD', group, int(NEVER), c.key)
  else
    call('ZADD', group, int(forget), c.key)
  end
  local ttl = forget - now + MAX_LEASE_LIFE_MS + SPARE_MS
  if c.group_ttl < ttl and call('PTTL', group) < ttl then
    call('PEXPIRE', group, int(ttl + SPARE_MS))
    kept().promise(group, now, math.min(now + ttl, NEVER), 0)
  end
end

-- spare_time is the time to live of a counter that an event touches now, or nil
-- for one that has none: with a lease open in it, the lease must end in it.
local function spare_time(c, now)
  if c.open > 0 or c.kind == 'forever' then return nil end
  return int(math.max(c.promised - now, 0) + SPARE_MS)
end

-- write_counters stores counters that an event has touched. What has no time to
-- live goes together, and with it the record of a lease, if one is given.
local function write_counters(claims, now, lease, lease_value)
  local lasting = { lease, lease_value }
  local n = #lasting
  for i = 1, #claims do
    local c = claims[i]
    local ttl = spare_time(c, now)
    if c.kind == 'rolling' then
      ring().write(c, now, ttl)
    elseif ttl then
      call('SET', c.name, record(c, now), 'PX', ttl)
    else
      lasting[n + 1] = c.name
      lasting[n + 2] = record(c, now)
      n = n + 2
    end
    if c.group ~= NONE then write_member(c, now) end
  end
  if n > 0 then call('MSET', unpack(lasting)) end
end
