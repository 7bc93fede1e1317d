#!lua
-- ready tries whether a ledger could be kept here, and changes nothing. Like
-- reserve it lacks the flag allow-oom, so that it is refused where a grant would
-- be: with memory full, too few replicas, or a disk that fails.
--
-- Each command is tried on a key that no tenant has, with words that do nothing:
-- on nothing, or refused for their number once the caller's right is checked. A
-- node of a cluster that has not the key's slot says so after that check, too.
--
-- Reply, for each command that the caller may not run, what the server says of it;
--       else nothing

local KEY = 'aegis:{}:ready'

local commands = {
  { 'GET', KEY }, { 'GETRANGE', KEY, '0', '0' }, { 'SETRANGE', KEY, '0', '' }, { 'SET', KEY, '', 'XX' }, { 'MGET', KEY }, { 'MSET', KEY, '', KEY }, { 'DEL', KEY },
  { 'PERSIST', KEY }, { 'PEXPIRE', KEY, '1' }, { 'PTTL', KEY }, { 'TIME' },
  { 'HGET', KEY, '' }, { 'HGETALL', KEY }, { 'HMGET', KEY, '' }, { 'HSET', KEY, '', '', '' }, { 'HDEL', KEY, '' }, { 'HLEN', KEY },
  { 'ZADD', KEY, 'XX', '0', '' }, { 'ZCARD', KEY }, { 'ZCOUNT', KEY, '0', '0' }, { 'ZRANGE', KEY, '0', '0' },
  { 'ZRANGEBYSCORE', KEY, '0', '0' }, { 'ZREM', KEY, '' }, { 'ZREMRANGEBYSCORE', KEY, '0', '0' }, { 'ZSCORE', KEY, '' },
}

local refused = {}
for _, command in ipairs(commands) do
  local answer = redis.pcall(unpack(command))
  local err = type(answer) == 'table' and answer.err
  if err and (string.find(err, 'ACL', 1, true) or string.find(err, "can't", 1, true)) then
    refused[#refused + 1] = command[1] .. ': ' .. err
  end
end
return refused
