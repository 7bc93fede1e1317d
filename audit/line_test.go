package audit_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// fullDecision has every field, those of calls and those of actions.
func fullDecision() audit.Decision {
	d := decision(1)
	d.PricedAt = 1_700_000_000_100
	d.Facts.ExtraOutput, d.Facts.Needs = 12, []string{"chat", "stream"}
	d.Facts.Kinds, d.Facts.Services = call.Of(call.CacheWrite1h, call.AudioInput, call.AudioOutput), []string{"priority"}
	d.Facts.InputRereads, d.Facts.OutputRereads = 4, 3
	d.Facts.LeastCap, d.Facts.Free = 1025, true
	d.Facts.Beside = []call.Line{{Usage: call.Usage{call.Searches: 3}}, {Key: call.Key{Model: "gpt-5"}, Usage: call.Usage{call.Input: 900, call.Output: 64}}}
	d.Facts.Service, d.Facts.Uncapped, d.Facts.InsteadOf = "auto", true, "gpt-5"
	d.Facts.Region = "any"
	d.Facts.Depth, d.Facts.Nonce, d.Facts.Attempt, d.Facts.Counted = 2, "5ca1ab1e", 1, true
	d.Existing, d.Facts.Target, d.Facts.Tool = true, "0badcafe", "0ddba11"
	d.Facts.ToolResults, d.Facts.Tools = []call.ToolResult{{ID: "ca11ab1e", Tool: "search"}, {ID: "c0ffee"}}, []string{"search", "fetch"}
	d.Claims = append(d.Claims, audit.Claim{Key: "tool_calls/day", Amount: 1, AtEnd: "keep", Window: "fixed", Marks: "ca11ab1e c0ffee"})
	return d
}

// denials is a decision that stands for several.
func denials(at int64, digit string) audit.Decision {
	d := audit.Decision{
		At: at, Verdict: audit.Deny, Reasons: []string{"budget_exhausted"},
		Facts:  call.Facts{Tenant: "acme", Key: "team-a", Endpoint: "chat/completions", Model: "gpt-5-mini", Cost: 8_395_000},
		Claims: decision(1).Claims[:1], Epoch: "e1", Event: 2,
		Policy: strings.Repeat("ab", 32), Generation: 7, Prices: strings.Repeat("cd", 32), PricedAt: at,
	}
	d.Claims[0].Reason = "exhausted"
	d.Denials = audit.Denials{ID: "denials-" + strings.Repeat(digit, 32), Count: 8_500, Until: at + 998}
	return d
}

// fullBodies has bodies of every kind that together set every field.
func fullBodies() []audit.Body {
	return []audit.Body{
		fullDecision(), denials(1_700_000_000_123, "0"), settlement(2), fullEvent(),
		audit.Seal{Alg: audit.AlgHMAC, Kid: "0011223344556677", Sig: "00ff"},
		audit.Start{
			Alg: audit.AlgHMAC, At: 1, CutBytes: 2, CutFile: "torn-3.bin", Kid: "0011223344556677",
			Reason: audit.ReasonRepaired, Software: "aegis-proxy 1",
		},
		audit.Rotate{Alg: audit.AlgEd25519, At: 1, Kid: "0011223344556677", Public: "00ff"},
	}
}

func fullEvent() audit.Event {
	e := expiry(3)
	e.Switch, e.Key = "key:acme-1", "acme-1"
	e.Limits = []audit.Limit{{Key: "usd/tenant/day", Limit: 25_000_000_000}, {Key: "usd/tenant", Limit: 0}}
	return e
}

func TestFullFactsSetEveryField(t *testing.T) {
	facts := reflect.ValueOf(fullDecision().Facts)
	for i := range facts.NumField() {
		name := facts.Type().Field(i).Name
		if facts.Field(i).IsZero() && name != "ActionID" && name != "Free" { // which no receipt tells
			t.Errorf("%s is zero", name)
		}
	}
}

func mustLine(t testing.TB, b audit.Body) string {
	t.Helper()
	line, err := audit.FirstLine(b)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestFullBodiesSetEveryField(t *testing.T) {
	set := map[string]bool{}
	for _, b := range fullBodies() {
		v := reflect.ValueOf(b)
		for i := range v.NumField() {
			name := fmt.Sprintf("%T.%s", b, v.Type().Field(i).Name)
			set[name] = set[name] || !v.Field(i).IsZero()
		}
	}
	for name, ok := range set {
		if !ok {
			t.Errorf("%s is zero: the round trip below would not see it", name)
		}
	}
}

func TestLineRoundTrip(t *testing.T) {
	replayed := decision(1)
	replayed.Facts.Depth, replayed.Facts.Nonce, replayed.Facts.Attempt, replayed.Facts.Counted = 3, "n:77", audit.MaxCount, true
	bodies := append(fullBodies(), replayed, audit.Decision{Verdict: audit.Deny}, audit.Settlement{Outcome: "settle"}, audit.Event{Name: "grant"},
		audit.Seal{Alg: audit.AlgHMAC}, audit.Start{Alg: audit.AlgHMAC, Reason: audit.ReasonOpened}, audit.Rotate{Alg: audit.AlgHMAC})
	for _, want := range bodies {
		line := mustLine(t, want)
		mustBeCanonical(t, line)
		got, err := audit.ParseLine(line)
		if err != nil {
			t.Fatalf("%T: %v\n%s", want, err, line)
		}
		if !reflect.DeepEqual(got.Body, want) {
			t.Errorf("%T came back as\n%+v, want\n%+v", want, got.Body, want)
		}
	}
}

// mustBeCanonical holds a line against another implementation of RFC 8785.
func mustBeCanonical(t interface{ Fatalf(string, ...any) }, line string) {
	v := jsontext.Value(line).Clone()
	if err := v.Canonicalize(); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, line)
	}
	if string(v) != line {
		t.Fatalf("not canonical:\n%s\nwant\n%s", line, v)
	}
}

func TestLineRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.Rune())
		amount := rapid.Int64Min(0)
		want := audit.Decision{
			At: rapid.Int64Range(0, audit.MaxCount).Draw(t, "at"), Verdict: rapid.SampledFrom([]string{audit.Allow, audit.Deny}).Draw(t, "verdict"), Policy: text.Draw(t, "policy"),
			Facts:   call.Facts{Model: text.Draw(t, "model"), Stream: rapid.Bool().Draw(t, "stream"), Cost: amount.Draw(t, "cost")},
			Event:   rapid.Int64Range(0, audit.MaxCount).Draw(t, "event"),
			Reasons: rapid.SliceOfN(text, 1, 3).Draw(t, "reasons"),
			Claims:  []audit.Claim{{Key: text.Draw(t, "key"), Spent: amount.Draw(t, "spent"), AtEnd: "keep", Window: "idle"}},
		}
		line, err := audit.FirstLine(want)
		if err != nil {
			t.Fatal(err)
		}
		mustBeCanonical(t, line)
		got, err := audit.ParseLine(line)
		if err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if !reflect.DeepEqual(got.Body, want) {
			t.Fatalf("got %+v, want %+v", got.Body, want)
		}
	})
}

func TestTextThatIsNotUTF8(t *testing.T) {
	line := mustLine(t, audit.Decision{Verdict: audit.Deny, Policy: "a\xffb"})
	if !strings.Contains(line, `"policy":"a`+"\uFFFD"+`b"`) {
		t.Errorf("got %s", line)
	}
	mustBeCanonical(t, line)
}

func TestNumbersOutOfRangeAreRefused(t *testing.T) {
	for name, body := range map[string]audit.Body{
		"negative count":  audit.Decision{At: -1},
		"count too large": audit.Decision{At: audit.MaxCount + 1},
		"negative amount": audit.Settlement{Charge: -1},
		"in a limit":      audit.Event{Limits: []audit.Limit{{Limit: -1}}},
		"in a claim":      audit.Event{Claims: []audit.Claim{{Held: -1}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := audit.FirstLine(body); !errors.Is(err, audit.ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
		})
	}
}

// TestParseLineRefuses has one row for every way to spell a line otherwise.
func TestParseLineRefuses(t *testing.T) {
	line := mustLine(t, audit.Decision{At: 5, Verdict: audit.Deny, Policy: "a\tb", Facts: call.Facts{Tenant: "acme", Cost: 12}})
	for _, row := range []struct{ name, old, new, want string }{
		{"space", `"at":5`, `"at": 5`, "not canonical JSON"},
		{"fields out of order", `"at":5,"cost":"12"`, `"cost":"12","at":5`, "not canonical JSON"},
		{"duplicate field", `"at":5`, `"at":5,"at":5`, "not JSON: jsontext: duplicate object member name"},
		{"unknown field", `"at":5`, `"ast":1,"at":5`, `want the field "at"`},
		{"unknown last field", `"verdict":"deny"`, `"verdict":"deny","x":1`, "unknown, misplaced"},
		{"field left out", `"cost":"12",`, ``, `want the field "cost"`},
		{"leading zero", `"at":5`, `"at":05`, "not JSON"},
		{"fraction", `"at":5`, `"at":5.5`, `want the field "cost"`},
		{"fraction that is whole", `"at":5`, `"at":5.0`, "not canonical JSON"},
		{"negative", `"at":5`, `"at":-5`, "want a number"},
		{"number too large", `"at":5`, `"at":9007199254740992`, "a number above"},
		{"amount as number", `"cost":"12"`, `"cost":12`, `want '"'`},
		{"amount with leading zero", `"cost":"12"`, `"cost":"012"`, "leading zero"},
		{"amount beyond int64", `"cost":"12"`, `"cost":"9223372036854775808"`, "a number above"},
		{"amount with sign", `"cost":"12"`, `"cost":"+12"`, "want a number"},
		{"needless escape", `"acme"`, `"\u0061cme"`, "not canonical JSON"},
		{"escape in other case", `a\tb`, `a\u0009b`, "not canonical JSON"},
		{"raw control character", `a\tb`, "a\tb", "not JSON"},
		{"bad UTF-8", `"acme"`, "\"ac\xffme\"", "not JSON"},
		{"optional though empty", `{"tenant":"acme"}`, `{"tenant":""}`, "must be left out"},
		{"optional object though empty", `{"tenant":"acme"}`, `{}`, "must be left out"},
		{"optional flag though false", `{"tenant":"acme"}`, `{"stream":false,"tenant":"acme"}`, "must be left out"},
		{"optional count though zero", `{"tenant":"acme"}`, `{"choices":0,"tenant":"acme"}`, "must be left out"},
		{"unknown kind", `"kind":"decision"`, `"kind":"verdict"`, "unknown kind"},
		{"the version before", `"v":3}`, `"v":2}`, "a line of format version 2, and this release reads version 3"},
		{"no version", `"v":3}`, `"v":"2"}`, "version"},
		{"number zero", `"n":1`, `"n":0`, "n is below 1"},
		{"chain too short", `"chain":"00`, `"chain":"`, "chain is not"},
		{"no chain", `"chain":"00112233445566778899aabbccddeeff"`, `"chain":""`, "chain is not"},
		{"hash in upper case", `"prev":"0`, `"prev":"A`, "prev is not"},
		{"more after the line", `"v":3}`, `"v":3}{}`, "not JSON"},
		{"no body", `{"body":`, `{"baby":`, "not a receipt"},
		{"nothing", line, ``, "not JSON"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if !strings.Contains(line, row.old) {
				t.Fatalf("%s has no %s", line, row.old)
			}
			_, err := audit.ParseLine(strings.Replace(line, row.old, row.new, 1))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

// TestWordsOfNoList: where the format lists the values of a field, another one is
// neither written nor read.
func TestWordsOfNoList(t *testing.T) {
	for _, body := range fullBodies() {
		line := mustLine(t, body)
		for _, field := range []string{"verdict", "input_bound", "at_end", "window", "basis", "outcome", "name", "alg", "reason"} {
			name := `"` + field + `":"`
			for at := strings.Index(line, name); at >= 0; at = -1 {
				value, _, _ := strings.Cut(line[at+len(name):], `"`)
				for _, odd := range []string{"", "odd", strings.ToUpper(value), value + " "} {
					_, err := audit.ParseLine(strings.Replace(line, name+value+`"`, name+odd+`"`, 1))
					if err == nil || !strings.Contains(err.Error(), field+" is ") {
						t.Errorf("%T with %s %q: %v", body, field, odd, err)
					}
				}
			}
		}
	}
	for name, body := range map[string]audit.Body{
		"verdict": audit.Decision{Verdict: "perhaps"}, "outcome": audit.Settlement{Outcome: "charge"}, "name": audit.Event{Name: "grants"},
		"window": audit.Decision{Verdict: audit.Deny, Claims: []audit.Claim{{AtEnd: "keep", Window: "daily"}}}, "alg": audit.Seal{Alg: "none"},
	} {
		if _, err := audit.FirstLine(body); !errors.Is(err, audit.ErrInvalid) || !strings.Contains(err.Error(), name+" is ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseLine: a line that parses has exactly one spelling.
func FuzzParseLine(f *testing.F) {
	for _, b := range fullBodies() {
		f.Add(mustLine(f, b))
	}
	f.Add(mustLine(f, audit.Decision{Verdict: audit.Deny, Policy: "\x00\x1f\"\\\u2028\U0001F600"}))
	f.Fuzz(func(t *testing.T, line string) {
		r, err := audit.ParseLine(line)
		if err != nil {
			return
		}
		mustBeCanonical(t, line)
		body, err := audit.EncodeBody([]byte(`{"body":`), r.Body)
		if err != nil {
			t.Fatalf("cannot encode what was parsed: %v", err)
		}
		if !strings.HasPrefix(line, string(body)+`,"chain":`) {
			t.Errorf("%s\nis encoded as\n%s", line, body)
		}
	})
}

func BenchmarkEncodeDecision(b *testing.B) {
	body, buf := decision(1), make([]byte, 0, 4096)
	for b.Loop() {
		if _, err := audit.EncodeBody(buf, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseDecision(b *testing.B) {
	line := mustLine(b, decision(1))
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := audit.ParseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}
