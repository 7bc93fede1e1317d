package gate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// parts are what a gate is opened from, in a directory.
type parts struct {
	t      *testing.T
	dir    string
	config gate.Config
	source func() audit.Source // of the receipts, once the gate is closed
	check  audit.Keys
}

func newParts(t *testing.T) *parts {
	p := &parts{t: t, dir: t.TempDir()}
	p.config.Policy = rulesOf(t, daily(1000)).Policy
	p.config.Ledger = p.embedded()
	p.directory(audit.NewHMACSigner(make([]byte, 32)))
	return p
}

func (p *parts) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *parts) embedded() *embedded.Ledger {
	l, err := embedded.Open(embedded.Config{Dir: filepath.Join(p.dir, "ledger")})
	p.must(err)
	return l
}

// directory keeps receipts in files.
func (p *parts) directory(s audit.Signer) {
	log, err := audit.Open(audit.Config{Dir: filepath.Join(p.dir, "receipts"), Signer: s, Sync: audit.SyncNever})
	p.must(err)
	p.config.Log, p.check = log, audit.NewKeys(s.Key())
	p.source = func() audit.Source {
		sources, err := audit.Files(filepath.Join(p.dir, "receipts"))
		p.must(err)
		return sources[0]
	}
}

// written writes receipts to memory.
func (p *parts) written(s audit.Signer) {
	p.must(p.config.Log.Close())
	var lines bytes.Buffer
	log, err := audit.Open(audit.Config{Writer: &lines, Signer: s})
	p.must(err)
	p.config.Log, p.check = log, audit.NewKeys(s.Key())
	p.source = func() audit.Source { return audit.Stream("lines", &lines) }
}

// policyFile watches a file with the policy of newParts.
func (p *parts) policyFile() *policy.Source {
	path := filepath.Join(p.dir, "policy.yaml")
	text := fmt.Sprintf(policyText, 1, strings.Repeat("ab", 32), "    "+daily(1000))
	p.must(os.WriteFile(path, []byte(text), 0o600))
	source, err := policy.Watch(p.t.Context(), path, nil, func(err error) { p.t.Error(err) })
	p.must(err)
	p.t.Cleanup(source.Close)
	return source
}

// TestEveryPartWillDo opens a gate from each implementation of each of its
// parts in turn. The same calls come to the same end, and their receipts verify.
func TestEveryPartWillDo(t *testing.T) {
	server := redistest.Start(t, redistest.Setting("appendfsync", "everysec"))
	for _, row := range []struct {
		name   string
		change func(*parts)
	}{
		{"policy: a value", func(*parts) {}},
		{"policy: a file", func(p *parts) { p.config.Policy = p.policyFile() }},
		{"policy: one's own", func(p *parts) { p.config.Policy = newShelf(p.config.Policy.Current()) }},
		{"ledger: embedded, ahead of the log", func(p *parts) {
			p.config.Ledger = embedded.Leading{Ledger: p.config.Ledger.(*embedded.Ledger)}
		}},
		{"ledger: in memory", func(p *parts) {
			p.must(p.config.Ledger.Close())
			p.config.Ledger = embedded.InMemory(nil)
		}},
		{"ledger: Redis", func(p *parts) {
			p.must(p.config.Ledger.Close())
			l, err := redis.Open(p.t.Context(), redis.Config{URL: server.URL()})
			p.must(err)
			p.must(l.Provision(p.t.Context(), "acme"))
			p.config.Ledger = l
		}},
		{"signer: Ed25519", func(p *parts) {
			s, err := audit.NewSigner(audit.AlgEd25519)
			p.must(err)
			p.written(s)
		}},
		{"sink: a writer", func(p *parts) { p.written(audit.NewHMACSigner([]byte("any"))) }},
		{"outbox: a directory", func(p *parts) {
			outbox, err := gate.OpenOutbox(filepath.Join(p.dir, "outbox"), slog.New(slog.DiscardHandler))
			p.must(err)
			p.config.Outbox = outbox
		}},
		{"prices: a table of one's own", func(p *parts) { p.config.Prices = pricing.Builtin() }},
		{"telemetry: slog", func(p *parts) { p.config.Telemetry = gate.SlogTelemetry(slog.New(slog.DiscardHandler)) }},
		{"telemetry: Prometheus", func(p *parts) { p.config.Telemetry = admin.NewMetrics() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newParts(t)
			row.change(p)
			g, err := gate.Open(t.Context(), p.config)
			p.must(err)
			first := p.call(g)
			if first.Charge != 110 || first.Remaining[0].Left != 890 {
				t.Errorf("came to %+v", first)
			}
			if second := p.call(g); second.Remaining[0].Left != 780 {
				t.Errorf("then to %+v", second)
			}
			if _, err := askFor(g, 1000); !isDenied(err, policy.BudgetExhausted) {
				t.Errorf("too much: %v", err)
			}
			p.must(g.Close())
			p.verify(first.Receipt)
		})
	}
}

// call makes one call that costs 110 of the 200 that are held for it.
func (p *parts) call(g *gate.Gate) gate.Result[string] {
	p.t.Helper()
	res, err := askFor(g, 100)
	p.must(err)
	return res
}

func askFor(g *gate.Gate, input int64) (gate.Result[string], error) {
	r := asking()
	r.Facts.InputTokens = input
	return gate.Call(context.Background(), g, r, func(context.Context, *gate.Grant) (string, gate.Outcome, error) {
		return "value", gate.Used(call.Usage{call.Input: 90, call.Output: 10}), nil
	})
}

func isDenied(err error, reason call.Reason) bool {
	refusal, ok := errors.AsType[*call.Denial](err)
	return ok && refusal.Reason == reason
}

// verify checks the receipts of a closed gate, among them the one named: all of
// the ledger's events are there.
func (p *parts) verify(receipt string) {
	p.t.Helper()
	var lines bytes.Buffer
	f, err := p.source().Open()
	p.must(err)
	defer f.Close()
	_, err = lines.ReadFrom(f)
	p.must(err)
	source := func() audit.Source { return audit.Stream("lines", bytes.NewReader(lines.Bytes())) }
	report, err := audit.Verify(context.Background(), []audit.Source{source()}, audit.VerifyOptions{Keys: p.check})
	p.must(err)
	if !report.OK() || report.GapCount != 0 {
		p.t.Errorf("findings %v, gaps %v", report.Findings, report.Gaps)
	}
	for r, err := range audit.Read(source()) {
		p.must(err)
		if r.Ref().ID == receipt {
			return
		}
	}
	p.t.Errorf("receipt %s is not there", receipt)
}

// shelf is a policy provider of one's own.
type shelf struct {
	atomic.Pointer[policy.Policy]
}

func newShelf(p *policy.Policy) *shelf {
	s := new(shelf)
	s.Store(p)
	return s
}

func (s *shelf) Current() *policy.Policy { return s.Load() }

// TestNewerPolicyBindsAtTheNextCall: with its tenants. One that cannot be taken
// in leaves the old one in force.
func TestNewerPolicyBindsAtTheNextCall(t *testing.T) {
	p := newParts(t)
	shelf := newShelf(p.config.Policy.Current())
	p.config.Policy = shelf
	g, err := gate.Open(t.Context(), p.config)
	p.must(err)
	defer g.Close()
	if _, err := askFor(g, 1000); !isDenied(err, policy.BudgetExhausted) {
		t.Errorf("under the first: %v", err)
	}
	text := fmt.Sprintf(policyText, 2, strings.Repeat("ab", 32), "    "+daily(5000)) + "  - name: newcomer\n"
	second, err := policy.Parse("policy.yaml", []byte(text))
	p.must(err)
	shelf.Store(second)
	if _, err := askFor(g, 1000); err != nil {
		t.Errorf("under the second: %v", err)
	}
	r := asking()
	r.Tenant = "newcomer"
	if _, err := gate.Call(t.Context(), g, r, func(context.Context, *gate.Grant) (int, gate.Outcome, error) {
		return 0, gate.NotSent(), nil
	}); err != nil {
		t.Errorf("of a tenant that came with it: %v", err)
	}
	unsigned := rulesAt(t, 3, daily(1)).Policy
	unsigned.Upstreams["sim"].Authorized = true
	shelf.Store(unsigned)
	if _, err := askFor(g, 1000); err != nil || g.Rules().Policy.Version.Generation != 2 {
		t.Errorf("generation %d: %v", g.Rules().Policy.Version.Generation, err)
	}
}

// priceShelf gives the table that was put on it last.
type priceShelf struct{ atomic.Pointer[pricing.Table] }

func (s *priceShelf) Current() *pricing.Table { return s.Load() }

// TestNewerPricesBindAtTheNextCall: the receipts of a call name the table that it was priced by, whole.
func TestNewerPricesBindAtTheNextCall(t *testing.T) {
	w := newWorldAt(t, daily(100_000_000), new(clock))
	shelf := new(priceShelf)
	shelf.Store(pricing.Builtin())
	g, err := gate.Open(t.Context(), gate.Config{Policy: w.rules.Policy, Prices: shelf, Ledger: w.ledger, Log: w.log, Outbox: w.outbox})
	w.must(err)
	defer g.Close()
	first := g.Rules()
	newer, err := pricing.Builtin().Update(pricing.Builtin(), time.Unix(0, 0))
	w.must(err)
	shelf.Store(newer)
	second := g.Rules()
	if second == first || second.Policy != first.Policy || second.Prices.Version() == first.Prices.Version() {
		t.Errorf("the newer table is not in force: %s", second.Prices.Version())
	}
	if _, err := gate.Call(t.Context(), g, asking(), func(context.Context, *gate.Grant) (int, gate.Outcome, error) {
		return 0, gate.Used(call.Usage{call.Input: 90, call.Output: 10}), nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := w.settlement(); d.Prices != second.Prices.Version() {
		t.Errorf("the settlement names %s", d.Prices)
	}
}

// TestPolicyThatDoesNotFollow: the one in force stays there, which the ledger has
// seen. No call is denied for it.
func TestPolicyThatDoesNotFollow(t *testing.T) {
	p := newParts(t)
	shelf := newShelf(rulesAt(t, 2, daily(5000)).Policy)
	p.config.Policy = shelf
	g, err := gate.Open(t.Context(), p.config)
	p.must(err)
	defer g.Close()
	p.call(g)
	for name, next := range map[string]*policy.Policy{
		"older":                   rulesAt(t, 1, daily(9000)).Policy,
		"another of its own age":  rulesAt(t, 2, daily(9000)).Policy,
		"none":                    nil,
		"the same, parsed anew":   rulesAt(t, 2, daily(5000)).Policy,
		"none, after one that is": nil,
	} {
		shelf.Store(next)
		if res, err := askFor(g, 100); err != nil || res.Remaining[0].Limit != 5000 {
			t.Errorf("%s: %+v, %v", name, res.Remaining, err)
		}
	}
	shelf.Store(rulesAt(t, 3, daily(9000)).Policy)
	if res := p.call(g); res.Remaining[0].Limit != 9000 {
		t.Errorf("then %+v", res.Remaining)
	}
}

// fullLedger has no room for new tenants while it is full.
type fullLedger struct {
	*embedded.Ledger
	full atomic.Bool
}

func (l *fullLedger) Provision(ctx context.Context, tenants ...string) error {
	if l.full.Load() {
		return budget.ErrUnavailable
	}
	return l.Ledger.Provision(ctx, tenants...)
}

// TestPolicyWithoutRoomIsTriedAgain: the old one stays in force until the ledger
// has the new one's tenants.
func TestPolicyWithoutRoomIsTriedAgain(t *testing.T) {
	p := newParts(t)
	shelf := newShelf(p.config.Policy.Current())
	full := &fullLedger{Ledger: p.config.Ledger.(*embedded.Ledger)}
	p.config.Policy, p.config.Ledger = shelf, full
	g, err := gate.Open(t.Context(), p.config)
	p.must(err)
	defer g.Close()
	full.full.Store(true)
	shelf.Store(rulesAt(t, 2, daily(5000)).Policy)
	if _, err := askFor(g, 1000); !isDenied(err, policy.BudgetExhausted) {
		t.Errorf("while it is full: %v", err)
	}
	full.full.Store(false)
	if _, err := askFor(g, 1000); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}

// TestCallsGoOnThroughReloads: whichever rules each begins under, none is denied
// for a policy that is newer than its own.
func TestCallsGoOnThroughReloads(t *testing.T) {
	p := newParts(t)
	shelf := newShelf(rulesAt(t, 1, daily(900_000_000)).Policy)
	p.config.Policy = shelf
	g, err := gate.Open(t.Context(), p.config)
	p.must(err)
	defer g.Close()
	var calls sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := askFor(g, 100); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for generation := range 20 {
		shelf.Store(rulesAt(t, generation+2, daily(900_000_000)).Policy)
		p.call(g)
	}
	close(stop)
	calls.Wait()
	if got := g.Rules().Policy.Version.Generation; got != 21 {
		t.Errorf("generation %d in force", got)
	}
}

func TestOpenNeedsItsParts(t *testing.T) {
	for name, drop := range map[string]func(*gate.Config){
		"policy": func(c *gate.Config) { c.Policy = nil },
		"ledger": func(c *gate.Config) { c.Ledger = nil },
		"log":    func(c *gate.Config) { c.Log = nil },
	} {
		p := newParts(t)
		c := p.config
		drop(&c)
		if _, err := gate.Open(t.Context(), c); err == nil {
			t.Errorf("opened without a %s", name)
		}
		p.must(errors.Join(p.config.Log.Close(), p.config.Ledger.Close()))
	}
}

// TestOpenThatFailsClosesItsParts: their directories are free again.
func TestOpenThatFailsClosesItsParts(t *testing.T) {
	p := newParts(t)
	p.config.Policy.Current().Upstreams["sim"].Authorized = true
	if _, err := gate.Open(t.Context(), p.config); err == nil {
		t.Fatal("opened without an authority")
	}
	p.must(p.embedded().Close())
	p.directory(audit.NewHMACSigner(make([]byte, 32)))
	p.must(p.config.Log.Close())
}

// countedLead is a ledger that leads and counts how often it is made durable.
type countedLead struct {
	embedded.Leading
	flushes *atomic.Int64
}

func (l countedLead) Lead() func() error {
	return func() error { l.flushes.Add(1); return l.Flush() }
}

// TestLogFollowsALedgerThatLeads: Open sees to it that the log has the ledger
// made durable before it writes. A log that cannot is refused.
func TestLogFollowsALedgerThatLeads(t *testing.T) {
	p := newParts(t)
	var flushes atomic.Int64
	log := p.config.Log
	p.config.Ledger = countedLead{embedded.Leading{Ledger: p.config.Ledger.(*embedded.Ledger)}, &flushes}
	p.config.Log = struct{ gate.Log }{log}
	if _, err := gate.Open(t.Context(), p.config); err == nil || !strings.Contains(err.Error(), "give the *embedded.Ledger itself") {
		t.Fatalf("opened with a log that does not follow: %v", err)
	}
	p = newParts(t)
	p.config.Ledger = countedLead{embedded.Leading{Ledger: p.config.Ledger.(*embedded.Ledger)}, &flushes}
	g, err := gate.Open(t.Context(), p.config)
	p.must(err)
	before := flushes.Load()
	if _, err := g.Begin(t.Context(), bidOf(t, p.config.Policy.Current())); err != nil {
		t.Fatal(err)
	}
	if flushes.Load() == before {
		t.Error("the grant's receipt was written before the ledger was durable")
	}
	p.must(g.Close())
}

// crash leaves the directory as a process that dies now: a copy of it.
func (p *parts) crash() {
	copied := p.t.TempDir()
	p.must(os.CopyFS(copied, os.DirFS(p.dir)))
	p.must(errors.Join(p.config.Log.Close(), p.config.Ledger.Close()))
	p.dir = copied
}

// TestRestartOnAWriter: a log that cannot be asked does not say which grants
// were sent, so that none is given back: their leases expire and are charged
// their holds. Nor does it say which endings were receipted: those get a receipt
// that may be a copy.
func TestRestartOnAWriter(t *testing.T) {
	p := newParts(t)
	g := gate.New(p.config)
	p.must(p.config.Ledger.Provision(t.Context(), "acme"))
	if _, err := g.Begin(t.Context(), bidOf(t, p.config.Policy.Current())); err != nil {
		t.Fatal(err)
	}
	p.crash()

	var late atomic.Int64 // how far the clock is ahead
	ledger, err := embedded.Open(embedded.Config{
		Dir: filepath.Join(p.dir, "ledger"), Now: func() time.Time { return time.Now().Add(time.Duration(late.Load())) },
	})
	p.must(err)
	p.directory(audit.NewHMACSigner(make([]byte, 32)))
	p.config.Ledger = ledger
	p.written(audit.NewHMACSigner(make([]byte, 32)))
	g, err = gate.Open(t.Context(), p.config)
	p.must(err)
	if r := p.call(g).Remaining[0]; r.Held != 200 {
		t.Errorf("held %d after the restart, want what was held before", r.Held)
	}
	late.Store(int64(gate.LeaseTTL + time.Second))
	last := p.call(g)
	if r := last.Remaining[0]; r.Held != 0 || r.Spent != 200+2*110 {
		t.Errorf("spent %d, held %d once it has expired", r.Spent, r.Held)
	}
	p.must(g.Close())
	p.verify(last.Receipt)
}

// TestEndingIsReceiptedOnAWriter: that of an earlier process, whose receipt may
// have been written, gets one that may be a copy.
func TestEndingIsReceiptedOnAWriter(t *testing.T) {
	p := newParts(t)
	p.must(p.config.Ledger.Provision(t.Context(), "acme"))
	outbox, err := gate.OpenOutbox(filepath.Join(p.dir, "outbox"), slog.New(slog.DiscardHandler))
	p.must(err)
	deaf := &flakyLedger{Ledger: p.config.Ledger}
	deaf.fail("settle", fault{err: budget.ErrUnavailable})
	g := gate.New(gate.Config{Ledger: deaf, Log: p.config.Log, Outbox: outbox})
	grant, err := g.Begin(t.Context(), bidOf(t, p.config.Policy.Current()))
	p.must(err)
	grant.End(used(90, 10))
	p.crash()

	p.config.Ledger = p.embedded()
	p.directory(audit.NewHMACSigner(make([]byte, 32)))
	p.written(audit.NewHMACSigner(make([]byte, 32)))
	p.config.Outbox, err = gate.OpenOutbox(filepath.Join(p.dir, "outbox"), slog.New(slog.DiscardHandler))
	p.must(err)
	g, err = gate.Open(t.Context(), p.config)
	p.must(err)
	if r := p.call(g).Remaining[0]; r.Spent != 2*110 || p.config.Outbox.Len() != 0 {
		t.Errorf("spent %d, %d endings wait", r.Spent, p.config.Outbox.Len())
	}
	p.must(g.Close())
	var copies int
	for r, err := range audit.Read(p.source()) {
		p.must(err)
		if e, ok := r.Body.(audit.Event); ok && e.Name == string(budget.Settled) && e.Recovered && e.Amount == 110 {
			copies++
		}
	}
	if copies != 1 {
		t.Errorf("%d receipts of the ending", copies)
	}
}

func bidOf(t *testing.T, p *policy.Policy) gate.Bid {
	t.Helper()
	rules, err := gate.NewRules(p)
	if err != nil {
		t.Fatal(err)
	}
	return gate.Bid{
		Rules: rules, Key: p.Tenant("acme").Keys[0], Upstream: p.Upstreams["sim"],
		Facts: call.Facts{Model: "toy", InputTokens: 100, InputBound: "bytes", OutputCap: 50, Choices: 1},
	}
}

// TestCloseTellsTheLedgerWhatItMissed: an outbox in memory ends with its gate.
func TestCloseTellsTheLedgerWhatItMissed(t *testing.T) {
	for name, row := range map[string]struct {
		verb    string
		outcome gate.Outcome
		spent   int64
	}{
		"a settlement": {"settle", gate.Used(call.Usage{call.Input: 90, call.Output: 10}), 110},
		"a release":    {"release", gate.NotSent(), 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldAt(t, daily(1000), new(clock))
			g, err := gate.Open(t.Context(), gate.Config{Policy: w.rules.Policy, Ledger: w.ledger, Log: w.log})
			w.must(err)
			_, err = gate.Call(t.Context(), g, asking(), func(context.Context, *gate.Grant) (string, gate.Outcome, error) {
				w.ledger.fail(row.verb, fault{err: budget.ErrUnavailable})
				return "", row.outcome, nil
			})
			w.must(err)
			w.ledger.heal()
			w.must(g.Close())
			w.open()
			w.mustBalance(row.spent, 0)
			w.mustReplay(t, w.rules)
		})
	}
}
