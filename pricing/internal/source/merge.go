package source

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// dearest takes into a model what another entry of the same name has: the higher price of each unit, and the looser
// limits.
func dearest(m, other *table.Model, what string, r *Report) {
	m.ContextTokens, m.MaxOutputTokens = max(m.ContextTokens, other.ContextTokens), max(m.MaxOutputTokens, other.MaxOutputTokens)
	for region, factor := range other.Regions {
		if m.Regions == nil {
			m.Regions = map[string]int64{}
		}
		m.Regions[region] = max(m.Regions[region], factor)
	}
	for _, theirs := range other.Prices {
		mine := listOf(m, theirs.Service, theirs.Variant)
		if mine == nil {
			m.Prices = append(m.Prices, theirs)
			continue
		}
		for _, tier := range theirs.Tiers {
			raise(mine, tier, what, r)
		}
	}
}

func listOf(m *table.Model, service, variant string) *table.Schedule {
	for i := range m.Prices {
		if s := &m.Prices[i]; s.Service == service && s.Variant == variant && s.From == "" && s.Start == "" {
			return s
		}
	}
	return nil
}

// raise has a list cost at least what a tier does, above its threshold.
func raise(s *table.Schedule, tier table.Rates, what string, r *Report) {
	at := slices.IndexFunc(s.Tiers, func(t table.Rates) bool { return t.Over >= tier.Over })
	if at < 0 {
		at = len(s.Tiers)
	}
	if at == len(s.Tiers) || s.Tiers[at].Over != tier.Over {
		before := s.Tiers[at-1]
		before.Over = tier.Over
		s.Tiers = slices.Insert(s.Tiers, at, before)
	}
	for i := at; i < len(s.Tiers); i++ {
		for u, price := range tier.Price {
			if mine := s.Tiers[i].Price[u]; price > mine {
				if mine != table.None && i == at {
					r.Differ = append(r.Differ, fmt.Sprintf("%s: %s: %d and %d pico-USD, the dearer counts", what, call.Unit(u), mine, price))
				}
				s.Tiers[i].Price[u] = price
			}
		}
	}
}

// Merge puts a newer table over an older one. The newer's price of a unit wins; what only the older has stays: units,
// context tiers, models, the fallbacks of a provider, and prices that begin after the day that the newer is of. What
// differs is reported.
func Merge(older, newer []*table.Provider, newerOf string, r *Report) []*table.Provider {
	merged := map[string]*table.Provider{}
	for _, p := range older {
		merged[p.Provider] = p
	}
	for _, p := range newer {
		if merged[p.Provider] == nil {
			merged[p.Provider] = p
			continue
		}
		mergeProvider(merged[p.Provider], p, newerOf, r)
	}
	list := slices.Collect(maps.Values(merged))
	sortProviders(list)
	for _, p := range list {
		announce(p)
		p.Models = append(p.Models, corrections(p)...)
		for i := range p.Models {
			tidy(&p.Models[i])
		}
		slices.SortFunc(p.Models, table.Compare)
	}
	return list
}

// mergeProvider lays a provider's newer entries over the older ones. An older entry prices all names that it matches; a
// newer one takes those that it prices itself away, and of an entry of its own id all that is left.
func mergeProvider(p, newer *table.Provider, newerOf string, r *Report) {
	before := &table.Provider{Models: slices.Clone(p.Models)} // as the older source has it
	for i := range before.Models {
		m := &before.Models[i]
		m.Names, m.Prefixes = slices.Clone(m.Names), slices.Clone(m.Prefixes)
	}
	for _, m := range newer.Models {
		name := strings.ToLower(slices.Concat(m.Names, []string{m.ID})[0])
		if origin := ofName(before, name); origin != nil {
			overlay(&m, origin, p.Provider+"/"+m.ID, newerOf, r)
		} else if len(m.Prefixes)+len(m.Infixes) == 0 {
			m.Prefixes = []string{name} // nobody says that a release of a new model costs something else
		}
		takeAway(p, &m)
		at := slices.IndexFunc(p.Models, func(old table.Model) bool { return strings.EqualFold(old.ID, m.ID) })
		if at < 0 {
			p.Models = append(p.Models, m)
			continue
		}
		old := &p.Models[at]
		m.Names, m.Prefixes, m.Infixes = append(m.Names, old.Names...), append(m.Prefixes, old.Prefixes...), append(m.Infixes, old.Infixes...)
		m.ID = old.ID
		*old = m
	}
	p.Models = slices.DeleteFunc(p.Models, func(m table.Model) bool { return len(m.Names)+len(m.Prefixes)+len(m.Infixes) == 0 })
	slices.SortFunc(p.Models, table.Compare)
}

// takeAway takes the names and patterns of an entry from all others. Where one of these prices the releases of the
// entry's name, the entry prices them now.
func takeAway(p *table.Provider, m *table.Model) {
	folded := make([]string, len(m.Names))
	for i, name := range m.Names {
		folded[i] = strings.ToLower(name)
	}
	for i := range p.Models {
		old := &p.Models[i]
		old.Names = slices.DeleteFunc(old.Names, func(name string) bool { return slices.Contains(folded, strings.ToLower(name)) })
		old.Prefixes = slices.DeleteFunc(old.Prefixes, func(text string) bool {
			if slices.Contains(folded, text) && !slices.Contains(m.Prefixes, text) {
				m.Prefixes = append(m.Prefixes, text)
			}
			return slices.Contains(m.Prefixes, text)
		})
		old.Infixes = slices.DeleteFunc(old.Infixes, func(text string) bool { return slices.Contains(m.Infixes, text) })
	}
}

// ofName finds the entry that prices a whole name, or whose releases are of it.
func ofName(p *table.Provider, name string) *table.Model {
	for i := range p.Models {
		m := &p.Models[i]
		if slices.ContainsFunc(m.Names, func(n string) bool { return strings.EqualFold(n, name) }) || slices.Contains(m.Prefixes, name) ||
			strings.EqualFold(m.ID, name) {
			return m
		}
	}
	return nil
}

// overlay completes a newer entry by an older one: by its units, services, variants, limits, and prices to come.
func overlay(m, old *table.Model, what, newerOf string, r *Report) {
	m.ContextTokens, m.MaxOutputTokens = cmp.Or(m.ContextTokens, old.ContextTokens), cmp.Or(m.MaxOutputTokens, old.MaxOutputTokens)
	if m.Regions == nil {
		m.Regions = old.Regions
	}
	for _, s := range old.Prices {
		if s.From != "" || s.Start != "" {
			continue
		}
		if mine := listOf(m, s.Service, s.Variant); mine != nil {
			complete(mine, &s, what, r)
			keepTiers(mine, &s, lastOf(old, &s, newerOf), what, r)
		} else {
			m.Prices = append(m.Prices, s)
		}
	}
	for _, s := range old.Prices {
		has := slices.ContainsFunc(m.Prices, func(one table.Schedule) bool {
			return one.From == s.From && one.Service == s.Service && one.Variant == s.Variant
		})
		switch {
		case s.From <= newerOf || has:
		case s.Service == "" && s.Variant == "":
			m.Prices = append(m.Prices, later(m, s)...)
		default:
			m.Prices = append(m.Prices, s)
		}
	}
}

// dearerWins are providers of which the newer source prices what the older knows as dearer, and neither is sure: Bedrock's
// endpoints in a region cost a tenth more than its global ones.
var dearerWins = []string{"aws"}

// complete fills in the units that a newer list lacks.
func complete(mine, old *table.Schedule, what string, r *Report) {
	provider, _, _ := strings.Cut(what, "/")
	for i := range old.Tiers {
		o := &old.Tiers[i]
		at := slices.IndexFunc(mine.Tiers, func(t table.Rates) bool { return t.Over == o.Over })
		if at < 0 {
			continue // see keepTiers
		}
		for u, price := range o.Price {
			now := &mine.Tiers[at].Price[u]
			switch {
			case price == table.None || *now == price:
			case *now == table.None:
				*now = price
			case slices.Contains(dearerWins, provider) && price > *now:
				r.Differ = append(r.Differ, fmt.Sprintf("%s: %s over %d: %d pico-USD stays, the newer has %d", what, call.Unit(u), o.Over, price, *now))
				*now = price
			default:
				r.Differ = append(r.Differ, fmt.Sprintf("%s: %s over %d: %d pico-USD was %d", what, call.Unit(u), o.Over, *now, price))
			}
		}
	}
}

// lastOf is the older entry's list of the same service and variant that holds on the day
// which the newer source is of, whatever the time of the day.
func lastOf(old *table.Model, like *table.Schedule, newerOf string) *table.Schedule {
	last := like
	for i := range old.Prices {
		s := &old.Prices[i]
		if s.Service == like.Service && s.Variant == like.Variant && s.Start == "" && s.From <= newerOf && s.From >= last.From {
			last = s
		}
	}
	return last
}

// keepTiers adds the context tiers that only the older source has: without them a long
// input would be held and charged at the price of a short one. Those that it says have
// ended are left out.
func keepTiers(mine, old, last *table.Schedule, what string, r *Report) {
	over := func(s *table.Schedule, tokens int64) int {
		return slices.IndexFunc(s.Tiers, func(t table.Rates) bool { return t.Over == tokens })
	}
	for i := range old.Tiers {
		o := &old.Tiers[i]
		switch {
		case over(mine, o.Over) >= 0:
			continue
		case over(last, o.Over) < 0:
			r.Differ = append(r.Differ, fmt.Sprintf("%s: prices over %d tokens ended on %s by the older source, and the newer has none", what, o.Over, last.From))
			continue
		}
		r.Differ = append(r.Differ, fmt.Sprintf("%s: prices over %d tokens are only in the older source, and stay", what, o.Over))
		at := 0
		for at < len(mine.Tiers) && mine.Tiers[at].Over < o.Over {
			at++
		}
		kept := raised(mine.Tiers[at-1], &last.Tiers[over(last, o.Over)])
		mine.Tiers = slices.Insert(slices.Clone(mine.Tiers), at, kept)
	}
}

// raised are rates with the higher prices of a tier. What the tier does not price rises
// as input does, or as output.
func raised(rates table.Rates, tier *table.Rates) table.Rates {
	base := rates
	rates.Over = tier.Over
	for u, price := range tier.Price {
		like, row := call.Output, &call.Table[u]
		if row.Input {
			like = call.Input
		}
		from, to := base.Price[like], tier.Price[like]
		if price == table.None && row.Scaled && base.Price[u] > 0 && from > 0 && to > from {
			price = (base.Price[u]*to + from - 1) / from
		}
		rates.Price[u] = max(rates.Price[u], price)
	}
	return rates
}

// hasOwn is a unit's own price, and told whether it has one, or one that it falls back to has another price than before:
// reasoning costs as much as a new price of output.
func hasOwn(r *table.Rates, u call.Unit) (price int64, told bool) {
	if r.Price[u] != table.None {
		return r.Price[u], true
	}
	for _, other := range call.Table[u].Else {
		if price, told := hasOwn(r, other); told {
			return price, true
		}
	}
	return table.None, false
}

// later are the lists of a day to come: the standard one, and the other services' raised as it is.
func later(m *table.Model, standard table.Schedule) []table.Schedule {
	before := listOf(m, "", "")
	if before == nil {
		return []table.Schedule{standard}
	}
	standard.Tiers = slices.Clone(standard.Tiers)
	for i := range standard.Tiers {
		for u, price := range before.Tiers[0].Price {
			if _, told := hasOwn(&standard.Tiers[i], call.Unit(u)); !told {
				standard.Tiers[i].Price[u] = price
			}
		}
	}
	lists := []table.Schedule{standard}
	for _, s := range m.Prices {
		if s.Service == "" || s.Variant != "" || s.From != "" {
			continue
		}
		s.From, s.Tiers = standard.From, slices.Clone(s.Tiers)
		for i := range s.Tiers {
			for u, price := range s.Tiers[i].Price {
				from, _ := hasOwn(&before.Tiers[0], call.Unit(u))
				to, _ := hasOwn(&standard.Tiers[0], call.Unit(u))
				if price > 0 && from > 0 && to > from {
					s.Tiers[i].Price[u] = (price*to + from - 1) / from
				}
			}
		}
		lists = append(lists, s)
	}
	return lists
}
