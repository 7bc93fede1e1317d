package gate_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

const hostedRules = `hosted_tools: [{kind: web_search, when_offered: price, calls: 3, tokens: 50}]
when_exhausted: clamp
min_output_tokens: 1
`

func hostedWorld(t testing.TB, nano int64) *world { return newWorld(t, hostedRules+daily(nano)) }

// hosted is a call of 100 tokens of input and 40 of output, in 4 rounds, with 3 searches
// that bring 50 tokens each, and a helper beside.
func hosted(rules *gate.Rules) gate.Bid {
	bid := callOf(rules, 100, 40)
	bid.Facts.Endpoint, bid.Facts.Upstream = call.ChatCompletions, bid.Upstream.Name
	bid.InputRereads, bid.OutputRereads = 3, 3
	bid.Beside = []call.Line{
		{Usage: call.Usage{call.Searches: 3, call.Input: 300}},
		{Key: call.Key{Model: "helper"}, Usage: call.Usage{call.Input: 10, call.Output: 5}},
	}
	return bid
}

// hostedHold is 4 x 100 + 300 + 3 x 40 of input, 40 of output, 3 searches, and the helper.
const hostedHold = 820 + 2*40 + 3*1000 + 10*10 + 5*20

// searched is an answer: its own run, and one of the helper that searched once.
func searched() gate.Outcome {
	o := used(500, 30)
	o.Lines[0].Usage[call.Searches] = 2
	o.Lines = append(o.Lines, call.Line{Key: call.Key{Model: "helper"}, Usage: call.Usage{call.Input: 4, call.Output: 3, call.Searches: 1}})
	return o
}

const searchedCharge = 500 + 2*30 + 2*1000 + 4*10 + 3*20 + 5000

// TestHostedTools: fees, rounds and a second model are held, charged by what was told, and
// made again from the receipts.
func TestHostedTools(t *testing.T) {
	w := hostedWorld(t, 20_000)
	grant := w.begin(hosted(w.rules))
	if grant.Hold() != hostedHold {
		t.Errorf("hold %d, want %d", grant.Hold(), hostedHold)
	}
	grant.End(searched())
	w.begin(hosted(w.rules)).End(gate.Outcome{Sent: true})
	cut := used(1, 1)
	cut.Basis = audit.BasisFloor // what was seen is not all that ran
	w.begin(hosted(w.rules)).End(cut)
	w.mustBalance(searchedCharge+2*hostedHold, 0)
	w.settleAll(nil)
	w.mustReplay(t, w.rules)
}

func TestHostedToolsThatAreDenied(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*gate.Bid)
		want   call.Reason
	}{
		{"more searches than are priced", func(b *gate.Bid) { b.Beside[0].Usage[call.Searches] = 4 }, policy.ToolNotAllowed},
		{"searches without a price", func(b *gate.Bid) { b.Facts.Model = "bare" }, policy.NoPrice},
		{"another model without a price", func(b *gate.Bid) { b.Beside[1].Model = "unheard-of" }, policy.NoPrice},
		{"another model's searches without a price", func(b *gate.Bid) {
			b.Beside[1].Model, b.Beside[1].Usage[call.Searches] = "bare", 1
			b.Beside[0].Usage[call.Searches] = 1
		}, policy.NoBound},
		{"too many rounds", func(b *gate.Bid) { b.InputRereads = call.MaxRereads + 1 }, policy.NoBound},
		{"more than any model reads", func(b *gate.Bid) { b.Beside[0].Usage[call.Input] = pricing.MaxTokens + 1 }, policy.NoBound},
		{"more money than there is", func(b *gate.Bid) { b.Beside[1].Usage[call.Input] = 10_000 }, policy.BudgetExhausted},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := hostedWorld(t, 20_000)
			bid := hosted(w.rules)
			row.change(&bid)
			w.refused(bid, row.want)
			w.sweepOnce()
			w.mustReplay(t, w.rules)
		})
	}
}

// TestHostedToolsOnRedis: the shared ledger holds and charges the same.
func TestHostedToolsOnRedis(t *testing.T) {
	r, rules := newReplica(t, redistest.Start(t).URL()), rulesOf(t, hostedRules+daily(20_000))
	if err := r.ledger.Provision(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	grant, err := r.gate.Begin(context.Background(), hosted(rules))
	if err != nil || grant.Hold() != hostedHold {
		t.Fatalf("hold %d, want %d (%v)", grant.Hold(), hostedHold, err)
	}
	grant.End(searched())
	r.sweep(t)
	r.close(t)
	defer r.ledger.Close()
	report := replayDirs(t, []*gate.Rules{rules}, r.dir)
	if !report.OK() || report.Tenants[0].Spent != searchedCharge {
		t.Errorf("findings %v, unchecked %v, spent %d", report.Findings, report.Unchecked, report.Tenants[0].Spent)
	}
}

// TestReplayOfHostedTools finds whatever is altered of fees, rounds and other models.
func TestReplayOfHostedTools(t *testing.T) {
	w := hostedWorld(t, 20_000)
	w.begin(hosted(w.rules)).End(searched())
	w.settleAll(nil)
	honest := spoken(w.receipts())
	decision := func(change func(*audit.Decision)) func(audit.Body) audit.Body {
		return func(b audit.Body) audit.Body {
			d, ok := b.(audit.Decision)
			if !ok {
				return b
			}
			d.Facts.Beside = slices.Clone(d.Facts.Beside)
			change(&d)
			return d
		}
	}
	settlement := func(change func([]call.Line)) func(audit.Body) audit.Body {
		return func(b audit.Body) audit.Body {
			s, ok := b.(audit.Settlement)
			if !ok {
				return b
			}
			s.Lines = slices.Clone(s.Lines)
			change(s.Lines)
			return s
		}
	}
	for name, alter := range map[string]func(audit.Body) audit.Body{
		"fewer searches":            decision(func(d *audit.Decision) { d.Facts.Beside[0].Usage[call.Searches]-- }),
		"more than the policy says": decision(func(d *audit.Decision) { d.Facts.Beside[0].Usage[call.Searches] = 4 }),
		"smaller results":           decision(func(d *audit.Decision) { d.Facts.Beside[0].Usage[call.Input]-- }),
		"no other model":            decision(func(d *audit.Decision) { d.Facts.Beside = d.Facts.Beside[:1] }),
		"a cheaper model":           decision(func(d *audit.Decision) { d.Facts.Beside[1].Model = "cheap" }),
		"fewer rounds":              decision(func(d *audit.Decision) { d.Facts.InputRereads-- }),
		"output that is read less":  decision(func(d *audit.Decision) { d.Facts.OutputRereads-- }),
		"a search less":             settlement(func(l []call.Line) { l[0].Usage[call.Searches]-- }),
		"another model's tokens":    settlement(func(l []call.Line) { l[1].Usage[call.Output]-- }),
		"another model's name":      settlement(func(l []call.Line) { l[1].Model = "toy" }),
	} {
		report, err := replayed(func(yield func(audit.Receipt, error) bool) {
			for _, r := range honest {
				r.Body = alter(r.Body)
				if !yield(r, nil) {
					return
				}
			}
		}, w.rules)
		if err != nil || len(report.Findings) == 0 {
			t.Errorf("%s: nothing is found (%v)", name, err)
		}
	}
}

// TestFeeOfThePolicy holds where a model's price has none, also of another model.
func TestFeeOfThePolicy(t *testing.T) {
	w := newWorld(t, strings.Replace(hostedRules, "tokens: 50", `tokens: 50, fee: "0.002"`, 1)+daily(20_000))
	bid := hosted(w.rules)
	bid.Beside[0].Usage[call.Searches], bid.Beside[1].Usage[call.Searches] = 1, 1
	bid.Facts.Model, bid.Beside[1].Model = "toy", "cheap"
	grant := w.begin(bid)
	if want := int64(820 + 2*40 + 1000 + 10 + 5 + 2000); grant.Hold() != want {
		t.Errorf("hold %d, want %d", grant.Hold(), want)
	}
	o := used(10, 5)
	o.Lines = append(o.Lines, call.Line{Key: call.Key{Model: "cheap"}, Usage: call.Usage{call.Searches: 1}})
	grant.End(o)
	w.mustBalance(10+2*5+2000, 0)
	w.settleAll(nil)
	w.mustReplay(t, w.rules)
}

// TestRoundsUnderAnotherName: lines that have the first one's name are of the model that
// was asked for, by whatever name the answer calls it. Any other has its own price or none.
func TestRoundsUnderAnotherName(t *testing.T) {
	for second, want := range map[string]int64{"toy-2026-09-01": 2 * (10 + 2*5), "toy": 2 * (10 + 2*5), "": 2 * (10 + 2*5), "helper": 11 * (10 + 2*5), "unheard-of": hostedHold} {
		w := hostedWorld(t, 20_000)
		o := used(10, 5)
		o.Lines[0].Model = "toy-2026-09-01"
		o.Lines = append(o.Lines, call.Line{Key: call.Key{Model: second}, Usage: o.Lines[0].Usage})
		w.begin(hosted(w.rules)).End(o)
		w.mustBalance(want, 0)
	}
}

// TestContextTierOfRounds: a sum of rounds is held and charged at the tier that the longest
// can reach. What is more than was bounded has no rounds that anybody knows.
func TestContextTierOfRounds(t *testing.T) {
	for _, row := range []struct {
		name          string
		results, used int64
		hold, charge  int64
	}{
		{"each round is below", 300, 700, 820 + 2*40 + 3000, 700 + 2*30 + 2000},
		{"one round can be above, and the sum is not", 500, 500, 2*(1020+2*40) + 3000, 500 + 2*30 + 2000},
		{"one round can be above, and the sum is", 500, 700, 2*(1020+2*40) + 3000, 2*(700+2*30) + 2000},
		{"more than was bounded", 300, 821, 820 + 2*40 + 3000, 2*(821+2*30) + 2000},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := hostedWorld(t, 20_000)
			bid := hosted(w.rules)
			bid.Facts.Model, bid.Beside = "tiered", []call.Line{{Usage: call.Usage{call.Searches: 3, call.Input: row.results}}}
			grant := w.begin(bid)
			if grant.Hold() != row.hold {
				t.Errorf("hold %d, want %d", grant.Hold(), row.hold)
			}
			o := used(row.used, 30)
			o.Lines[0].Usage[call.Searches] = 2
			grant.End(o)
			w.mustBalance(row.charge, 0)
			w.settleAll(nil)
			w.mustReplay(t, w.rules)
		})
	}
}

// TestClampWithHostedTools: the cap that fits is found beside all that does not depend on it.
func TestClampWithHostedTools(t *testing.T) {
	const each = 2 + 3 // of output, and read again in three rounds
	w := hostedWorld(t, hostedHold-20*each)
	grant := w.begin(hosted(w.rules))
	if grant.OutputCap != 20 || grant.Hold() != hostedHold-20*each {
		t.Errorf("cap %d, hold %d", grant.OutputCap, grant.Hold())
	}
	grant.End(searched())
	w.settleAll(nil)
	w.mustReplay(t, w.rules)
}

// TestChargeWithinHold: what stays within the bounds costs no more than was held.
func TestChargeWithinHold(t *testing.T) {
	w := hostedWorld(t, 900_000_000)
	rapid.Check(t, func(t *rapid.T) {
		bid := callOf(w.rules, rapid.Int64Range(0, 5000).Draw(t, "input"), rapid.Int64Range(0, 5000).Draw(t, "cap"))
		bid.Facts.Endpoint, bid.Facts.Upstream = call.ChatCompletions, bid.Upstream.Name
		bid.Choices = rapid.Int64Range(1, 4).Draw(t, "choices")
		bid.InputRereads, bid.OutputRereads = rapid.Int64Range(0, 12).Draw(t, "rounds"), rapid.Int64Range(0, 40).Draw(t, "rereads")
		bid.Kinds = call.Writes
		own := call.Line{Usage: call.Usage{call.Searches: rapid.Int64Range(0, 2).Draw(t, "searches"), call.Input: rapid.Int64Range(0, 5000).Draw(t, "results")}}
		other := call.Line{Key: call.Key{Model: "helper"}, Usage: call.Usage{
			call.Input: rapid.Int64Range(0, 5000).Draw(t, "other input"), call.Output: rapid.Int64Range(0, 5000).Draw(t, "other output"), call.Searches: rapid.Int64Range(0, 1).Draw(t, "other searches"),
		}}
		bid.Beside = []call.Line{own, other}
		grant, err := w.gate.Begin(context.Background(), bid)
		if err != nil {
			t.Fatal(err)
		}
		before, _ := w.balance()
		input, _ := bid.MostInput()
		grant.End(gate.Outcome{Status: 200, Sent: true, Basis: audit.BasisReported, Lines: []call.Line{
			{Usage: within(t, call.Usage{call.Input: input, call.Output: bid.MostOutput(), call.Searches: own.Usage[call.Searches]})},
			{Key: other.Key, Usage: within(t, other.Usage)},
		}})
		if spent, _ := w.balance(); spent-before > grant.Hold() {
			t.Fatalf("charged %d, held %d", spent-before, grant.Hold())
		}
	})
}

// within draws what is at most so much, of input of any kind.
func within(t *rapid.T, most call.Usage) (u call.Usage) {
	for unit, n := range most {
		u[unit] = rapid.Int64Range(0, n).Draw(t, "used")
	}
	moved := rapid.Int64Range(0, u[call.Input]).Draw(t, "written")
	u[call.Input] -= moved
	u[call.CacheWrite] += moved
	return u
}
