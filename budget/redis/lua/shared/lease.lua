-- A lease's record is its state; eight doubles: the number and instant of its
-- grant, its expiry, the hold of its adjust claims, the number and instant of its
-- end, its charge, and when it is forgotten; the answer to the last extension,
-- as "NUMBER AT OBSERVED..."; what its counters showed before its grant; and its
-- claims. State is open, or the kind of event that ended it.
--
-- A claim of a lease is its counter's name, key and kind, what happens to it at
-- the end and its marks (see marks.lua), its amount and limit, and its life (see
-- counter.lua).

-- pack_claims returns claims as a lease keeps them.
local function pack_claims(claims)
  local packed = {}
  for i = 1, #claims do
    local c = claims[i]
    packed[i] = struct.pack('<ssssddd', c.name, c.key, c.kind, c.at_end, c.amount, c.limit, c.life)
  end
  return table.concat(packed)
end

-- unpack_claims returns the claims of a lease. Their counters are not loaded.
local function unpack_claims(l)
  local claims, from, raw = {}, l.claims_at, l.raw
  while from <= #raw do
    local name, key, kind, at_end, amount, limit, life, behind = struct.unpack('<ssssddd', raw, from)
    claims[#claims + 1] = {
      name = name, key = key, kind = kind, at_end = at_end, amount = amount, limit = limit, life = life,
      spent = 0, held = 0, open = 0, born = 0, promised = 0, group = NONE,
    }
    from = behind
  end
  return claims
end

-- read_lease returns a lease, or nil if it is unknown or forgotten.
local function read_lease(key, now)
  local raw = call('GET', key)
  if not raw then return nil end
  local state, number, at, expires, hold, end_number, end_at, charge, forget, extension, seen, behind =
    struct.unpack('<sddddddddss', raw)
  if state ~= 'open' and now >= forget then return nil end
  return {
    key = key, state = state, number = number, at = at, expires = expires, hold = hold, end_number = end_number,
    end_at = end_at, charge = charge, forget_at = forget, extension = extension, seen = seen,
    raw = raw, claims_at = behind,
  }
end

-- lease_record is a lease as it is stored. Its claims are packed, or still where
-- read_lease found them.
local function lease_record(l)
  return struct.pack('<sddddddddss', l.state, l.number, l.at, l.expires, l.hold, l.end_number, l.end_at, l.charge,
    l.forget_at, l.extension, l.seen) .. (l.claims or string.sub(l.raw, l.claims_at))
end

-- write_lease stores a lease. One that is open has no time to live: it ends by
-- a verb or by its expiry, and only then may be forgotten.
local function write_lease(l, now)
  if l.state == 'open' then
    call('SET', l.key, lease_record(l))
  else
    call('SET', l.key, lease_record(l), 'PX', int(l.forget_at - now + SPARE_MS))
  end
end
