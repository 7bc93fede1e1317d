-- A counter is what was spent, what is held by open leases, how many those are,
-- when an event last touched it, the number of the grant that made it, its life,
-- until when it is promised to exist (see kept.lua), and the group that its key is a
-- member of. Its life is the length of an idle or rolling window, the end of a fixed
-- one, and 0 for ever. A counter is stored as seven doubles and a string. How a
-- rolling one is stored is said in ring.lua.
--
-- A claim and its counter are one table here: what is asked, and what there is.
-- A counter whose born is 0 does not exist; one whose promised is 0 is not even
-- stored. The tables are made with 16 fields at
-- most: with one more, Lua would make them twice as large.

local function counter_name(kind, first, last, life, key)
  if kind == 'fixed' then return PREFIX .. 'fixed:' .. first .. '-' .. last .. ':' .. key end
  if kind == 'rolling' then return PREFIX .. 'rolling:' .. int(life) .. ':' .. key end
  return PREFIX .. kind .. ':' .. key
end

-- forget_at is when a counter without open leases stops to exist.
local function forget_at(kind, used, life)
  if kind == 'idle' then return used + life end
  if kind == 'rolling' then return used + life + math.ceil(life / BUCKETS) end
  if kind == 'fixed' then return life + MAX_LEASE_LIFE_MS + REMEMBER_EXPIRED_MS end
  return NEVER
end

-- fill takes over a stored counter, if it is still remembered. Without one it fails if
-- there must be one.
local function fill(c, now, raw)
  if not raw then return kept().miss(c.name, now) end
  local spent, held, open, used, born, life, promised, group = struct.unpack('<ddddddds', raw)
  c.promised = promised
  if open == 0 and now >= forget_at(c.kind, used, life) then return end
  c.spent, c.held, c.open, c.born, c.life, c.group = spent, held, open, born, life, group
end

local function record(c, now)
  return struct.pack('<ddddddds', c.spent, c.held, c.open, now, c.born, c.life, c.promised, c.group)
end

-- clamp keeps a balance in the range in which it is exact.
local function clamp(n)
  if n < 0 then return 0 end
  if n > MAX_AMOUNT then return MAX_AMOUNT end
  return n
end
