package audit

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
)

// ledgerID names the ledger of one tenant in one epoch.
type ledgerID struct{ tenant, epoch string }

// seen is one receipt of a ledger event. It is small: there may be millions.
type seen struct {
	number    int64
	line      int64
	fact      uint64 // what happened, hashed
	file      int32
	recovered bool
}

// eventSet gathers the event numbers of every ledger over all sources.
type eventSet struct {
	ledgers map[ledgerID]*[]seen
	files   []string
	seed    maphash.Seed
}

func (s *eventSet) add(id EventID, p *parsedLine) {
	if s.ledgers == nil {
		s.ledgers, s.seed = map[ledgerID]*[]seen{}, maphash.MakeSeed()
	}
	if len(s.files) == 0 || s.files[len(s.files)-1] != p.File {
		s.files = append(s.files, p.File)
	}
	ledger := ledgerID{id.Tenant, id.Epoch}
	list := s.ledgers[ledger]
	if list == nil {
		list = new([]seen)
		s.ledgers[ledgerID{string([]byte(id.Tenant)), string([]byte(id.Epoch))}] = list // not the block's memory
	}
	fact, recovered := factOf(p.Body)
	*list = append(*list, seen{
		number: id.Number, line: p.Line, fact: maphash.Comparable(s.seed, fact),
		file: int32(len(s.files) - 1), recovered: recovered,
	})
}

// fact is what two receipts of one event must agree on.
type fact struct {
	name, lease string
	amount      int64
	killSwitch  string
	limits      string
}

func factOf(b Body) (f fact, recovered bool) {
	switch b := b.(type) {
	case Decision:
		return fact{name: "grant", lease: b.Lease}, false
	case Settlement:
		return fact{name: b.Outcome, lease: b.Lease, amount: b.Charge}, false
	case Event:
		return fact{b.Name, b.Lease, b.Amount, b.Switch, limitsText(b.Limits)}, b.Recovered
	}
	return fact{}, false
}

func limitsText(limits []Limit) string {
	if len(limits) == 0 {
		return ""
	}
	return fmt.Sprint(limits)
}

// check reports events with more receipts than they may have: one by the
// replica that made the event, and any number recovered by others, all of the
// same fact.
func (s *eventSet) check(v *verifier) {
	for _, ledger := range s.sorted() {
		list := *s.ledgers[ledger]
		for i := 1; i < len(list); i++ {
			a, b := list[i-1], list[i]
			if a.number != b.number {
				continue
			}
			if a.fact != b.fact {
				v.find(Conflicting, s.files[b.file], b.line, "event %d of tenant %q is told otherwise at %s:%d",
					b.number, ledger.tenant, s.files[a.file], a.line)
			} else if !b.recovered {
				v.find(Conflicting, s.files[b.file], b.line, "event %d of tenant %q has a receipt already at %s:%d",
					b.number, ledger.tenant, s.files[a.file], a.line)
			}
		}
	}
}

// sorted orders every ledger's list by number, receipts that are not
// recovered first, and returns the ledgers in order.
func (s *eventSet) sorted() []ledgerID {
	for _, list := range s.ledgers {
		slices.SortStableFunc(*list, func(a, b seen) int {
			if a.number != b.number || a.recovered == b.recovered {
				return cmp.Compare(a.number, b.number)
			}
			if a.recovered {
				return 1
			}
			return -1
		})
	}
	return slices.SortedFunc(maps.Keys(s.ledgers), func(a, b ledgerID) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.epoch, b.epoch))
	})
}

// gaps lists the numbers from 1 to the highest that no receipt has. The lists
// are sorted by check.
func (s *eventSet) gaps() (list []Gap, count int64) {
	for _, ledger := range s.sorted() {
		last := int64(0)
		for _, e := range *s.ledgers[ledger] {
			if e.number > last+1 {
				count++
				if len(list) < maxGaps {
					list = append(list, Gap{ledger.tenant, ledger.epoch, last + 1, e.number - 1})
				}
			}
			last = e.number
		}
	}
	return list, count
}
