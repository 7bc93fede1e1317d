#!lua
-- reserve grants every claim or none.
--
-- It lacks the flag allow-oom on purpose: with memory full Redis does not start
-- it, so no grant is half written, while the verbs that end leases still run.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 acknowledged
--       4 lease id  5 deadline on the ledger's clock, ms
--       6 time to live, ms  7 policy generation  8 policy hash
--       9... claims, one string each
-- Reply lost WHY
--       ended|deadline|stale|window NOW EPOCH NUMBER
--       granted NOW EPOCH NUMBER GRANT AT EXPIRES { START END SPENT HELD }...
--       denied NOW EPOCH NUMBER { START END SPENT HELD REASON }...

local id, deadline, ttl = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local generation, hash = tonumber(ARGV[7]), ARGV[8]

-- crowded reports whether a claim would bring one more key into a full group.
-- Keys that this call has let in are counted by newcomers.
local function crowded(t, c, newcomers)
  if c.group == NONE then return false end
  local group = PREFIX .. 'group:' .. c.group
  local forget = tonumber(redis.call('ZSCORE', group, c.key) or 0)
  if forget > t.now then return false end
  local live = redis.call('ZCOUNT', group, '(' .. int(t.now), '+inf') + (newcomers[group] or 0)
  if live >= c.group_max then return true end
  newcomers[group] = (newcomers[group] or 0) + 1
  return false
end

-- judge_all returns a reason for each claim and whether all fit.
local function judge_all(t, claims, counters)
  local reasons, fits, newcomers = {}, true, {}
  for i, c in ipairs(claims) do
    if crowded(t, c, newcomers) then
      reasons[i] = 'crowded'
    else
      reasons[i] = judge(c.amount, c.limit, counters[i])
    end
    fits = fits and reasons[i] == 'fits'
  end
  return reasons, fits, newcomers
end

-- join makes a counter's key a member of the claim's group, and of no other.
local function join(k, group)
  if k.group ~= NONE and k.group ~= group then redis.call('ZREM', PREFIX .. 'group:' .. k.group, k.key) end
  k.group = group
end

-- hold_claims books the claims of a new lease and returns their text, with what
-- was observed, and the hold of the adjust claims.
local function hold_claims(t, claims, counters)
  local hold, texts = 0, {}
  for i, c in ipairs(claims) do
    local k = counters[i]
    texts[i] = c.text .. ' ' .. observed(c, k)
    if c.at_end == 'adjust' then hold = c.amount end
    if not k.live then k.born = t.number + 1 end
    if k.kind == 'idle' then k.length = c.length end
    k.held, k.open = k.held + c.amount, k.open + 1
    join(k, c.group)
    write_counter(k, t.now)
  end
  return table.concat(texts, ';'), hold
end

local function grant(t, claims, counters)
  local texts, hold = hold_claims(t, claims, counters)
  local expires = t.now + ttl
  add_event(t, 'grant', id, 0, expires, texts)
  local l = {
    key = KEYS[2], state = 'open', number = t.number, at = t.now, expires = expires, hold = hold,
    end_number = 0, end_at = 0, charge = 0, forget_at = 0, extension = '', claims = texts,
  }
  write_lease(l, t.now)
  redis.call('ZADD', OPEN, int(expires), id)
  t.due = math.min(t.due, expires)
  write_tenant(t)
  return l
end

local t = begin()
if not t then return lost() end
local l = own_lease(t, id)
if l and l.state ~= 'open' then return reply('ended', t) end
if l then return granted(t, l, l.number, l.at, observed_by_grant(l)) end
if t.now >= deadline then return reply('deadline', t) end
if generation < t.generation or (generation == t.generation and hash ~= t.hash) then return reply('stale', t) end

local claims = {}
for i = 9, #ARGV do
  local c = parse_claim(ARGV[i])
  if not place(c, t.now) then return reply('window', t) end
  claims[#claims + 1] = c
end
local counters = load_counters(claims, t.now)
local reasons, fits, newcomers = judge_all(t, claims, counters)

-- A newer policy binds from here, whether or not the claims fit.
if generation > t.generation then
  t.generation, t.hash = generation, hash
  redis.call('HSET', KEYS[1], 'generation', int(generation), 'hash', hash)
  add_event(t, 'policy', NONE, 0, 0, '')
  write_tenant(t)
end
if not fits then return denied(t, claims, counters, reasons) end

for group in pairs(newcomers) do redis.call('ZREMRANGEBYSCORE', group, '-inf', int(t.now)) end
l = grant(t, claims, counters)
return granted(t, l, l.number, l.at, observed_by_grant(l))
