package gate

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Rebuild folds the receipts of all replicas into the state of every tenant
// in them, in its newest epoch. A number that no receipt has is an error: a
// balance without it would be too low.
func Rebuild(receipts iter.Seq2[audit.Receipt, error]) ([]*budget.State, error) {
	all, err := collect(receipts)
	if err != nil {
		return nil, err
	}
	newest := all.newest()
	var states []*budget.State
	var errs []error
	for _, tenant := range slices.Sorted(maps.Keys(newest)) {
		state, err := fold(tenant, newest[tenant].events)
		if err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", tenant, err))
			continue
		}
		states = append(states, state)
	}
	return states, errors.Join(errs...)
}

// collect gathers the events of each tenant and epoch by number. One that was receipted
// twice, by its own replica and as recovered, counts once.
func collect(receipts iter.Seq2[audit.Receipt, error]) (histories, error) {
	events := histories{}
	for r, err := range receipts {
		if err != nil {
			return nil, err
		}
		e, ok := EventOf(r.Body)
		if !ok {
			continue
		}
		events.add(e)
	}
	return events, nil
}

// epoch names one life of a tenant: one that was provisioned anew began again.
type epoch struct{ tenant, epoch string }

// history is the events of one epoch by number.
type history struct {
	latest int64 // ledger milliseconds
	events map[int64]budget.Event
}

type histories map[epoch]*history

func (hs histories) add(e budget.Event) {
	id := epoch{e.Tenant, e.Epoch}
	h := hs[id]
	if h == nil {
		h = &history{events: map[int64]budget.Event{}}
		hs[id] = h
	}
	h.latest = max(h.latest, e.At)
	h.events[e.Number] = e
}

// newest is each tenant's epoch that has the latest event.
func (hs histories) newest() map[string]*history {
	newest := map[string]*history{}
	for id, h := range hs {
		if best := newest[id.tenant]; best == nil || best.latest < h.latest {
			newest[id.tenant] = h
		}
	}
	return newest
}

func fold(tenant string, byNumber map[int64]budget.Event) (*budget.State, error) {
	list := slices.SortedFunc(maps.Values(byNumber), func(a, b budget.Event) int {
		return cmp.Compare(a.Number, b.Number)
	})
	state := budget.NewState(tenant)
	for _, e := range list {
		if err := state.Apply(e); err != nil {
			return nil, fmt.Errorf("%w; are the receipts of every replica there?", err)
		}
	}
	return state, nil
}

// EventOf is the ledger's event that a receipt tells of; ok is false for one
// that changed no balance.
func EventOf(body audit.Body) (e budget.Event, ok bool) {
	switch r := body.(type) {
	case audit.Decision:
		return grantOf(r), r.Verdict == audit.Allow && !r.Existing
	case audit.Settlement:
		return endOf(r), true
	case audit.Event:
		return otherOf(r), true
	}
	return budget.Event{}, false
}

func grantOf(d audit.Decision) budget.Event {
	return budget.Event{
		Tenant:  d.Facts.Tenant,
		Epoch:   d.Epoch,
		Number:  d.Event,
		Kind:    budget.Granted,
		At:      d.At,
		Lease:   d.Lease,
		Claims:  placed(d.Claims),
		Expires: d.Expires,
		Policy:  budget.PolicyVersion{Generation: d.Generation, Hash: d.Policy},
	}
}

func endOf(s audit.Settlement) budget.Event {
	return budget.Event{
		Tenant: s.Tenant,
		Epoch:  s.Epoch,
		Number: s.Event,
		Kind:   budget.EventKind(s.Outcome),
		At:     s.At,
		Lease:  s.Lease,
		Amount: s.Charge,
	}
}

func otherOf(r audit.Event) budget.Event {
	e := budget.Event{
		Tenant:  r.Tenant,
		Epoch:   r.Epoch,
		Number:  r.Event,
		Kind:    budget.EventKind(r.Name),
		At:      r.At,
		Lease:   r.Lease,
		Claims:  placed(r.Claims),
		Amount:  r.Amount,
		Expires: r.Expires,
		Policy:  budget.PolicyVersion{Generation: r.Generation, Hash: r.Policy},
		Switch:  r.Switch,
	}
	for _, limit := range r.Limits {
		e.Limits = append(e.Limits, budget.Limit(limit))
	}
	return e
}

func placed(claims []audit.Claim) []budget.Placed {
	list := make([]budget.Placed, len(claims))
	for i, c := range claims {
		span, marks := budget.Span{Start: c.Start, End: c.End}, strings.Fields(c.Marks)
		list[i] = budget.Placed{
			Claim: budget.Claim{
				Key: c.Key, Amount: c.Amount, Limit: c.Limit, AtEnd: budget.AtEnd(c.AtEnd),
				Window: budget.Window{
					Kind:    budget.WindowKind(c.Window),
					Current: span,
					Next:    after(span),
					Length:  time.Duration(c.LengthMS) * time.Millisecond,
				},
				Group: c.Group, GroupMax: c.GroupMax, Marks: marks,
			},
			Observed: budget.Observed{Span: span, Spent: c.Spent, Held: c.Held, New: newOf(&claims[i])},
		}
	}
	return list
}

// newOf is how many marks of a claim were new: its amount, if it has marks.
func newOf(c *audit.Claim) int64 {
	if c.Marks == "" {
		return 0
	}
	return c.Amount
}

// after is a span in the place of the next one, which receipts do not tell: a
// claim names two in order, and its event says which of them it was placed in.
func after(s budget.Span) budget.Span {
	if s == (budget.Span{}) {
		return s
	}
	return budget.Span{Start: s.End, End: s.End + 1}
}
