-- A lease's record has three lines: "STATE NUMBER AT EXPIRES HOLD END_NUMBER
-- END_AT CHARGE FORGET_AT"; the answer to the last extension, as "NUMBER AT
-- OBSERVED..."; and its placed claims joined by ";". STATE is open, or the kind
-- of event that ended it.
local LEASE = '^(%l+)' .. string.rep(' (%d+)', 8) .. '\n([^\n]*)\n(.*)$'

local function parse_lease(key, raw)
  local l, number, at, expires, hold, end_number, end_at, charge, forget_at = { key = key }
  l.state, number, at, expires, hold, end_number, end_at, charge, forget_at, l.extension, l.claims =
    string.match(raw, LEASE)
  l.number, l.at, l.expires, l.hold = tonumber(number), tonumber(at), tonumber(expires), tonumber(hold)
  l.end_number, l.end_at, l.charge, l.forget_at =
    tonumber(end_number), tonumber(end_at), tonumber(charge), tonumber(forget_at)
  return l
end

-- read_lease returns a lease, or nil if it is unknown or forgotten.
local function read_lease(key, now)
  local raw = redis.call('GET', key)
  if not raw then return nil end
  local l = parse_lease(key, raw)
  if l.state ~= 'open' and now >= l.forget_at then return nil end
  return l
end

-- write_lease stores a lease. One that is open has no time to live: it ends by
-- a verb or by its expiry, and only then may be forgotten.
local function write_lease(l, now)
  local value = string.format('%s %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f\n%s\n%s', l.state, l.number, l.at,
    l.expires, l.hold, l.end_number, l.end_at, l.charge, l.forget_at, l.extension, l.claims)
  if l.state == 'open' then
    redis.call('SET', l.key, value)
  else
    redis.call('SET', l.key, value, 'PX', int(l.forget_at - now + SPARE_MS))
  end
end

-- end_lease writes down how a lease ended and drops what is not needed to
-- answer a repeat or to correct the charge.
local function end_lease(t, id, l, kind, charge)
  add_event(t, kind, id, charge, 0, '')
  l.state, l.end_number, l.end_at, l.charge, l.extension = kind, t.number, t.now, charge, ''
  if kind == 'expire' then
    l.forget_at = t.now + REMEMBER_EXPIRED_MS
  else
    l.forget_at = math.max(l.forget_at, t.now + REMEMBER_ENDED_MS)
    l.claims = ''
  end
  write_lease(l, t.now)
end

-- close_lease gives back the holds of an open lease and charges what it cost.
-- A release charges nothing, also where a hold is to be kept.
local function close_lease(t, id, l, kind, cost)
  local claims = parse_claims(l.claims)
  for i, k in ipairs(load_counters(claims, t.now)) do
    local c = claims[i]
    local hold = c.amount
    if c.at_end == 'adjust' then hold = l.hold end
    k.held, k.open = clamp(k.held - hold), math.max(k.open - 1, 0)
    if c.at_end == 'adjust' and cost > 0 then add(k, cost, t.now) end
    if c.at_end == 'keep' and kind ~= 'release' then add(k, c.amount, t.now) end
    write_counter(k, t.now)
  end
  redis.call('ZREM', OPEN, id)
  end_lease(t, id, l, kind, cost)
end

-- correct_lease replaces the charge of an expired lease. A counter that was
-- forgotten since is another one and keeps what it has.
local function correct_lease(t, id, l, cost)
  local claims = parse_claims(l.claims)
  for i, k in ipairs(load_counters(claims, t.now)) do
    if claims[i].at_end == 'adjust' and k.live and k.born <= l.number then
      add(k, cost - l.charge, l.end_at)
      write_counter(k, t.now)
    end
  end
  end_lease(t, id, l, 'correct', cost)
end

-- expire_due ends leases whose time is over, in order, before a verb does its
-- own work. Each end is complete in itself. It reports whether more are due.
local function expire_due(t)
  if t.now < t.due then return false end
  local due = redis.call('ZRANGEBYSCORE', OPEN, '-inf', int(t.now), 'LIMIT', 0, EXPIRE_BATCH)
  for _, id in ipairs(due) do
    local l = read_lease(PREFIX .. 'lease:' .. id, t.now)
    close_lease(t, id, l, 'expire', l.hold)
  end
  local first = redis.call('ZRANGE', OPEN, 0, 0, 'WITHSCORES')
  t.due = tonumber(first[2] or NEVER)
  write_tenant(t)
  return t.due <= t.now
end

-- begin opens a verb: the tenant, or nil where its state is lost.
local why_lost
local function begin()
  local t
  t, why_lost = read_tenant()
  if not t then return nil end
  forget_acknowledged()
  t.more_due = expire_due(t)
  return t
end

-- lost is the answer of a verb that begin could not open.
local function lost()
  return 'lost ' .. why_lost
end

-- own_lease reads the lease that the verb is about. If its time is over and
-- expire_due did not come to it, it is ended here.
local function own_lease(t, id)
  local l = read_lease(KEYS[2], t.now)
  if l and l.state == 'open' and l.expires <= t.now then
    close_lease(t, id, l, 'expire', l.hold)
    write_tenant(t)
  end
  return l
end
