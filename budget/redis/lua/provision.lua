#!lua
-- provision makes a tenant exist. One that exists is left as it is; one that
-- the caller has seen and that is gone was lost, and is not made anew.
--
-- KEYS  1 tenant
-- ARGV  1 epoch seen, or empty  2 epoch for a new tenant
--       3 switches that a new one is born with, joined by spaces  4 caller's clock
-- Reply lost WHY
--       provisioned NOW EPOCH NUMBER DIGEST
--       or an error, if the server's Lua does not print large numbers exactly

-- Where Lua prints integers by 32 bits, amounts would come out wrong.
if int(MAX_AMOUNT) ~= '9007199254740991' then
  return redis.error_reply('ERR the ledger needs a server of 64 bits')
end

local record = call('HMGET', KEYS[1], 'epoch', 'number', 'at', 'restoring', 'digest')
local t = { epoch = record[1], number = tonumber(record[2] or 0), digest = record[5], told = 0, due = NEVER, switches = 0 }
t.now = tell_time(tonumber(record[3] or 0), tonumber(ARGV[4]))
t.now_text = int(t.now)
if record[4] then return 'lost it is being restored, or was found lost before' end
if ARGV[1] ~= '' and ARGV[1] ~= t.epoch then return 'lost its record is gone, or of another epoch' end
if not t.epoch and call('ZCARD', OPEN) > 0 then return 'lost its record is gone, and others of its keys are there' end
if not t.epoch then
  t.epoch, t.digest = ARGV[2], string.sub(ARGV[2], 1, DIGEST_CHARS)
  call('HSET', KEYS[1], 'epoch', t.epoch, 'generation', '0', 'hash', '', 'restored', '0')
  call('ZADD', OPEN, int(NEVER), NONE)
  call('HSET', EVENTS, NONE, '')
  add_event(t, 'provision', NONE, 0, 0, '0 ~')
  for name in string.gmatch(ARGV[3], '%S+') do throw(t, name) end
  write_tenant(t)
end
return reply('provisioned', t)
