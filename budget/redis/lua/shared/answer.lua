-- observed is what the counter of a claim shows to the caller: "START END SPENT
-- HELD" with the claim's span, and of a new claim with marks "+NEW" behind it, how
-- many of them the counter does not know.
local function observed(c)
  if c.names then return format('%s %d %d +%d', c.span, c.spent, c.held, c.amount) end
  return format('%s %d %d', c.span, c.spent, c.held)
end

-- granted is the answer to reserve and extend. seen is what was observed of
-- each claim. repeated is 1 if a reserve found the lease there.
local function granted(t, l, number, at, seen, hold, repeated)
  return format('granted %s %s %d %s %d %d %d %d %d %s', t.now_text, t.epoch, t.number, t.digest, number, at, l.expires,
    hold, repeated, seen)
end

-- denied is the answer of a verb that did not fit.
local function denied(t, claims, reasons)
  local out = { reply('denied', t) }
  for i, c in ipairs(claims) do out[#out + 1] = observed(c) .. ' ' .. reasons[i] end
  return table.concat(out, ' ')
end

-- judge says why an amount does not fit under a claim's limit, or "fits".
local function judge(amount, c)
  if c.spent + amount > c.limit then return 'exhausted' end
  if c.spent + c.held + amount > c.limit then return 'held' end
  return 'fits'
end
