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

// claimArgs is how many arguments of a script a claim is.
const claimArgs = 12

// appendClaims adds claims as the scripts read them: lua/shared/claim.lua.
func appendClaims(args []any, claims []budget.Claim) []any {
	for i := range claims {
		c := &claims[i]
		w := &c.Window
		args = append(args, c.Key, c.Amount, c.Limit, atEndWord(c), string(w.Kind),
			w.Current.Start, w.Current.End, w.Next.Start, w.Next.End, w.Length.Milliseconds(),
			orNone(c.Group), c.GroupMax)
	}
	return args
}

// appendClaim writes the words of a claim.
func appendClaim(b []byte, c *budget.Claim) []byte {
	b = append(b, c.Key...)
	b = appendInts(b, c.Amount, c.Limit)
	b = append(append(b, ' '), atEndWord(c)...)
	b = append(append(b, ' '), c.Window.Kind...)
	b = appendInts(b, c.Window.Current.Start, c.Window.Current.End, c.Window.Next.Start, c.Window.Next.End,
		c.Window.Length.Milliseconds())
	b = append(append(b, ' '), orNone(c.Group)...)
	return appendInts(b, c.GroupMax)
}

// markedKeep begins the AT_END that tells a claim's marks, joined by commas: see
// lua/shared/marks.lua.
const markedKeep = "marked:"

func atEndWord(c *budget.Claim) string {
	if len(c.Marks) > 0 {
		return markedKeep + strings.Join(c.Marks, ",")
	}
	return orNone(string(c.AtEnd))
}

// readAtEnd reads what atEndWord wrote.
func readAtEnd(c *budget.Claim, word string) {
	c.AtEnd = budget.AtEnd(word)
	if marks, ok := strings.CutPrefix(word, markedKeep); ok {
		c.AtEnd, c.Marks = budget.Keep, strings.Split(marks, ",")
	}
}

func appendPlaced(b []byte, p *budget.Placed) []byte {
	b = appendClaim(b, &p.Claim)
	return appendSeen(b, p)
}

func appendObserved(b []byte, o *budget.Observed) []byte {
	return appendInts(b, o.Span.Start, o.Span.End, o.Spent, o.Held)
}

// appendSeen is appendObserved with what was new of a claim's marks.
func appendSeen(b []byte, p *budget.Placed) []byte {
	b = appendObserved(b, &p.Observed)
	if len(p.Marks) == 0 {
		return b
	}
	return strconv.AppendInt(append(b, " +"...), p.New, 10)
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
	o := budget.Observed{
		Span:  budget.Span{Start: f.int(), End: f.int()},
		Spent: f.int(),
		Held:  f.int(),
	}
	if strings.HasPrefix(f.rest, "+") {
		o.New = f.int()
	}
	return o
}

// keyMark begins the words that are keys where a reply has other words too.
const keyMark = "="

func (f *fields) atKey() bool { return strings.HasPrefix(f.rest, keyMark) }

func (f *fields) key() string {
	key, ok := strings.CutPrefix(f.word(), keyMark)
	f.broken = f.broken || !ok
	return key
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
	readAtEnd(&c, f.word())
	c.Window.Kind = budget.WindowKind(f.word())
	c.Window.Current = budget.Span{Start: f.int(), End: f.int()}
	c.Window.Next = budget.Span{Start: f.int(), End: f.int()}
	c.Window.Length = time.Duration(f.int()) * time.Millisecond
	c.Group = orEmpty(f.word())
	c.GroupMax = f.int()
	return c
}

// parseEvent reads "NUMBER KIND AT LEASE AMOUNT EXPIRES GENERATION HASH". Two
// more lines of a grant are the words of its claims, and of what they observed;
// one more of an extension is the words of its limits, and one more of an end
// "INPUT OUTPUT", the tokens that were used.
func parseEvent(tenant, epoch, text string) (budget.Event, error) {
	head, lines, _ := strings.Cut(text, "\n")
	claims, observed, _ := strings.Cut(lines, "\n")
	f, c, o := fields{rest: head}, fields{rest: claims}, fields{rest: observed}
	e := budget.Event{Tenant: tenant, Epoch: epoch}
	e.Number, e.Kind, e.At, e.Lease = f.int(), budget.EventKind(f.word()), f.int(), orEmpty(f.word())
	e.Amount, e.Expires = f.int(), f.int()
	e.Policy = budget.PolicyVersion{Generation: f.int(), Hash: orEmpty(f.word())}
	if e.Kind == budget.Thrown || e.Kind == budget.Lifted {
		e.Switch, e.Lease = e.Lease, ""
	}
	for e.Kind == budget.Extended && c.more() {
		e.Limits = append(e.Limits, budget.Limit{Key: c.word(), Limit: c.int()})
	}
	if c.more() && (e.Kind == budget.Settled || e.Kind == budget.Corrected) {
		e.Input, e.Output = c.int(), c.int()
	}
	for c.more() {
		e.Claims = append(e.Claims, budget.Placed{Claim: c.claim(), Observed: o.observed()})
	}
	for _, f := range []*fields{&f, &c, &o} {
		if f.broken || f.more() {
			return budget.Event{}, fmt.Errorf("%w: event %q", errReply, text)
		}
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
