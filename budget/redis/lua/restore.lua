#!lua
-- restore writes a tenant's state as rebuilt from its receipts, in steps. From
-- the first step to the last the record says "restoring", and every other verb
-- answers that the state is lost.
--
-- KEYS  1 tenant
-- ARGV  1 step  2 a token that keeps two restores apart  3... by step:
--       begin     3 epoch  4 number  5 whether a refused tenant is replaced: 1 or 0
--       drop      3... groups
--       leases    lease id and lease in turn, as three lines: "STATE NUMBER AT
--                 EXPIRES HOLD END_NUMBER END_AT CHARGE FORGET_AT"; the answer to
--                 the last extension; and its placed claims joined by ";", each as
--                 reserve is given it but with spaces, and "START END SPENT HELD [+NEW]"
--       counters  "KIND FIRST LAST LENGTH KEY GROUP BORN USED OPEN HELD SPENT",
--                 and for rolling ones { BUCKET SPENT }...
--       marks     "KIND FIRST LAST LENGTH KEY USED OPEN { MARK LEASES }...", of counters
--                 that are written, as often as it takes
--       finish    3 epoch  4 number  5 at  6 policy generation  7 policy hash
--                 8... thrown switches, each and then its "EVENT AT"
-- Reply done    or of drop more, while there is more to delete
--       exists  the record has another epoch or a higher number, and is not refused, or
--               not to be replaced
--       lost    another restore has begun meanwhile

local step, token = ARGV[1], ARGV[2]
local LEASE_TEXT = '^(%l+)' .. string.rep(' (%d+)', 8) .. '\n([^\n]*)\n(.*)$'
local CLAIM_TEXT = '^(%S+)' .. string.rep(' (%S+)', 11) .. ' (%d+) (%d+) (%d+ %d+ ?%+?%d*)$'
local COUNTER_TEXT = '^(%l+) (%d+) (%d+) (%d+) (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)(.*)$'

-- drop_some deletes what an older state left, some of it with each call: open leases
-- and what they hold in, and all keys that must exist. It reports whether there is more.
local function drop_some()
  local KEPT, LAST = PREFIX .. 'kept', int(MAX_DROP - 1)
  local leases, kept_keys = call('ZRANGE', OPEN, '0', LAST), call('ZRANGE', KEPT, '0', LAST)
  for _, id in ipairs(leases) do
    local key = PREFIX .. 'lease:' .. id
    local l = read_lease(key, 0)
    for _, c in ipairs(l and unpack_claims(l) or {}) do call('DEL', c.name, marks().key_of(c)) end
    call('DEL', key)
    call('ZREM', OPEN, id)
  end
  for _, name in ipairs(kept_keys) do
    call('DEL', PREFIX .. name, PREFIX .. 'marks:' .. name)
    call('ZREM', KEPT, name)
  end
  return #leases == MAX_DROP or #kept_keys == MAX_DROP
end

local function drop()
  for i = 3, #ARGV do call('DEL', PREFIX .. 'group:' .. ARGV[i]) end
  if drop_some() then return 'more' end
  call('DEL', EVENTS)
  call('HDEL', KEYS[1], 'kept')
  return 'done'
end

local function begin_restore()
  local r = call('HMGET', KEYS[1], 'epoch', 'number', 'restoring')
  local newer = r[1] and r[1] ~= ARGV[3] or tonumber(r[2] or 0) > tonumber(ARGV[4])
  if newer and not (r[3] and ARGV[5] == '1') then return 'exists' end
  call('HSET', KEYS[1], 'restoring', token)
  return 'done'
end

-- drop_marks deletes the marks that an older counter of a name may have.
local function drop_marks(c)
  call('DEL', marks().key_of(c))
end

-- parse_claim returns a claim of a lease, and what it showed before the grant.
local function parse_claim(text)
  local key, amount, limit, at_end, kind, _, _, _, _, life, _, _, first, last, balance = string.match(text, CLAIM_TEXT)
  if kind == 'fixed' then life = last end
  local c = {
    name = counter_name(kind, first, last, life, key), key = key, kind = kind, at_end = at_end,
    amount = tonumber(amount), limit = tonumber(limit), life = tonumber(life),
  }
  return c, first .. ' ' .. last .. ' ' .. balance
end

local function parse_claims(text)
  local claims, seen = {}, {}
  for one in string.gmatch(text, '[^;]+') do
    local c, showed = parse_claim(one)
    claims[#claims + 1], seen[#seen + 1] = c, showed
  end
  return pack_claims(claims), table.concat(seen, ' ')
end

local function parse_lease(key, text)
  local state, number, at, expires, hold, end_number, end_at, charge, forget, extension, claims =
    string.match(text, LEASE_TEXT)
  local packed, seen = parse_claims(claims)
  return {
    key = key, state = state, number = tonumber(number), at = tonumber(at), expires = tonumber(expires),
    hold = tonumber(hold), end_number = tonumber(end_number), end_at = tonumber(end_at), charge = tonumber(charge),
    forget_at = tonumber(forget), extension = extension, seen = seen, claims = packed,
  }
end

-- Leases come before counters, so that a restore that breaks off leaves no
-- counter that drop would not find.
local function leases()
  for i = 3, #ARGV, 2 do
    local id = ARGV[i]
    local l = parse_lease(PREFIX .. 'lease:' .. id, ARGV[i + 1])
    local now = l.at
    if l.state ~= 'open' then now = l.end_at end
    write_lease(l, now)
    if l.state == 'expire' then kept().promise(l.key, now, l.forget_at, 0) end
    if l.state == 'open' then call('ZADD', OPEN, int(l.expires), id) end
  end
  return 'done'
end

-- fill_ring takes over the buckets that still count at the last use: the slots of
-- the others are those of later ones by then.
local function fill_ring(c, buckets, used)
  c.head, c.cleared, c.slots, c.outlived = math.floor(used * BUCKETS / c.life), {}, {}, true
  for bucket, spent in string.gmatch(buckets, '(%d+) (%d+)') do
    if tonumber(bucket) >= c.head - BUCKETS then
      c.slots[tonumber(bucket) % (BUCKETS + 1)] = tonumber(spent)
      c.spent = clamp(c.spent + tonumber(spent))
    end
  end
end

-- assure_restored promises a counter from its last use on. The leases that are open in
-- it expire within their longest life after that.
local function assure_restored(c, used)
  local till = 0
  if c.open > 0 then till = used + MAX_LEASE_LIFE_MS end
  assure(c, used, till)
end

local function counters()
  for i = 3, #ARGV do
    local kind, first, last, life, key, group, born, used, open, held, spent, buckets =
      string.match(ARGV[i], COUNTER_TEXT)
    if kind == 'fixed' then life = last end
    local c = {
      name = counter_name(kind, first, last, life, key), key = key, kind = kind, life = tonumber(life), group = group,
      born = tonumber(born), open = tonumber(open), held = tonumber(held), spent = tonumber(spent), promised = 0,
    }
    assure_restored(c, tonumber(used))
    if kind == 'rolling' then fill_ring(c, buckets, tonumber(used)) end
    write_counters({ c }, tonumber(used))
    drop_marks(c)
  end
  return 'done'
end

local function restore_marks()
  for i = 3, #ARGV do
    local kind, first, last, life, key, used, open, known =
      string.match(ARGV[i], '^(%l+) (%d+) (%d+) (%d+) (%S+) (%d+) (%d+)(.*)$')
    if kind == 'fixed' then life = last end
    local c = { name = counter_name(kind, first, last, life, key), kind = kind, life = tonumber(life), open = tonumber(open) }
    c.promised = forget_at(kind, tonumber(used), c.life)
    local name, fields = marks().key_of(c), {}
    for word in string.gmatch(known, '%S+') do fields[#fields + 1] = word end
    call('HSET', name, unpack(fields))
    marks().expire(c, tonumber(used))
  end
  return 'done'
end

local function finish()
  call('DEL', PREFIX .. 'switches')
  for i = 8, #ARGV, 2 do call('HSET', PREFIX .. 'switches', ARGV[i], ARGV[i + 1]) end
  call('ZADD', OPEN, int(NEVER), NONE)
  call('HSET', EVENTS, NONE, '')
  local first = call('ZRANGE', OPEN, 0, 0, 'WITHSCORES')
  -- Digests of what is restored are not known, and those from here on are others than
  -- without it.
  call('HSET', KEYS[1], 'digest', string.sub(token, 1, DIGEST_CHARS), 'restored', ARGV[4])
  call('HSET', KEYS[1], 'epoch', ARGV[3], 'number', ARGV[4], 'at', ARGV[5], 'generation', ARGV[6],
    'hash', ARGV[7], 'switches', int((#ARGV - 7) / 2), 'due', int(first[2] + 0), 'oldest', int(tonumber(ARGV[4]) + 1), 'walk', '1')
  call('HDEL', KEYS[1], 'restoring')
  return 'done'
end

if step == 'begin' then return begin_restore() end
if call('HGET', KEYS[1], 'restoring') ~= token then return 'lost' end
if step == 'drop' then return drop() end
if step == 'leases' then return leases() end
if step == 'counters' then return counters() end
if step == 'marks' then return restore_marks() end
return finish()
