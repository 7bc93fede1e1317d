-- The at_end of a claim with marks is "marked:" and its marks, joined by commas. The
-- marks that a counter knows are a hash beside it, mark to how many open leases
-- bring it, or 0 if it is spent. The hash lives as long as its counter does, or as
-- requests can ask for the counter's window; what an older counter of that name
-- left is not looked at. There are as many as the counter has spent and holds.
--
-- Most calls have no marks, so marks makes its functions when some are met: count,
-- hold, close and expire; key_of is the hash's key.
local made_marks
local function marks()
  if made_marks then return made_marks end

  local function key_of(c)
    return PREFIX .. 'marks:' .. string.sub(c.name, #PREFIX + 1)
  end

  -- list returns the marks of a claim, and what its counter knows of each.
  local function list(c)
    local names = {}
    for name in string.gmatch(string.sub(c.at_end, #'marked:' + 1), '[^,]+') do names[#names + 1] = name end
    if c.born == 0 then return names, {} end
    local leases = call('HMGET', key_of(c), unpack(names))
    for i = 1, #names do
      if leases[i] then return names, leases end
    end
    if c.spent + c.held > 0 and call('HLEN', key_of(c)) == 0 then kept().lost('the list of marks of ' .. c.key) end
    return names, leases
  end

  -- count makes the marks that are new the amount of a claim.
  local function count(c)
    c.names, c.leases = list(c)
    c.amount = 0
    for i = 1, #c.names do
      if not c.leases[i] then c.amount = c.amount + 1 end
    end
  end

  -- hold writes the marks of a new lease. It comes before the counter is changed.
  local function hold(c)
    local key, fields = key_of(c), {}
    if c.born == 0 then call('DEL', key) end
    for i, name in ipairs(c.names) do
      local leases = c.leases[i] or '-'
      if leases ~= '0' then
        fields[#fields + 1], fields[#fields + 2] = name, int((tonumber(leases) or 0) + 1)
      end
    end
    if #fields > 0 then call('HSET', key, unpack(fields)) end
    call('PERSIST', key)
  end

  -- expire gives the hash of a counter that an event touches its time to live.
  local function expire(c, now)
    local ttl = spare_time(c, now)
    if not ttl then return end
    if c.kind == 'fixed' then ttl = int(math.max(c.life - now, 0) + SPARE_MS) end
    call('PEXPIRE', key_of(c), ttl)
  end

  -- close ends the marks of a lease in its counter: those that are not released
  -- are spent.
  local function close(c, released, now)
    local names, leases = list(c)
    local key, fields, gone = key_of(c), {}, {}
    for i, name in ipairs(names) do
      local n = tonumber(leases[i] or 0)
      if n > 0 and not released then
        fields[#fields + 1], fields[#fields + 2] = name, '0'
        c.held, c.spent = c.held - 1, c.spent + 1
      elseif n > 1 then
        fields[#fields + 1], fields[#fields + 2] = name, int(n - 1)
      elseif n == 1 then
        gone[#gone + 1] = name
        c.held = c.held - 1
      end
    end
    if #fields > 0 then call('HSET', key, unpack(fields)) end
    if #gone > 0 then call('HDEL', key, unpack(gone)) end
    expire(c, now)
  end

  made_marks = { key_of = key_of, count = count, hold = hold, close = close, expire = expire }
  return made_marks
end
