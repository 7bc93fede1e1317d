-- The terms of a grant or extension: that its policy is the newest, and that no
-- kill switch stops it. The tenant is begun with switches, generation and hash.

-- is_stale reports whether the tenant has seen a newer policy, or another one of
-- the same generation.
local function is_stale(t, generation, hash)
  return generation < t.generation or (generation == t.generation and hash ~= t.hash)
end

-- adopt makes a newer policy bind from here, whether or not the rest lets the
-- verb pass. digits is its generation as it was given.
local function adopt(t, digits, hash)
  if digits + 0 == t.generation then return end
  call('HSET', KEYS[1], 'generation', digits, 'hash', hash)
  add_event(t, 'policy', NONE, 0, 0, digits .. ' ' .. hash)
  write_tenant(t)
end

-- killed is the answer where one of the switches, joined by spaces, is thrown, or
-- nil.
local function killed(t, names)
  if t.switches == 0 then return nil end
  for name in string.gmatch(names, '%S+') do
    local event = call('HGET', PREFIX .. 'switches', name)
    if event then return reply('killed', t) .. ' ' .. name .. ' ' .. event end
  end
end

-- disagree is the answer of a verb that grants where the clocks disagree.
local function disagree(t)
  return reply('clock', t) .. ' ' .. int(t.apart)
end
