-- place picks the span that holds the ledger's time, or none, and the counter's
-- life. Windows that are not fixed have no span.
local function place(now, kind, start1, end1, start2, end2, length)
  if kind ~= 'fixed' then return '0', '0', length + 0 end
  local life = end1 + 0
  if now < life and start1 + 0 <= now then return start1, end1, life end
  life = end2 + 0
  if now < life and start2 + 0 <= now then return start2, end2, life end
end

-- read_claims reads claims from ARGV, from the first on. A claim is twelve
-- arguments: KEY AMOUNT LIMIT AT_END KIND CURRENT_START CURRENT_END NEXT_START
-- NEXT_END LENGTH GROUP GROUP_MAX, with "~" for no group. AT_END also tells the
-- claim's marks: see marks.lua. It returns nil if a window does not hold the
-- ledger's time.
local function read_claims(first_arg, now)
  local claims = {}
  for i = first_arg, #ARGV, 12 do
    local key, amount, limit, at_end, kind, start1, end1, start2, end2, length, group =
      unpack(ARGV, i, i + 10)
    local first, last, life = place(now, kind, start1, end1, start2, end2, length)
    if not first then return nil end
    claims[#claims + 1] = {
      name = counter_name(kind, first, last, life, key), key = key, kind = kind, at_end = at_end,
      amount = amount + 0, limit = limit + 0, life = life, span = first .. ' ' .. last,
      asked_life = life, asked_group = group,
      spent = 0, held = 0, open = 0, born = 0, promised = 0, group = NONE,
    }
  end
  return claims
end
