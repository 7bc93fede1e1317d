package pricing

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// Leaps are the changes to a newer table by more than a factor: of what its entries say, and of what the names of models
// cost. A name can cost otherwise although no entry changes: where a new entry is the more specific one, an entry gives its
// name to another, or a list, a context tier or a region is new.
func (t *Table) Leaps(newer *Table, factor int64) []Change {
	leaps := slices.DeleteFunc(t.Changes(newer), func(c Change) bool { return c.Factor() <= factor })
	told := map[string]bool{}
	for _, c := range leaps {
		told[c.Entry] = true
	}
	for _, id := range t.Providers() {
		for _, name := range probes(t, newer, id) {
			before, after := t.entry(id, name), newer.entry(id, name)
			if before == nil || told[before.name] || after != nil && told[after.name] {
				continue
			}
			if c, leapt := before.leap(after, factor); leapt {
				c.Entry = id + "/" + name
				leaps = append(leaps, c)
			}
		}
	}
	return leaps
}

// probes are the names by which two tables know a provider's models, with those of the providers whose prices it shares:
// whole ones, and the texts of patterns, which stand for releases.
func probes(old, newer *Table, id string) []string {
	all := map[string]bool{}
	for _, t := range []*Table{old, newer} {
		p := t.providers[id]
		if p == nil {
			continue
		}
		for _, shared := range append([]string{id}, p.models().fallback...) {
			for _, name := range t.providers[shared].models().listed {
				all[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// leap is the first price of an entry that another, nil for none, has by more than a factor otherwise.
func (e *entry) leap(after *entry, factor int64) (c Change, leapt bool) {
	if after == nil {
		after = &entry{}
	}
	both := slices.Concat(e.schedules, after.schedules)
	for _, s := range e.schedules {
		for _, unix := range instants(both) {
			was, is := e.at(unix, s.service, s.variant), after.at(unix, s.service, s.variant)
			if was == nil {
				continue
			}
			for _, region := range regionsOf(e, after) {
				if c, leapt = was.leap(is, e.factor(region), after.factor(region), factor); leapt {
					c.List = strings.Join(strings.Fields(fmt.Sprint(s.service, " ", s.variant, " ", region)), " ")
					return c, true
				}
			}
		}
	}
	return c, false
}

// instants are seconds of which each is in another list than the one before, in the order of the lists: the days on which
// any begins, and the hours of these days.
func instants(lists []*schedule) []int64 {
	var all []int64
	for _, day := range lists {
		from := max(day.from, 0) // before 1970 nobody asks
		for _, hours := range lists {
			all = append(all, from, from+hours.start, from+hours.end%secondsPerDay)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// regionsOf are the regions that either entry knows, and "" for the plain one.
func regionsOf(a, b *entry) []string {
	all := map[string]bool{"": true}
	for _, e := range []*entry{a, b} {
		for region := range e.regions {
			all[region] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// leap is the first rate of a list that another, nil for none, has by more than a factor otherwise, at the factors of one
// region. A unit that had no price, or a fee that was nothing, cannot leap.
func (s *schedule) leap(after *schedule, was, is, factor int64) (c Change, leapt bool) {
	overs := map[int64]bool{}
	for _, list := range []*schedule{s, after} {
		if list == nil {
			continue
		}
		for i := range list.tiers {
			overs[list.tiers[i].over] = true
		}
	}
	for _, over := range slices.Sorted(maps.Keys(overs)) {
		old, now := s.tier(over+1), (*rates)(nil)
		if after != nil {
			now = after.tier(over + 1)
		}
		for u := range call.Units {
			c = Change{Over: over, Unit: u, Old: rateIn(old, u, was), New: rateIn(now, u, is)}
			if c.Old == 0 && call.Table[u].Free {
				c.Old = NoRate
			}
			if c.Old != c.New && c.Factor() > factor {
				return c, true
			}
		}
	}
	return c, false
}

// rateIn is a unit's rate in a region of that factor, NoRate without one.
func rateIn(r *rates, u call.Unit, factor int64) int64 {
	if r == nil || r.per[u] == NoRate {
		return NoRate
	}
	if !call.Table[u].Scaled {
		return r.per[u]
	}
	return (r.per[u]*factor + plain - 1) / plain
}
