#!lua
-- restore writes a tenant's state as rebuilt from its receipts, in steps. From
-- the first step to the last the record says "restoring", and every other verb
-- answers that the state is lost.
--
-- KEYS  1 tenant
-- ARGV  1 step  2 a token that keeps two restores apart  3... by step:
--       begin     3 epoch  4 number  5... groups
--       leases    lease id and record in turn
--       counters  "KIND FIRST LAST LENGTH KEY GROUP BORN USED OPEN HELD SPENT",
--                 and for rolling ones { BUCKET SPENT }...
--       finish    3 epoch  4 number  5 at  6 policy generation  7 policy hash
-- Reply done
--       exists  the record has another epoch or a higher number
--       lost    another restore has begun meanwhile

local step, token = ARGV[1], ARGV[2]
local COUNTER = '^(%l+) (%d+) (%d+) (%d+) (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)(.*)$'

-- drop_open deletes what an older state left without a time to live: open
-- leases and the counters that they hold in.
local function drop_open()
  for _, id in ipairs(redis.call('ZRANGE', OPEN, 0, -1)) do
    local key = PREFIX .. 'lease:' .. id
    local raw = redis.call('GET', key)
    if raw then
      for _, c in ipairs(parse_claims(parse_lease(key, raw).claims)) do
        redis.call('DEL', counter_name(c))
        if c.group ~= NONE then redis.call('DEL', PREFIX .. 'group:' .. c.group) end
      end
    end
    redis.call('DEL', key)
  end
  redis.call('DEL', OPEN, EVENTS)
end

local function begin_restore()
  local r = redis.call('HMGET', KEYS[1], 'epoch', 'number')
  if r[1] and r[1] ~= ARGV[3] then return 'exists' end
  if tonumber(r[2] or 0) > tonumber(ARGV[4]) then return 'exists' end
  redis.call('HSET', KEYS[1], 'restoring', token)
  drop_open()
  for i = 5, #ARGV do redis.call('DEL', PREFIX .. 'group:' .. ARGV[i]) end
  return 'done'
end

-- Leases come before counters, so that a restore that breaks off leaves no
-- counter that drop_open would not find.
local function leases()
  for i = 3, #ARGV, 2 do
    local id = ARGV[i]
    local l = parse_lease(PREFIX .. 'lease:' .. id, ARGV[i + 1])
    local now = l.at
    if l.state ~= 'open' then now = l.end_at end
    write_lease(l, now)
    if l.state == 'open' then redis.call('ZADD', OPEN, int(l.expires), id) end
  end
  return 'done'
end

local function fill_ring(k, buckets)
  k.head, k.cleared, k.slots = math.floor(k.used * BUCKETS / k.length), {}, {}
  for bucket, spent in string.gmatch(buckets, '(%d+) (%d+)') do
    k.slots[tonumber(bucket) % SLOTS] = tonumber(spent)
    k.spent = clamp(k.spent + tonumber(spent))
  end
end

local function counters()
  for i = 3, #ARGV do
    local kind, first, last, length, key, group, born, used, open, held, spent, buckets =
      string.match(ARGV[i], COUNTER)
    local k = new_counter({ kind = kind, first = first, last = last, length = tonumber(length), key = key })
    k.group, k.born, k.used, k.open, k.held, k.spent =
      group, tonumber(born), tonumber(used), tonumber(open), tonumber(held), tonumber(spent)
    if kind == 'rolling' then
      redis.call('DEL', k.name)
      fill_ring(k, buckets)
    end
    write_counter(k, k.used)
  end
  return 'done'
end

local function finish()
  local first = redis.call('ZRANGE', OPEN, 0, 0, 'WITHSCORES')
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'number', ARGV[4], 'at', ARGV[5], 'generation', ARGV[6],
    'hash', ARGV[7], 'due', int(tonumber(first[2] or NEVER)), 'oldest', int(tonumber(ARGV[4]) + 1), 'walk', '1')
  redis.call('HDEL', KEYS[1], 'restoring')
  return 'done'
end

if step == 'begin' then return begin_restore() end
if redis.call('HGET', KEYS[1], 'restoring') ~= token then return 'lost' end
if step == 'leases' then return leases() end
if step == 'counters' then return counters() end
return finish()
