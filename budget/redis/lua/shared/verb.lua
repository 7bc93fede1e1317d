-- load_held reads the counters of an open lease. Each is there, and no younger than
-- the lease; else it returns which is lost.
local function load_held(claims, l, now)
  load_counters(claims, now)
  for i = 1, #claims do
    local c = claims[i]
    if c.born == 0 or c.born > l.number then return 'the counter of ' .. c.key .. ', which an open lease holds in,' end
  end
end

-- usage is what a lease is charged, by the at_end of its claims.
local function usage(cost, input, output)
  return { adjust = cost, input = input, output = output, tokens = input + output }
end

-- hold_of is what a lease holds in a claim.
local function hold_of(l, c)
  if c.at_end == 'adjust' then return l.hold end
  return c.amount
end

-- end_lease writes down how a lease ended and drops what is not needed to
-- answer a repeat or to correct the charge.
local function end_lease(t, id, l, kind, used)
  local charge, tokens = used.adjust, ''
  if used.tokens > 0 then tokens = format('\n%d %d', used.input, used.output) end
  add_event(t, kind, id, charge, 0, '0 ~' .. tokens)
  l.state, l.end_number, l.end_at, l.charge, l.extension, l.seen = kind, t.number, t.now, charge, '', ''
  if kind == 'expire' then
    l.forget_at = t.now + REMEMBER_EXPIRED_MS
  else
    l.forget_at = math.max(l.forget_at, t.now + REMEMBER_ENDED_MS)
    l.claims = ''
  end
  write_lease(l, t.now)
end

-- close_lease gives back the holds of an open lease and charges what was used.
-- A release charges nothing, also where a hold is to be kept, but what is to be
-- spent. An expiry charges each claim its hold.
local function close_lease(t, id, l, kind, used)
  local claims = unpack_claims(l)
  local gone = load_held(claims, l, t.now)
  if gone then kept().lost(gone) end
  for i = 1, #claims do assure(claims[i], t.now, 0) end
  if kind == 'expire' then kept().promise(l.key, t.now, t.now + REMEMBER_EXPIRED_MS, 0) end
  if call('ZREM', OPEN, id) == 0 then kept().lost('the entry of the open lease ' .. id) end
  for i = 1, #claims do
    local c = claims[i]
    local hold, charge = hold_of(l, c), used[c.at_end]
    if charge and kind == 'expire' then charge = hold end
    if c.open > 0 then c.open = c.open - 1 end
    if #c.at_end > 6 then -- longer than any without: it has marks
      marks().close(c, kind == 'release', t.now)
    else
      c.held = clamp(c.held - hold)
    end
    if charge and charge > 0 then add(c, charge, t.now) end
    if c.at_end == 'spend' or c.at_end == 'keep' and kind ~= 'release' then add(c, c.amount, t.now) end
  end
  write_counters(claims, t.now)
  end_lease(t, id, l, kind, used)
end

-- expire_due ends leases whose time is over, in order, before a verb does its
-- own work. Each end is complete in itself. One call ends 100 at most. It
-- reports whether more are due. Where the clocks disagree none is.
local function expire_due(t)
  if t.now < t.due or t.apart then return false end
  kept().open()
  for _, id in ipairs(call('ZRANGEBYSCORE', OPEN, '-inf', int(t.now), 'LIMIT', '0', '100')) do
    local l = read_lease(PREFIX .. 'lease:' .. id, t.now)
    if not l then kept().lost('the open lease ' .. id) end
    close_lease(t, id, l, 'expire', usage(l.hold, 0, 0))
    write_tenant(t)
  end
  local first = call('ZRANGE', OPEN, '0', '0', 'WITHSCORES')
  t.due = tonumber(first[2] or NEVER)
  write_tenant(t)
  return t.due <= t.now
end

-- begin opens a verb: the tenant (see read_tenant), or nil and the answer where
-- its state is lost.
local function begin(...)
  local t, why = read_tenant(...)
  if not t then return nil, 'lost ' .. why end
  if t.switches > 0 and call('HLEN', PREFIX .. 'switches') ~= t.switches then
    call('HSET', KEYS[1], 'restoring', 'lost')
    return nil, 'lost its list of kill switches is gone'
  end
  if ARGV[5] ~= '' then
    local numbers = {}
    for n in string.gmatch(ARGV[5], '%d+') do numbers[#numbers + 1] = n end
    call('HDEL', EVENTS, unpack(numbers))
  end
  t.more_due = expire_due(t)
  return t
end

-- own_lease reads the lease that the verb is about. If its time is over and
-- expire_due did not come to it, it is ended here.
local function own_lease(t, id)
  local l = read_lease(KEYS[2], t.now)
  if l and l.state == 'open' and l.expires <= t.now and not t.apart then
    close_lease(t, id, l, 'expire', usage(l.hold, 0, 0))
    write_tenant(t)
  end
  return l
end
