package gate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// newLibrary is a world whose gate was opened as a Go program does.
func newLibrary(t testing.TB, members string) *world {
	t.Helper()
	w := newWorldAt(t, members, new(clock))
	w.openGate(w.rules.Policy)
	return w
}

func (w *world) openGate(p gate.Policies) {
	w.t.Helper()
	g, err := gate.Open(context.Background(), gate.Config{Policy: p, Ledger: w.ledger, Log: w.log, Outbox: w.outbox})
	if err != nil {
		w.t.Fatal(err)
	}
	w.gate = g
	w.t.Cleanup(func() { w.must(g.Close()) })
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}

// asking is a request whose worst case is 200 nano-USD.
func asking() gate.Request {
	return gate.Request{Tenant: "acme", Facts: call.Facts{Model: "toy", InputTokens: 100, OutputCap: 50}}
}

var errBroke = errors.New("the function broke")

// answer is what a function returns to Call.
type answer struct {
	outcome gate.Outcome
	err     error
}

// callWith runs a function that ends so, and gives the error or the panic back.
func (w *world) callWith(ctx context.Context, r gate.Request, run func() answer) (res gate.Result[string], panicked any, err error) {
	defer func() { panicked = recover() }()
	res, err = gate.Call(ctx, w.gate, r, func(context.Context, *gate.Grant) (string, gate.Outcome, error) {
		a := run()
		return "value", a.outcome, a.err
	})
	return res, nil, err
}

// mustFollow closes the gate and recomputes all that it decided.
func (w *world) mustFollow(t *testing.T) {
	t.Helper()
	w.must(w.gate.Close())
	w.open()
	w.mustReplay(t, w.rules)
}

func (w *world) ends() int { return w.ledger.count("settle") + w.ledger.count("release") }

// TestCallIsChargedOnce is the price of every way in which a function can end,
// for a hold of 200. Its lease ends once.
func TestCallIsChargedOnce(t *testing.T) {
	usage := call.Usage{call.Input: 90, call.Output: 10}
	for _, row := range []struct {
		name   string
		answer answer
		charge int64
		basis  string
	}{
		{"used", answer{outcome: gate.Used(usage)}, 110, audit.BasisReported},
		{"used, and an error", answer{gate.Used(usage), errBroke}, 110, audit.BasisReported},
		{"used more than was held", answer{outcome: gate.Used(call.Usage{call.Input: 100, call.Output: 500})}, 1100, audit.BasisReported},
		{"used nothing at all: unknown", answer{outcome: gate.Used(call.Usage{})}, 200, audit.BasisUnknown},
		{"an error alone", answer{err: errBroke}, 200, audit.BasisUnknown},
		{"no outcome", answer{}, 200, audit.BasisUnknown},
		{"usage in an outcome of one's own, without a basis", answer{outcome: gate.Outcome{Lines: []call.Line{{Usage: usage}}}}, 200, audit.BasisUnknown},
		{"not sent", answer{gate.NotSent(), errBroke}, 0, audit.BasisUnbilled},
		{"not billed", answer{gate.Unbilled(429), errBroke}, 0, audit.BasisUnbilled},
		{"seen, of an upstream that bills on", answer{gate.Seen(usage), errBroke}, 200, audit.BasisUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newLibrary(t, daily(10000))
			res, _, err := w.callWith(t.Context(), asking(), func() answer { return row.answer })
			if !errors.Is(err, row.answer.err) || res.Value != "value" || res.Charge != row.charge || res.Basis != row.basis {
				t.Errorf("got %+v, %v", res, err)
			}
			want := policy.Remaining{Budget: "daily", Limit: 10000, Spent: row.charge, Left: 10000 - row.charge}
			if len(res.Remaining) != 1 || res.Remaining[0] != want {
				t.Errorf("remaining %+v, want %+v", res.Remaining, want)
			}
			w.endedOnce(t, row.charge)
			if s := w.settlement(); s.Decision != res.Receipt || s.Charge != row.charge || s.Basis != row.basis {
				t.Errorf("settlement %+v", s)
			}
			w.mustFollow(t)
		})
	}
}

func (w *world) endedOnce(t *testing.T, charge int64) {
	t.Helper()
	w.mustBalance(charge, 0)
	if w.ends() != 1 {
		t.Errorf("the lease was ended %d times", w.ends())
	}
}

func TestCallThatPanicsIsChargedItsHold(t *testing.T) {
	w := newLibrary(t, daily(1000))
	if _, panicked, _ := w.callWith(t.Context(), asking(), func() answer { panic(errBroke) }); panicked != errBroke {
		t.Errorf("the panic became %v", panicked)
	}
	w.endedOnce(t, 200)
}

func TestGoroutineThatExitsIsChargedItsHold(t *testing.T) {
	w := newLibrary(t, daily(1000))
	var calls sync.WaitGroup
	calls.Go(func() {
		w.callWith(t.Context(), asking(), func() answer { runtime.Goexit(); return answer{} })
	})
	calls.Wait()
	w.endedOnce(t, 200)
}

func TestCallerThatLeavesIsSettled(t *testing.T) {
	w := newLibrary(t, daily(1000))
	ctx, leave := context.WithCancel(t.Context())
	_, err := gate.Call(ctx, w.gate, asking(), func(ctx context.Context, _ *gate.Grant) (int, gate.Outcome, error) {
		leave()
		<-ctx.Done()
		return 0, gate.Used(call.Usage{call.Input: 90, call.Output: 10}), ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.endedOnce(t, 110)
}

func TestSeenIsChargedWhereThePolicySaysSo(t *testing.T) {
	w := newLibrary(t, daily(1000))
	w.rules.Policy.Upstreams["sim"].Speaks[0].CancelStops = true
	res, _, _ := w.callWith(t.Context(), asking(), func() answer {
		return answer{gate.Seen(call.Usage{call.Input: 100, call.Output: 3}), errBroke}
	})
	if res.Charge != 106 || res.Basis != audit.BasisFloor {
		t.Errorf("charged %d on the basis %s", res.Charge, res.Basis)
	}
	w.endedOnce(t, 106)
}

// TestStreamOfTenMinutesIsHeldAllTheTime: its lease is renewed beside the sweeps
// that would end it.
func TestStreamOfTenMinutesIsHeldAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLibrary(t, daily(1000))
		res, _, err := w.callWith(t.Context(), asking(), func() answer {
			for range 10 {
				time.Sleep(time.Minute)
				w.mustBalance(0, 200)
			}
			return answer{outcome: gate.Used(call.Usage{call.Input: 90, call.Output: 10})}
		})
		w.must(err)
		if res.Charge != 110 {
			t.Errorf("charged %d", res.Charge)
		}
		w.endedOnce(t, 110)
		if s := w.settlement(); s.Outcome != string(budget.Settled) {
			t.Errorf("settlement %+v", s)
		}
		w.must(w.gate.Close())
	})
}

func TestDeniedCallDoesNotRun(t *testing.T) {
	w := newLibrary(t, daily(150))
	res, _, err := w.callWith(t.Context(), asking(), func() answer { t.Error("it ran"); return answer{} })
	refusal, ok := errors.AsType[*call.Denial](err)
	if !ok || refusal.Reason != policy.BudgetExhausted || refusal.Budget != "daily" || refusal.LargestCap != 25 {
		t.Fatalf("got %v", err)
	}
	if res.Receipt == "" || res.Receipt != refusal.Receipt || res.Value != "" {
		t.Errorf("result %+v", res)
	}
	w.mustBalance(0, 0)
}

// TestFiftyCallsWithABudgetForTen: exactly ten run, whatever comes first, and
// each of them sees its own share of the budget.
func TestFiftyCallsWithABudgetForTen(t *testing.T) {
	w := newLibrary(t, daily(2000))
	var ran, denied atomic.Int64
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			_, _, err := w.callWith(context.Background(), asking(), func() answer {
				ran.Add(1)
				return answer{outcome: gate.Used(call.Usage{call.Input: 100, call.Output: 50})}
			})
			if _, ok := errors.AsType[*call.Denial](err); ok {
				denied.Add(1)
			}
		})
	}
	calls.Wait()
	if ran.Load() != 10 || denied.Load() != 40 {
		t.Errorf("%d ran, %d were denied", ran.Load(), denied.Load())
	}
	w.mustBalance(2000, 0)
	w.must(w.gate.Close())
	w.receipts()
}

// TestCallKnowsWhatItAsksFor: names are found in the policy in force, and what
// is not said has a default.
func TestCallKnowsWhatItAsksFor(t *testing.T) {
	capped := func(cap int64) func(*gate.Request) { return func(r *gate.Request) { r.Facts.OutputCap = cap } }
	for _, row := range []struct {
		name   string
		change func(*gate.Request)
		want   string // of call.Facts, or the reason of a denial
	}{
		{"as it is", capped(50), "|chat/completions|sim|[chat]|50|1|caller"},
		{"a key", func(r *gate.Request) { r.Key = "acme-1" }, "acme-1|chat/completions|sim|[chat]|50|1|caller"},
		{"streamed, with tools", func(r *gate.Request) { r.Facts.Stream, r.Facts.Tools = true, []string{"search"} }, "|chat/completions|sim|[chat stream tools]|50|1|caller"},
		{"choices, images", func(r *gate.Request) { r.Facts.Choices, r.Facts.Needs = 2, []string{call.NeedImages} }, "|chat/completions|sim|[chat multiple_choices images]|50|2|caller"},
		{"an endpoint of another API", func(r *gate.Request) { r.Facts.Endpoint = "messages" }, "|messages|sim|[chat]|50|1|caller"},
		{"embeddings write nothing", func(r *gate.Request) { r.Facts.Endpoint, r.Facts.OutputCap = call.Embeddings, 0 }, "|embeddings|sim|[embeddings]|0|1|caller"},
		{"the upstream by name", func(r *gate.Request) { r.Facts.Upstream = "sim" }, "|chat/completions|sim|[chat]|50|1|caller"},
		{"counted tokens", func(r *gate.Request) { r.Facts.InputBound = "exact" }, "|chat/completions|sim|[chat]|50|1|exact"},
		{"no cap", capped(0), "no_bound"},
		{"no such upstream", func(r *gate.Request) { r.Facts.Upstream = "elsewhere" }, "no_upstream"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newLibrary(t, daily(900_000_000))
			r := asking()
			row.change(&r)
			_, _, err := w.callWith(t.Context(), r, func() answer { return answer{outcome: gate.NotSent()} })
			d := bodies[audit.Decision](w.receipts())[0]
			if refusal, ok := errors.AsType[*call.Denial](err); ok {
				if string(refusal.Reason) != row.want || d.Reasons[0] != row.want {
					t.Errorf("denied for %s, want %s", refusal.Reason, row.want)
				}
				return
			}
			if got := factsLine(d.Facts); err != nil || got != row.want {
				t.Errorf("got %s, %v\nwant %s", got, err, row.want)
			}
			w.mustFollow(t)
		})
	}
}

func TestCallOfNobody(t *testing.T) {
	w := newLibrary(t, daily(1000))
	for name, row := range map[string]struct {
		change func(*gate.Request)
		want   error
	}{
		"tenant": {func(r *gate.Request) { r.Tenant = "nobody" }, gate.ErrUnknownTenant},
		"key":    {func(r *gate.Request) { r.Key = "acme-9" }, gate.ErrUnknownKey},
	} {
		r := asking()
		row.change(&r)
		if _, _, err := w.callWith(t.Context(), r, func() answer { t.Error("it ran"); return answer{} }); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	r := asking()
	r.Facts.Endpoint = "actions/payment"
	if _, _, err := w.callWith(t.Context(), r, func() answer { t.Error("it ran"); return answer{} }); err == nil {
		t.Error("a call passed for an action")
	}
}

// TestClampedCallSendsTheGrantsCap: the function is told the cap that its hold
// covers.
func TestClampedCallSendsTheGrantsCap(t *testing.T) {
	w := newLibrary(t, daily(150)+"\nwhen_exhausted: clamp")
	_, err := gate.Call(t.Context(), w.gate, asking(), func(_ context.Context, g *gate.Grant) (int, gate.Outcome, error) {
		if g.OutputCap != 25 || g.Hold() != 150 || g.Upstream().Name != "sim" || g.Remaining()[0].Held != 150 {
			t.Errorf("cap %d, hold %d, upstream %s, remaining %+v", g.OutputCap, g.Hold(), g.Upstream(), g.Remaining())
		}
		return 0, gate.Used(call.Usage{call.Input: 100, call.Output: 25}), nil
	})
	w.must(err)
	w.mustBalance(150, 0)
}

// TestKillSwitchCutsACall: its context ends and says why, where the policy cuts
// calls in flight.
func TestKillSwitchCutsACall(t *testing.T) {
	w := newLibrary(t, daily(1000)+"\non_kill: cut")
	_, err := gate.Call(t.Context(), w.gate, asking(), func(ctx context.Context, _ *gate.Grant) (int, gate.Outcome, error) {
		w.throw("acme", policy.TenantSwitch)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Second):
			t.Error("not cut")
		}
		return 0, gate.Outcome{}, context.Cause(ctx)
	})
	denial, ok := errors.AsType[*call.Denial](err)
	if !ok || denial.Reason != policy.Killed {
		t.Errorf("cut because of %v", err)
	}
	w.endedOnce(t, 200)
}

// TestCloseWaitsForCalls: those that run are settled and receipted, and no more
// begin.
func TestCloseWaitsForCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLibrary(t, daily(1000))
		closed := make(chan error, 1)
		w.callWith(t.Context(), asking(), func() answer {
			go func() { closed <- w.gate.Close() }()
			synctest.Wait()
			select {
			case <-closed:
				t.Error("closed while a call ran")
			default:
			}
			_, _, err := w.callWith(t.Context(), asking(), func() answer { t.Error("it ran"); return answer{} })
			if !errors.Is(err, gate.ErrClosed) {
				t.Errorf("one more came to %v", err)
			}
			return answer{outcome: gate.Used(call.Usage{call.Input: 90, call.Output: 10})}
		})
		w.must(<-closed)
		if s := w.settlement(); s.Charge != 110 {
			t.Errorf("settlement %+v", s)
		}
	})
}

func factsLine(f call.Facts) string {
	return fmt.Sprintf("%s|%s|%s|%v|%d|%d|%s", f.Key, f.Endpoint, f.Upstream, f.Needs, f.OutputCap, f.Choices, f.InputBound)
}

// TestCallOfTheImpossible: what no receipt could tell is nothing to decide about.
func TestCallOfTheImpossible(t *testing.T) {
	long := strings.Repeat("x", 257)
	w := newLibrary(t, daily(900_000_000)+"\nreplay: {}")
	for name, change := range map[string]func(*gate.Request){
		"a negative depth":                func(r *gate.Request) { r.Facts.Depth = -1 },
		"too deep":                        func(r *gate.Request) { r.Facts.Depth = policy.MaxDepthFact + 1 },
		"a negative attempt":              func(r *gate.Request) { r.Nonce, r.Facts.Attempt = "n", -1 },
		"negative input":                  func(r *gate.Request) { r.Facts.InputTokens = -1 },
		"too much input":                  func(r *gate.Request) { r.Facts.InputTokens = pricing.MaxTokens + 1 },
		"a negative cap":                  func(r *gate.Request) { r.Facts.OutputCap = -1 },
		"negative choices":                func(r *gate.Request) { r.Facts.Choices = -1 },
		"output beyond all counts":        func(r *gate.Request) { r.Facts.ExtraOutput = math.MaxInt64 },
		"a model too long":                func(r *gate.Request) { r.Facts.Model = "toy" + long },
		"a model that is no text":         func(r *gate.Request) { r.Facts.Model = "toy\xff" },
		"an endpoint too long":            func(r *gate.Request) { r.Facts.Endpoint = long },
		"a capability too long":           func(r *gate.Request) { r.Facts.Needs = []string{long} },
		"a tool's result by its plain id": func(r *gate.Request) { r.Facts.ToolResults = []call.ToolResult{{ID: "call-1"}} },
		"a chat for nothing":              func(r *gate.Request) { r.Facts.Free = true },
		"negative least cap":              func(r *gate.Request) { r.Facts.LeastCap = -1 },
		"negative rereads":                func(r *gate.Request) { r.Facts.InputRereads = -1 },
		"rereads beyond all counts":       func(r *gate.Request) { r.Facts.OutputRereads = call.MaxRereads + 1 },
		"a negative fee":                  func(r *gate.Request) { r.Facts.Beside = []call.Line{{Usage: call.Usage{call.Searches: -1}}} },
		"fees beyond all counts":          func(r *gate.Request) { r.Facts.Beside = []call.Line{{Usage: call.Usage{call.Searches: math.MaxInt64}}} },
		"a model beside too long":         func(r *gate.Request) { r.Facts.Beside = []call.Line{{Key: call.Key{Model: long}}} },
		"more models beside than fit":     func(r *gate.Request) { r.Facts.Beside = make([]call.Line, 65) },
		"too many capabilities":           func(r *gate.Request) { r.Facts.Needs = make([]string, 65) },
	} {
		r := asking()
		change(&r)
		_, _, err := w.callWith(t.Context(), r, func() answer { t.Errorf("%s: it ran", name); return answer{} })
		if !errors.Is(err, gate.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := w.ledger.count("reserve"); n != 0 {
		t.Errorf("the ledger was asked %d times", n)
	}
}

// TestRefusedUpstreamFollows: the receipt tells which one the policy does not have.
func TestRefusedUpstreamFollows(t *testing.T) {
	w := newLibrary(t, daily(1000))
	r := asking()
	r.Facts.Upstream = "elsewhere"
	_, _, err := w.callWith(t.Context(), r, func() answer { t.Error("it ran"); return answer{} })
	if refusal, ok := errors.AsType[*call.Denial](err); !ok || refusal.Reason != policy.NoRoute {
		t.Fatalf("got %v", err)
	}
	w.mustFollow(t)
}

// TestOutcomeThatNoReceiptCanTell is charged and receipted all the same.
func TestOutcomeThatNoReceiptCanTell(t *testing.T) {
	usage := call.Usage{call.Input: 90, call.Output: 10}
	for _, row := range []struct {
		name    string
		outcome gate.Outcome
		charge  int64
	}{
		{"a status that is none", gate.Outcome{Basis: audit.BasisReported, Status: -1, Lines: []call.Line{{Usage: usage}}}, 110},
		{"a model too long", gate.Outcome{Basis: audit.BasisReported, Lines: []call.Line{{Key: call.Key{Model: strings.Repeat("x", 100_000)}, Usage: usage}}}, 110},
		{"negative usage", gate.Used(call.Usage{call.Input: -1}), 200},
		{"negative usage, unbilled", gate.Outcome{Sent: true, Basis: audit.BasisUnbilled, Status: 429, Lines: []call.Line{{Usage: call.Usage{call.Input: -1}}}}, 0},
		{"negative usage, not sent", gate.Outcome{Basis: audit.BasisUnbilled, Lines: []call.Line{{Usage: call.Usage{call.Input: -1}}}}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newLibrary(t, daily(1000))
			res, _, err := w.callWith(t.Context(), asking(), func() answer { return answer{outcome: row.outcome} })
			if err != nil || res.Charge != row.charge {
				t.Errorf("charged %d: %v", res.Charge, err)
			}
			if n := w.outbox.Len(); n != 0 {
				t.Errorf("%d endings wait for their receipts", n)
			}
			w.mustFollow(t)
		})
	}
}

// TestCallerWhoHasLeftAsksForNothing: a context that has ended before the call
// is no outage of the ledger.
func TestCallerWhoHasLeftAsksForNothing(t *testing.T) {
	w := newLibrary(t, "")
	left := errors.New("the caller has left")
	ctx, leave := context.WithCancelCause(t.Context())
	leave(left)
	_, _, err := w.callWith(ctx, asking(), func() answer {
		t.Error("it ran")
		return answer{}
	})
	if !errors.Is(err, left) {
		t.Errorf("%v, want that %v", err, left)
	}
}
