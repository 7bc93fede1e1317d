package audit

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// loose reads fields from any JSON, in whatever order and spelling, and leaves
// out what does not fit.
type loose map[string]any

func (l loose) text(name string, v *string)    { *v, _ = l[name].(string) }
func (l loose) optText(name string, v *string) { l.text(name, v) }

func (l loose) word(name string, v *string, _ words)    { l.text(name, v) } // writing it again tells
func (l loose) optWord(name string, v *string, _ words) { l.text(name, v) }

func (l loose) count(name string, v *int64) {
	n, _ := l[name].(json.Number)
	*v, _ = strconv.ParseInt(n.String(), 10, 64)
}

func (l loose) optCount(name string, v *int64) { l.count(name, v) }

func (l loose) amount(name string, v *int64) {
	s, _ := l[name].(string)
	*v, _ = strconv.ParseInt(s, 10, 64)
}

func (l loose) optAmount(name string, v *int64) { l.amount(name, v) }
func (l loose) optFlag(name string, v *bool)    { *v, _ = l[name].(bool) }

func (l loose) optTexts(name string, v *[]string) {
	list, _ := l[name].([]any)
	for _, one := range list {
		s, _ := one.(string)
		*v = append(*v, s)
	}
}

func (l loose) optResults(name string, v *[]call.ToolResult) {
	var texts []string
	l.optTexts(name, &texts)
	for _, text := range texts {
		id, tool, _ := strings.Cut(text, " ")
		*v = append(*v, call.ToolResult{ID: call.Name(id), Tool: tool})
	}
}

func (l loose) optClaims(name string, v *[]Claim) {
	list, _ := l[name].([]any)
	for _, one := range list {
		fields, _ := one.(map[string]any)
		var c Claim
		c.visit(loose(fields))
		*v = append(*v, c)
	}
}

func (l loose) optLimits(name string, v *[]Limit) {
	list, _ := l[name].([]any)
	for _, one := range list {
		fields, _ := one.(map[string]any)
		var limit Limit
		limit.visit(loose(fields))
		*v = append(*v, limit)
	}
}

func (l loose) optKinds(name string, v *call.Kinds) {
	var units []string
	l.optTexts(name, &units)
	for _, text := range units {
		unit, _ := call.ByName(text)
		*v |= call.Of(unit)
	}
}

func (l loose) optLines(name string, v *[]call.Line) {
	list, _ := l[name].([]any)
	for _, one := range list {
		fields, _ := one.(map[string]any)
		var l line
		l.visit(loose(fields))
		*v = append(*v, call.Line(l))
	}
}

func (l loose) optObject(name string, r record) {
	fields, _ := l[name].(map[string]any)
	r.visit(loose(fields))
}

var hexOf = map[string]*regexp.Regexp{
	"chain": regexp.MustCompile(`^[0-9a-f]{32}$`), "prev": regexp.MustCompile(`^[0-9a-f]{64}$`),
}

// reference is what a line says, read the slow way: by a general JSON parser,
// and taken only if writing it again gives the same bytes.
func reference(line string) (Receipt, bool) {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var top, body loose
	if d.Decode(&top) != nil {
		return Receipt{}, false
	}
	var r Receipt
	var kind, prev string
	body, _ = top["body"].(map[string]any)
	top.text("chain", &r.Chain)
	top.text("kind", &kind)
	top.text("prev", &prev)
	top.count("n", &r.N)
	if r.Body = looseBody(kind, body); r.Body == nil ||
		!hexOf["chain"].MatchString(r.Chain) || !hexOf["prev"].MatchString(prev) || r.N < 1 || r.N > maxCount {
		return Receipt{}, false
	}
	hex.Decode(r.Prev[:], []byte(prev))
	encoded, err := r.Body.encode(nil)
	again, _ := link{r.Chain, r.N - 1, r.Prev}.appendLine(nil, kind, encoded)
	return r, err == nil && string(again) == line
}

func looseBody(kind string, body loose) Body {
	switch kind {
	case kindDecision:
		return visited[Decision](body)
	case kindSettlement:
		return visited[Settlement](body)
	case kindEvent:
		return visited[Event](body)
	case kindSeal:
		return visited[Seal](body)
	case kindStart:
		return visited[Start](body)
	case kindRotate:
		return visited[Rotate](body)
	}
	return nil
}

func visited[T Body, P interface {
	*T
	record
}](body loose) Body {
	var b T
	P(&b).visit(body)
	return b
}

// mustParseAlike holds the parser against the reference, and one that has read
// other lines before against a new one.
func mustParseAlike(t interface{ Fatalf(string, ...any) }, used *parser, line string) {
	got, err := new(parser).line(line)
	want, ok := reference(line)
	if ok != (err == nil) || ok && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q\nis read as %+v, %v\nwant %+v, %v", line, got, err, want, ok)
	}
	later, errLater := used.line(line)
	if fmt.Sprint(err) != fmt.Sprint(errLater) || !reflect.DeepEqual(got, later) {
		t.Fatalf("%q\nis read as %+v, %v\nafter other lines as %+v, %v", line, got, err, later, errLater)
	}
}

// referenceLines are lines of every kind with what a spelling can go wrong in.
func referenceLines(t testing.TB) (lines []string) {
	odd := "q\"\\\t\x01\u00e9\u2028\U0001F600"
	for _, body := range []Body{
		Decision{At: 5, Verdict: Allow, Facts: call.Facts{Cost: 12, Tenant: "acme", Stream: true, Needs: []string{"chat", odd},
			ToolResults: []call.ToolResult{{ID: "aa", Tool: "search"}, {ID: "bb", Tool: odd}, {ID: "cc"}}, Tools: []string{"search", odd}},
			Claims: []Claim{{Key: "usd/day", Amount: 12, Limit: 99, AtEnd: "adjust", Window: "fixed", Start: 1, End: 2}, {Key: odd, Spent: 7, AtEnd: "keep", Window: "forever"},
				{Key: "tool_calls/day", Amount: 1, Marks: "aa bb", Reason: "held", AtEnd: "keep", Window: "idle"},
				{Key: "tool_calls/hour", Marks: odd, AtEnd: "return", Window: "rolling"}},
			Lease: "l1", Expires: 9, Epoch: "e1", Event: 3, Policy: "ab", Generation: 1, Prices: "cd", PricedAt: 4},
		Decision{At: 6, Verdict: Deny, Reasons: []string{"held", odd}, Facts: call.Facts{Tenant: "acne"}, Policy: "ab", Prices: "cd"},
		Settlement{At: 7, Tenant: "acme", Lease: "l1", Outcome: "settle", Status: 200, Basis: BasisReported,
			Lines: []call.Line{{Key: call.Key{Model: odd}, Usage: call.Usage{call.Input: 1, call.Output: 2}, Billed: 3}, {Key: call.Key{Service: odd}}}, Hold: 12, Charge: 8, Overrun: 1, Epoch: "e1", Event: 4, Prices: "cd"},
		Settlement{At: 8, Tenant: "acne", Lease: odd, Outcome: "release"},
		Event{At: 9, Tenant: "acme", Epoch: "e1", Event: 4, Name: "grant", Lease: "l2", Expires: 10, Generation: 1, Policy: "ab",
			Claims: []Claim{{Key: "tool_calls/day", Amount: 2, Marks: "cc dd", AtEnd: "keep", Window: "idle"}}, Recovered: true},
		Event{At: 9, Tenant: "acme", Epoch: "e1", Event: 5, Name: "kill", Switch: odd, Recovered: true},
		Seal{Alg: AlgHMAC, Kid: "00", Sig: "ff"},
		Start{Alg: AlgHMAC, At: 1, Kid: "00", Reason: ReasonCreated},
		Rotate{Alg: AlgEd25519, At: 1, Kid: "00", Public: "ff"},
	} {
		line, err := FirstLine(body)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestParserIsTheReference changes lines in ways that a forger or a careless
// writer would.
func TestParserIsTheReference(t *testing.T) {
	lines := referenceLines(t)
	pieces := []string{`"`, `\`, `\"`, `\u0041`, `\n`, `,`, `{`, `}`, `[`, `]`, `:`, ` `, "\t", "\xff", "0", "9", "-", "e",
		"true", "null", `""`, `{}`, `[]`, `"x":"y",`, `,"chain":"`, "\u00e9"}
	line := rapid.SampledFrom(lines)
	change := rapid.Custom(func(t *rapid.T) string {
		text := line.Draw(t, "line")
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			from := rapid.IntRange(0, len(text)).Draw(t, "from")
			to := min(len(text), from+rapid.IntRange(0, 3).Draw(t, "bytes"))
			put := rapid.OneOf(rapid.SampledFrom(pieces), rapid.Just(""),
				rapid.Map(line, func(other string) string { return other[min(from, len(other)):min(to, len(other))] }))
			text = text[:from] + put.Draw(t, "put") + text[to:]
		}
		return text
	})
	rapid.Check(t, func(t *rapid.T) {
		var used parser
		for _, text := range rapid.SliceOfN(change, 1, 6).Draw(t, "log") {
			mustParseAlike(t, &used, text)
		}
	})
}

// FuzzParser reads one line after another.
func FuzzParser(f *testing.F) {
	lines := referenceLines(f)
	for i, line := range lines {
		f.Add(lines[(i+1)%len(lines)], line)
	}
	f.Fuzz(func(t *testing.T, before, line string) {
		var used parser
		used.line(before)
		mustParseAlike(t, &used, line)
	})
}

// TestParserRecallsOnlyPlainText: a string that is spelt in a line as another
// one read before is spelt in memory is not that one.
func TestParserRecallsOnlyPlainText(t *testing.T) {
	for _, text := range []string{`\n`, `\"`, `\\`, `\u0041`, "a\tb", `a"b`, `a\`, "\u00e9", "\x7f", "plain"} {
		line, err := FirstLine(Decision{Verdict: Deny, Policy: text})
		if err != nil {
			t.Fatal(err)
		}
		raw := strings.Replace(line, string(appendText(nil, text)), `"`+text+`"`, 1)
		var used parser
		for _, spelt := range []string{line, raw, line, raw} {
			mustParseAlike(t, &used, spelt)
		}
	}
}
