#!lua
-- reserve grants every claim or none.
--
-- It lacks the flag allow-oom on purpose: with memory full Redis does not start
-- it, so no grant is half written, while the verbs that end leases still run.
--
-- KEYS  1 tenant  2 lease
-- ARGV  1 epoch seen  2 number seen  3 its digest  4 caller's clock  5 acknowledged
--       6 lease id  7 deadline on the ledger's clock, ms
--       8 time to live, ms  9 policy generation  10 policy hash
--       11 switches that would stop it, joined by spaces
--       12... claims, twelve arguments each (see shared/claim.lua)
-- Reply lost WHY
--       ended|deadline|stale|window NOW EPOCH NUMBER DIGEST
--       granted NOW EPOCH NUMBER DIGEST GRANT AT EXPIRES HOLD REPEATED { START END SPENT HELD [+NEW] }... { =KEY }...
--       killed NOW EPOCH NUMBER DIGEST SWITCH EVENT AT
--       denied NOW EPOCH NUMBER DIGEST { START END SPENT HELD [+NEW] REASON }...
--       where only a claim with marks has +NEW, and only a lease that was there =KEY

local id, deadline, ttl = ARGV[6], ARGV[7] + 0, ARGV[8] + 0
local generation, hash = ARGV[9] + 0, ARGV[10]

-- crowded reports whether a claim would bring one more key into a full group, which
-- has so many at most. Keys that this call has let in are counted by newcomers.
local function crowded(t, c, most, newcomers)
  local group = PREFIX .. 'group:' .. c.asked_group
  local forget = tonumber(call('ZSCORE', group, c.key) or 0)
  if forget > t.now then return false end
  local live = call('ZCOUNT', group, '(' .. int(t.now), '+inf') + (newcomers[group] or 0)
  if live >= most then return true end
  newcomers[group] = (newcomers[group] or 0) + 1
  return false
end

-- judge_all returns a reason for each claim and whether all fit.
local function judge_all(t, claims)
  local reasons, fits, newcomers = {}, true, {}
  for i = 1, #claims do
    local c = claims[i]
    if #c.at_end > 6 then -- longer than any without: it has marks
      marks().count(c)
      ARGV[11 + 12 * (i - 1) + 2] = int(c.amount) -- the event tells it
    end
    if c.asked_group ~= NONE and crowded(t, c, ARGV[11 + 12 * i] + 0, newcomers) then
      reasons[i] = 'crowded'
    else
      reasons[i] = judge(c.amount, c)
    end
    fits = fits and reasons[i] == 'fits'
  end
  return reasons, fits, newcomers
end

-- join makes a counter's key a member of the claim's group, and of no other. In the one
-- that it leaves it is over: it is not taken out, so that the group is never empty.
local function join(c, now)
  if c.group ~= NONE and c.group ~= c.asked_group then
    call('ZADD', PREFIX .. 'group:' .. c.group, 'XX', int(now), c.key)
  end
  c.group = c.asked_group
end

-- hold_claims adds what a new lease holds to the counters. It returns what was
-- observed, and the hold of the adjust claims.
local function hold_claims(t, claims)
  local hold, seen = 0, {}
  for i = 1, #claims do
    local c = claims[i]
    seen[i] = observed(c)
    if c.names then marks().hold(c) end
    if c.at_end == 'adjust' then hold = c.amount end
    if c.born == 0 then c.born = t.number + 1 end
    c.life = c.asked_life
    c.held, c.open = c.held + c.amount, c.open + 1
    join(c, t.now)
  end
  return table.concat(seen, ' '), hold
end

-- grant makes a new lease, or returns nil if it is listed as open without a record.
local function grant(t, claims, newcomers)
  local expires = t.now + ttl
  for i = 1, #claims do assure(claims[i], t.now, expires) end
  if call('ZADD', OPEN, int(expires), id) == 0 then return nil end
  for group in pairs(newcomers) do call('ZREMRANGEBYSCORE', group, '-inf', int(t.now)) end
  local seen, hold = hold_claims(t, claims)
  add_event(t, 'grant', id, 0, expires,
    ARGV[9] .. ' ' .. hash .. '\n' .. table.concat(ARGV, ' ', 12) .. '\n' .. seen)
  local l = {
    key = KEYS[2], state = 'open', number = t.number, at = t.now, expires = expires, hold = hold,
    end_number = 0, end_at = 0, charge = 0, forget_at = 0, extension = '', seen = seen, claims = pack_claims(claims),
  }
  write_counters(claims, t.now, l.key, lease_record(l))
  if expires < t.due then t.due = expires end
  write_tenant(t)
  return l
end

-- first_hold is what a lease held before any extension.
local function first_hold(l)
  if l.extension == '' then return l.hold end
  for _, c in ipairs(unpack_claims(l)) do
    if c.at_end == 'adjust' then return c.amount end
  end
  return 0
end

-- repeated is the answer where the lease is there: the first, and whose claims
-- it tells of.
local function repeated(t, l)
  local out = { granted(t, l, l.number, l.at, l.seen, first_hold(l), 1) }
  for _, c in ipairs(unpack_claims(l)) do out[#out + 1] = '=' .. c.key end
  return table.concat(out, ' ')
end

-- look_for_groups fails if a group is gone: what it says of the reasons is not true then.
local function look_for_groups(t, claims)
  for _, c in ipairs(claims) do
    local group = PREFIX .. 'group:' .. c.asked_group
    if c.asked_group ~= NONE and call('ZCARD', group) == 0 then kept().miss(group, t.now) end
  end
end

local t, lost = begin('switches', 'generation', 'hash')
if not t then return lost end
local l = own_lease(t, id)
if l and l.state ~= 'open' then return reply('ended', t) end
if l then return repeated(t, l) end
if t.apart then return kept().refuse(id, t.now, disagree(t)) end
if t.now >= deadline then return kept().refuse(id, t.now, reply('deadline', t)) end
if is_stale(t, generation, hash) then return kept().refuse(id, t.now, reply('stale', t)) end

local claims = read_claims(12, t.now)
if not claims then return kept().refuse(id, t.now, reply('window', t)) end
load_counters(claims, t.now)
local reasons, fits, newcomers = judge_all(t, claims)

adopt(t, ARGV[9], hash)
local stopped = killed(t, ARGV[11])
if stopped then return kept().refuse(id, t.now, stopped) end
if not fits then
  look_for_groups(t, claims)
  return kept().refuse(id, t.now, denied(t, claims, reasons))
end

l = grant(t, claims, newcomers)
if not l then kept().lease(id, t.now) end
return granted(t, l, l.number, l.at, l.seen, l.hold, 0)
