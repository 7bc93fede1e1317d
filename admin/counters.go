package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// counterBytes bounds the body of a CounterQuery, in bytes: all claims of a
// reservation, with all of their marks, fit in half of it.
const counterBytes = 256 << 10

// CounterQuery is the body of POST /admin/v1/counters: counters of a tenant,
// named as claims name them, at most budget.MaxClaims. It changes nothing, so it
// is not guarded as changes are. Names that clients chose are hashed in the keys.
type CounterQuery struct {
	Tenant   string    `json:"tenant"`
	Counters []Counter `json:"counters,omitempty"`
}

// Counter names one counter of the ledger.
type Counter struct {
	Key     string            `json:"key"`
	Kind    budget.WindowKind `json:"window"`
	Current Span              `json:"current,omitzero"`    // of a fixed window
	Next    Span              `json:"next,omitzero"`       // the one after it
	Length  int64             `json:"length_ms,omitempty"` // of a rolling or idle window
	Marks   []string          `json:"marks,omitempty"`     // of which it is asked how many are new
}

// Span is a budget.Span: ledger milliseconds, the end is not in it.
type Span struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Counters is the answer. Read are the counters in the order that they were
// asked for; one that nobody has used is zero.
type Counters struct {
	Tenant   string   `json:"tenant"`
	At       int64    `json:"at_ms"` // on the ledger's clock
	Switches []Thrown `json:"switches"`
	Read     []Read   `json:"counters"`
}

// Read is what one counter has: nano-USD, or a plain count.
type Read struct {
	Span  Span  `json:"span,omitzero"` // of a fixed window
	Spent int64 `json:"spent"`
	Held  int64 `json:"held"`
	New   int64 `json:"new,omitempty"` // of the marks
}

// CounterOf names the counter that a claim is about.
func CounterOf(c budget.Claim) Counter {
	return Counter{
		Key:     c.Key,
		Kind:    c.Window.Kind,
		Current: Span(c.Window.Current),
		Next:    Span(c.Window.Next),
		Length:  c.Window.Length.Milliseconds(),
		Marks:   c.Marks,
	}
}

// Observed is the counter as a ledger tells it.
func (r Read) Observed() budget.Observed {
	return budget.Observed{Span: budget.Span(r.Span), Spent: r.Spent, Held: r.Held, New: r.New}
}

func (c Counter) claim() budget.Claim {
	return budget.Claim{Key: c.Key, Marks: c.Marks, Window: budget.Window{
		Kind:    c.Kind,
		Current: budget.Span(c.Current),
		Next:    budget.Span(c.Next),
		Length:  time.Duration(c.Length) * time.Millisecond,
	}}
}

// counters tells the balances of the very counters that are asked for, and
// which switches are thrown at their tenant, as of one instant.
func (s server) counters(w http.ResponseWriter, r *http.Request) {
	claims, tenant, err := readCounters(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.Policy().Tenant(tenant) == nil {
		http.Error(w, noTenant, http.StatusNotFound)
		return
	}
	b, err := s.Ledger.Balances(r.Context(), tenant, claims)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	v := Counters{Tenant: tenant, At: b.At, Switches: thrownOf(b), Read: []Read{}}
	for _, o := range b.Observed {
		v.Read = append(v.Read, Read{Span(o.Span), o.Spent, o.Held, o.New})
	}
	answer(w, http.StatusOK, v)
}

func readCounters(w http.ResponseWriter, r *http.Request) (claims []budget.Claim, tenant string, err error) {
	var q CounterQuery
	if err := readBody(w, r, counterBytes, &q); err != nil {
		return nil, "", fmt.Errorf("not a question for counters: %w", err)
	}
	if len(q.Counters) > budget.MaxClaims {
		return nil, "", fmt.Errorf("%d counters, at most %d", len(q.Counters), budget.MaxClaims)
	}
	for _, c := range q.Counters {
		claims = append(claims, c.claim())
	}
	return claims, q.Tenant, nil
}

// statusOf tells a question that is wrong from a ledger that cannot answer.
func statusOf(err error) int {
	if errors.Is(err, budget.ErrInvalid) || errors.Is(err, budget.ErrWindow) {
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

// readBody reads a body that is one JSON value of at most so many bytes.
func readBody(w http.ResponseWriter, r *http.Request, most int64, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows it")
	}
	return nil
}
