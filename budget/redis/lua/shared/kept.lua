-- A key that is absent may never have been, or be forgotten, or be lost: a move of the
-- tenant's slot that was forced, and a failover in the midst of one, lose some keys and
-- not others. Which keys must be there is told by a sorted set, key to until when on
-- the ledger's clock. It is looked at only where a key is absent, and written only
-- where a key is made or needed for longer than was promised, so that a verb that
-- finds its keys pays nothing for it.
--
-- What is promised is KEPT_AHEAD_MS longer than what is needed, so that a key that is
-- used all the time is seldom written down again. A key lives at least as long as
-- that. When the set itself must exist is in the tenant's record, as "kept".
--
-- Not in the set are what tells its own loss: the tenant's record; "open" and "events",
-- which have a member NONE from the provision on and so are never empty; switches,
-- whose number is in the record; marks, whose number is in their counter; and the
-- records of open leases, which are listed in "open".

-- Most calls find every key, so kept makes its functions when one is absent or new:
-- lost, miss, lease, refuse, open and promise.
local made_kept
local function kept()
  if made_kept then return made_kept end
  local KEPT = PREFIX .. 'kept'
  local MAX_PASSED = '100'

  -- lost gives the tenant up: a key is gone that must be there. The verb fails here,
  -- and from now on every verb answers that the state is lost.
  local function lost(what)
    call('HSET', KEYS[1], 'restoring', 'lost')
    error({ err = 'LOST ' .. what .. ' is gone' })
  end

  local function name_of(key)
    return string.sub(key, #PREFIX + 1)
  end

  -- latest is until when the set itself must exist, and fails if it does not.
  local function latest(now)
    local till = (call('HGET', KEYS[1], 'kept') or 0) + 0
    if till > now and call('ZCARD', KEPT) == 0 then lost('the list of keys that must exist') end
    return till
  end

  -- miss fails if a key that is absent must exist.
  local function miss(key, now)
    local till = call('ZSCORE', KEPT, name_of(key))
    if not till then return latest(now) end
    if till + 0 > now then lost(name_of(key)) end
  end

  -- lease fails if the lease of the verb, which has no record, must have one: it is
  -- listed as open, or expired not long ago.
  local function lease(id, now)
    if call('ZSCORE', OPEN, id) then lost('the record of the open lease ' .. id) end
    miss(KEYS[2], now)
  end

  -- refuse is the answer to a verb about a lease that has no record.
  local function refuse(id, now, answer)
    lease(id, now)
    return answer
  end

  -- open looks for what is always in the list of open leases.
  local function open()
    if not call('ZSCORE', OPEN, NONE) then lost('the list of open leases') end
  end

  -- forget_passed drops some of what must exist no longer: more than one verb adds.
  local function forget_passed(now)
    local passed = call('ZRANGEBYSCORE', KEPT, '-inf', int(now), 'LIMIT', '0', MAX_PASSED)
    if #passed > 0 then call('ZREM', KEPT, unpack(passed)) end
  end

  -- promise says that a key exists until the instant till. before is what was
  -- promised of it so far, or 0.
  local function promise(key, now, till, before)
    local known = latest(now)
    if call('ZADD', KEPT, 'GT', int(till), name_of(key)) == 1 and before > now then
      lost('what was promised of ' .. name_of(key))
    end
    forget_passed(now)
    if till <= known then return end
    call('HSET', KEYS[1], 'kept', int(till))
    if till == NEVER then
      call('PERSIST', KEPT)
    else
      call('PEXPIRE', KEPT, int(till - now + SPARE_MS))
    end
  end

  made_kept = { lost = lost, miss = miss, lease = lease, refuse = refuse, open = open, promise = promise }
  return made_kept
end
