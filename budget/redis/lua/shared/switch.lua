-- The thrown switches are a hash, name to "EVENT AT". How many they are is in the
-- tenant's record, so that a reserve looks for them only where there are some.
local SWITCHES = PREFIX .. 'switches'

-- throw throws a switch, anew if it is thrown. It returns its "EVENT AT".
local function throw(t, name)
  add_event(t, 'kill', name, 0, 0, '0 ~')
  local event = int(t.number) .. ' ' .. t.now_text
  if call('HSET', SWITCHES, name, event) == 1 then
    t.switches = t.switches + 1
    call('HSET', KEYS[1], 'switches', int(t.switches))
  end
  return event
end
