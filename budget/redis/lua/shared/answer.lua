-- observed is what a counter shows to the caller.
local function observed(c, k)
  return string.format('%s %s %.0f %.0f', c.first, c.last, k.spent, k.held)
end

-- observed_by_grant is what the counters of a lease showed before its grant.
local function observed_by_grant(l)
  local seen = {}
  for claim in string.gmatch(l.claims, '[^;]+') do
    seen[#seen + 1] = string.match(claim, ' (%d+ %d+ %d+ %d+)$')
  end
  return table.concat(seen, ' ')
end

-- granted is the answer to reserve and extend.
local function granted(t, l, number, at, seen)
  return string.format('%s %.0f %.0f %.0f %s', reply('granted', t), number, at, l.expires, seen)
end

-- denied is the answer of a verb that did not fit.
local function denied(t, claims, counters, reasons)
  local out = { reply('denied', t) }
  for i, c in ipairs(claims) do out[#out + 1] = observed(c, counters[i]) .. ' ' .. reasons[i] end
  return table.concat(out, ' ')
end

-- judge says why an amount does not fit under a limit, or "fits".
local function judge(amount, limit, k)
  if k.spent + amount > limit then return 'exhausted' end
  if k.spent + k.held + amount > limit then return 'held' end
  return 'fits'
end

-- ending is the answer to settle and release.
local function ending(t, l)
  return string.format('%s %s %.0f %.0f %.0f', reply('closed', t), l.state, l.end_number, l.end_at, l.charge)
end
