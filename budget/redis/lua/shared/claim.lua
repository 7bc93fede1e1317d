-- A claim is one string of twelve fields: KEY AMOUNT LIMIT AT_END KIND
-- CURRENT_START CURRENT_END NEXT_START NEXT_END LENGTH GROUP GROUP_MAX, with "~"
-- for no group. A placed claim has four more: START END SPENT HELD.
local CLAIM = '^(%S+)' .. string.rep(' (%S+)', 11) .. '(.*)$'

local function parse_claim(text)
  local c, amount, limit, start1, end1, start2, end2, length, group_max, placed = { text = text }
  c.key, amount, limit, c.at_end, c.kind, start1, end1, start2, end2, length, c.group, group_max, placed =
    string.match(text, CLAIM)
  c.amount, c.limit, c.length, c.group_max =
    tonumber(amount), tonumber(limit), tonumber(length), tonumber(group_max)
  c.spans = { { start1, end1 }, { start2, end2 } }
  if placed ~= '' then c.first, c.last = string.match(placed, '^ (%d+) (%d+)') end
  return c
end

-- place picks the span that holds the ledger's time, and reports whether one
-- does. Windows that are not fixed have no span.
local function place(c, now)
  if c.kind ~= 'fixed' then
    c.first, c.last = '0', '0'
    return true
  end
  for _, span in ipairs(c.spans) do
    if tonumber(span[1]) <= now and now < tonumber(span[2]) then
      c.first, c.last = span[1], span[2]
      return true
    end
  end
  return false
end

local function parse_claims(text)
  local claims = {}
  for one in string.gmatch(text, '[^;]+') do claims[#claims + 1] = parse_claim(one) end
  return claims
end
