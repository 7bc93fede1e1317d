package providers

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// Unbounded is an error that says what makes a call's cost unbounded on an upstream, and what
// helps. Nil is none: it is made of the first cause, so that a call with a bound costs nothing.
type Unbounded struct {
	Causes []Cause // at most MaxCauses
	More   int     // how many there are beyond these
}

// MaxCauses is how many of them one denial tells.
const MaxCauses = 5

// Cause is one thing that leaves a call without a bound.
type Cause struct {
	Member string // what it is, as a denial says it; "" for the call as a whole
	Why    string
	Lines  []Line // each admits it; none: nothing in a policy does
}

// Line is a line of a policy.
type Line struct {
	Text string // with N where the operator has to choose a number
	At   Place
}

// Place is where in a policy a line belongs.
type Place string

// Places of lines.
const (
	AtUpstream Place = "its upstream"
	AtModel    Place = "the model"
	AtTenant   Place = "the tenant"
)

// NoBound is what one cause leaves without a bound.
func NoBound(member, why string, lines ...Line) *Unbounded {
	return (*Unbounded)(nil).And(Cause{Member: member, Why: why, Lines: lines})
}

// Bills is why an operation has none that costs nothing at some providers, but for all that is
// known not at this one. what names it, as in "a count of tokens".
func Bills(what, provider string) *Unbounded {
	return NoBound("", fmt.Sprintf("%s is not known to cost nothing at the provider %q, and nothing here bounds what it costs", what, provider))
}

// And is u with one cause more.
func (u *Unbounded) And(c Cause) *Unbounded {
	if u == nil {
		u = &Unbounded{}
	}
	if len(u.Causes) == MaxCauses {
		u.More++
	} else {
		u.Causes = append(u.Causes, c)
	}
	return u
}

// Join is u with all causes of another.
func (u *Unbounded) Join(other *Unbounded) *Unbounded {
	if other == nil {
		return u
	}
	for _, c := range other.Causes {
		u = u.And(c)
	}
	u.More += other.More
	return u
}

// Error tells every cause, with the lines that admit it.
func (u *Unbounded) Error() string {
	var b strings.Builder
	b.WriteString("what this request costs has no bound, ")
	for i := range u.Causes {
		if i > 0 {
			b.WriteString(". It has none either ")
		}
		u.Causes[i].write(&b)
	}
	if u.More > 0 {
		fmt.Fprintf(&b, ". There are %d reasons more", u.More)
	}
	return b.String()
}

func (c *Cause) write(b *strings.Builder) {
	b.WriteString("because ")
	if c.Member != "" {
		b.WriteString("of " + c.Member + ": ")
	}
	b.WriteString(c.Why)
	for i, line := range c.Lines {
		if i == 0 {
			b.WriteString("; ")
		} else {
			b.WriteString(", or ")
		}
		b.WriteString(line.String())
	}
	if len(c.Lines) == 0 {
		b.WriteString("; nothing in a policy admits it")
	}
}

// String says what the line does.
func (l Line) String() string {
	text := "the line " + l.Text + " at " + string(l.At) + " in the policy admits it"
	if l.At == AtUpstream {
		return "where price and cap bound all that it costs, " + text
	}
	return text
}

// Bounds is the line of a model's policy that bounds something by a number.
func Bounds(field string) []Line { return []Line{{Text: field + ": N", At: AtModel}} }

// Strips is the line of a tenant's policy that takes out tools of a kind which run at the
// provider.
func Strips(kind string) Line {
	return Line{Text: fmt.Sprintf("hosted_tools: [{kind: %s, when_offered: strip}]", kind), At: AtTenant}
}

// Prices is the line that pays for them.
func Prices(kind string) Line {
	return Line{Text: fmt.Sprintf("hosted_tools: [{kind: %s, when_offered: price, calls: N, tokens: N}]", kind), At: AtTenant}
}

// Admits is the line of an upstream's policy that admits an extra; none where no policy can
// hold its name, or the beginning of it.
func Admits(e call.Extra) []Line {
	pattern := e.Pattern()
	if pattern == "" {
		return nil
	}
	return []Line{{Text: fmt.Sprintf("allow: {%s: [%q]}", e.Kind, pattern), At: AtUpstream}}
}

// nouns are what one of each kind is called; the type of a part or a tool is its name.
var nouns = [call.ExtraKinds]string{
	"a member", "", "a tool", "service_tier", "the query parameter", "the header", "the beta",
}

// Naming names an extra, whose content is said to be in parts, or blocks.
func Naming(e call.Extra, part string) string {
	noun, of, none := nouns[e.Kind], " ", " without a name"
	switch e.Kind {
	case call.ExtraPart:
		noun, of, none = part, " of type ", " without a type"
	case call.ExtraTool:
		of, none = " of type ", " without a type"
	}
	switch {
	case e.Name == "":
		return noun + none
	case !plain(e.Name):
		return noun + of + strconv.QuoteToASCII(e.Name[:min(len(e.Name), call.MaxAllowBytes)])
	case e.Kind == call.ExtraMember:
		return e.Name
	}
	return noun + of + e.Name
}

// plain reports whether a name reads well without quotes.
func plain(name string) bool {
	return len(name) <= call.MaxAllowBytes && !strings.ContainsFunc(name, func(c rune) bool {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return false
		}
		return !strings.ContainsRune("._:/@=-*", c)
	})
}
