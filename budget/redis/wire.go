package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// none stands for an empty name: a byte that no name has.
const none = "~"

// errReply: the server answered what no script of ours answers.
var errReply = errors.New("reply is not understood")

// appendClaim writes a claim as the scripts read it.
func appendClaim(b []byte, c *budget.Claim) []byte {
	b = append(b, c.Key...)
	b = appendInts(b, c.Amount, c.Limit)
	b = append(append(b, ' '), orNone(string(c.AtEnd))...)
	b = append(append(b, ' '), c.Window.Kind...)
	b = appendInts(b, c.Window.Current.Start, c.Window.Current.End, c.Window.Next.Start, c.Window.Next.End,
		c.Window.Length.Milliseconds())
	b = append(append(b, ' '), orNone(c.Group)...)
	return appendInts(b, c.GroupMax)
}

func appendPlaced(b []byte, p *budget.Placed) []byte {
	b = appendClaim(b, &p.Claim)
	return appendObserved(b, &p.Observed)
}

func appendObserved(b []byte, o *budget.Observed) []byte {
	return appendInts(b, o.Span.Start, o.Span.End, o.Spent, o.Held)
}

func appendInts(b []byte, values ...int64) []byte {
	for _, v := range values {
		b = strconv.AppendInt(append(b, ' '), v, 10)
	}
	return b
}

func orNone(name string) string {
	if name == "" {
		return none
	}
	return name
}

func orEmpty(name string) string {
	if name == none {
		return ""
	}
	return name
}

// fields reads a reply word by word. After a word that is missing or no number
// it is broken and stays so.
type fields struct {
	rest   string
	broken bool
}

func (f *fields) word() string {
	if f.rest == "" {
		f.broken = true
		return ""
	}
	word, rest, _ := strings.Cut(f.rest, " ")
	f.rest = rest
	return word
}

func (f *fields) int() int64 {
	n, err := strconv.ParseInt(f.word(), 10, 64)
	if err != nil {
		f.broken = true
	}
	return n
}

func (f *fields) more() bool { return !f.broken && f.rest != "" }

func (f *fields) observed() budget.Observed {
	return budget.Observed{
		Span:  budget.Span{Start: f.int(), End: f.int()},
		Spent: f.int(),
		Held:  f.int(),
	}
}

// observedAll reads exactly count counters.
func (f *fields) observedAll(count int) []budget.Observed {
	all := make([]budget.Observed, 0, count)
	for f.more() && len(all) < count {
		all = append(all, f.observed())
	}
	f.broken = f.broken || len(all) < count
	return all
}

func (f *fields) claim() budget.Claim {
	var c budget.Claim
	c.Key = f.word()
	c.Amount, c.Limit = f.int(), f.int()
	c.AtEnd = budget.AtEnd(f.word())
	c.Window.Kind = budget.WindowKind(f.word())
	c.Window.Current = budget.Span{Start: f.int(), End: f.int()}
	c.Window.Next = budget.Span{Start: f.int(), End: f.int()}
	c.Window.Length = time.Duration(f.int()) * time.Millisecond
	c.Group = orEmpty(f.word())
	c.GroupMax = f.int()
	return c
}

// parseEvent reads "NUMBER KIND AT LEASE AMOUNT EXPIRES GENERATION HASH",
// a line feed, and placed claims joined by semicolons.
func parseEvent(tenant, epoch, text string) (budget.Event, error) {
	head, claims, _ := strings.Cut(text, "\n")
	f := fields{rest: head}
	e := budget.Event{Tenant: tenant, Epoch: epoch}
	e.Number, e.Kind, e.At, e.Lease = f.int(), budget.EventKind(f.word()), f.int(), orEmpty(f.word())
	e.Amount, e.Expires = f.int(), f.int()
	e.Policy = budget.PolicyVersion{Generation: f.int(), Hash: orEmpty(f.word())}
	for _, text := range strings.FieldsFunc(claims, func(r rune) bool { return r == ';' }) {
		g := fields{rest: text}
		e.Claims = append(e.Claims, budget.Placed{Claim: g.claim(), Observed: g.observed()})
		f.broken = f.broken || g.broken || g.more()
	}
	if f.broken || f.more() {
		return budget.Event{}, fmt.Errorf("%w: event %q", errReply, text)
	}
	return e, nil
}

// reasons are the scripts' words for why a claim does not fit.
var reasons = map[string]budget.Reason{
	"fits":      budget.Fits,
	"exhausted": budget.Exhausted,
	"held":      budget.Held,
	"crowded":   budget.Crowded,
}
