package gate_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signingKey signs nothing outside this package's tests.
const signingKey = "hmac-sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

// policyText has a model whose input costs 1 nano-USD a token, whose output 2 and a
// search 1,000, so that costs can be read off. A helper's cost 10, 20 and 5,000.
const policyText = `generation: %d
upstreams:
  - {name: sim, base_url: "http://127.0.0.1:1/v1", provider: openai, cap_field: max_completion_tokens}
models:
  - {match: "toy", upstreams: [sim], price: {input: "0.001", output: "0.002", searches: "0.001"}}
  - {match: "helper", upstreams: [sim], price: {input: "0.01", output: "0.02", searches: "0.005"}}
  - {match: "bare", upstreams: [sim], price: {input: 1, output: 1}}
  - {match: "cheap", upstreams: [sim], price: {input: "0.001", output: "0.001"}}
  - {match: "tiered", upstreams: [sim], price: {input: "0.001", output: "0.002", searches: "0.001", tiers: [{over_input_tokens: 600, input: "0.002", output: "0.004"}]}}
  - {match: "*", upstreams: [sim]}
plans: {every: {denial_receipts_per_second: 1000000}} # a receipt for every denial
tenants:
  - name: acme
    plan: every
    keys: [{id: acme-1, sha256: "%s", trusted: true}]
%s
`

// rulesOf makes a policy whose tenant acme has these members.
func rulesOf(t testing.TB, members string) *gate.Rules {
	t.Helper()
	hash := sha256.Sum256([]byte("acme"))
	text := fmt.Sprintf(policyText, 1, hex.EncodeToString(hash[:]), "    "+strings.ReplaceAll(members, "\n", "\n    "))
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := gate.NewRules(p)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// daily is a hard budget in nano-USD.
func daily(nano int64) string {
	return fmt.Sprintf(`budgets: [{name: daily, window: forever, limit_usd: "0.%09d"}]`, nano)
}

// clock is a ledger clock that a test moves. A zero one is the real time.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.IsZero() {
		return time.Now()
	}
	return c.now
}

// set stops the clock at an instant.
func (c *clock) set(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a gate on a real ledger and a real log, either of which a test can
// make misbehave.
type world struct {
	t      testing.TB
	dir    string
	clock  *clock
	rules  *gate.Rules
	real   *embedded.Ledger
	ledger *flakyLedger
	audit  *audit.Log
	log    *flakyLog
	outbox *gate.Outbox
	gate   *gate.Gate
}

func newWorld(t testing.TB, members string) *world {
	t.Helper()
	return newWorldAt(t, members, &clock{now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)})
}

func newWorldAt(t testing.TB, members string, c *clock) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), rules: rulesOf(t, members), clock: c}
	w.open()
	if err := w.real.Provision(context.Background(), "acme"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// open starts everything on the world's directory.
func (w *world) open() {
	w.t.Helper()
	signer, err := audit.ParseSigner([]byte(signingKey))
	if err != nil {
		w.t.Fatal(err)
	}
	if w.audit, err = audit.Open(audit.Config{Dir: filepath.Join(w.dir, "receipts"), Signer: signer, Sync: audit.SyncNever}); err != nil {
		w.t.Fatal(err)
	}
	if w.real, err = embedded.Open(embedded.Config{Dir: filepath.Join(w.dir, "ledger"), Now: w.clock.Now}); err != nil {
		w.t.Fatal(err)
	}
	if w.outbox, err = gate.OpenOutbox(filepath.Join(w.dir, "outbox"), slog.New(slog.DiscardHandler)); err != nil {
		w.t.Fatal(err)
	}
	w.ledger = &flakyLedger{Ledger: w.real}
	w.log = &flakyLog{Log: w.audit}
	w.gate = gate.New(gate.Config{Ledger: w.ledger, Log: w.log, Outbox: w.outbox})
}

func (w *world) close() {
	if err := errors.Join(w.audit.Close(), w.real.Close()); err != nil {
		w.t.Error(err)
	}
}

// restart closes everything and opens it again, as a new process would.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
}

func (w *world) key() *policy.Key { return w.rules.Policy.Tenant("acme").Keys[0] }

// call asks for so many tokens of the toy model.
func (w *world) call(input, output int64) gate.Bid {
	upstream := w.rules.Policy.Upstreams["sim"]
	return gate.Bid{
		Rules: w.rules, Key: w.key(), Upstream: upstream,
		Facts: call.Facts{
			Model: "toy", Endpoint: "chat/completions", Upstream: upstream.Name,
			InputTokens: input, InputBound: "bytes", OutputCap: output, Choices: 1,
		},
	}
}

// hashed is a name as keys of claims have it.
func hashed(name string) string { return string(call.HashName(name)) }

func (w *world) begin(c gate.Bid) *gate.Grant {
	w.t.Helper()
	grant, err := w.gate.Begin(context.Background(), c)
	if err != nil {
		w.t.Fatalf("denied: %v", err)
	}
	return grant
}

// refused is begin where the call must be denied for that reason.
func (w *world) refused(c gate.Bid, reason call.Reason) *call.Denial {
	w.t.Helper()
	grant, err := w.gate.Begin(context.Background(), c)
	if err == nil {
		grant.End(gate.Outcome{})
		w.t.Fatalf("granted, want %s", reason)
	}
	refusal, ok := errors.AsType[*call.Denial](err)
	if !ok || refusal.Reason != reason {
		w.t.Fatalf("refused with %v, want %s", err, reason)
	}
	return refusal
}

// drain runs the outbox until it is empty.
func (w *world) drain() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); w.gate.Drain(ctx) }()
	for w.outbox.Len() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if n := w.outbox.Len(); n > 0 {
		w.t.Fatalf("%d endings still wait", n)
	}
}

// balance is what the tenant's first budget has spent and holds.
func (w *world) balance() (spent, held int64) {
	w.t.Helper()
	standings := w.key().Tenant.Standings(policy.Scope{}, w.clock.Now())
	b, err := w.real.Balances(context.Background(), "acme", policy.ClaimsOf(standings))
	if err != nil {
		w.t.Fatal(err)
	}
	return b.Observed[0].Spent, b.Observed[0].Held
}

func (w *world) mustBalance(spent, held int64) {
	w.t.Helper()
	if s, h := w.balance(); s != spent || h != held {
		w.t.Errorf("spent %d, held %d; want spent %d, held %d", s, h, spent, held)
	}
}

// receipts are all receipts in the log, which must verify.
func (w *world) receipts() []audit.Receipt {
	w.t.Helper()
	sources, err := audit.Files(filepath.Join(w.dir, "receipts"))
	if err != nil {
		w.t.Fatal(err)
	}
	signer, _ := audit.ParseSigner([]byte(signingKey))
	report, err := audit.Verify(context.Background(), sources, audit.VerifyOptions{Keys: audit.NewKeys(signer.Key())})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, finding := range report.Findings {
		w.t.Errorf("receipts: %v", finding)
	}
	var list []audit.Receipt
	for r, err := range audit.Read(sources...) {
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

func bodies[B audit.Body](receipts []audit.Receipt) []B {
	var list []B
	for _, r := range receipts {
		if body, ok := r.Body.(B); ok {
			list = append(list, body)
		}
	}
	return list
}

// settlement is the only one in the log.
func (w *world) settlement() audit.Settlement {
	w.t.Helper()
	list := bodies[audit.Settlement](w.receipts())
	if len(list) != 1 {
		w.t.Fatalf("%d settlement receipts, want 1: %+v", len(list), list)
	}
	return list[0]
}

// used is the outcome of a call with that usage.
func used(input, output int64) gate.Outcome {
	return gate.Outcome{Status: 200, Sent: true, Basis: audit.BasisReported, Lines: []call.Line{{Usage: call.Usage{call.Input: input, call.Output: output}}}}
}

// upkeep is the world's.
func (w *world) upkeep() *gate.Upkeep {
	return &gate.Upkeep{Lost: new(gate.Lost), Keeper: w.real, Ledger: w.real, Log: w.audit, Logger: slog.New(slog.DiscardHandler)}
}

// fault is one way for a verb to go wrong.
type fault struct {
	err  error // nil: it works
	lost bool  // it takes effect, but the answer is lost
}

// flakyLedger fails the verbs that a test names.
type flakyLedger struct {
	gate.Ledger
	mu     sync.Mutex
	faults map[string]fault // by verb
	calls  map[string]int
	hooks  map[string]hook
}

// hook runs once so many calls of a verb were made.
type hook struct {
	calls int
	run   func()
}

// after has run called at the end of the verb's n-th call from now.
func (l *flakyLedger) after(verb string, n int, run func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hooks = map[string]hook{verb: {l.calls[verb] + n, run}}
}

func (l *flakyLedger) leave(verb string) {
	l.mu.Lock()
	h, ok := l.hooks[verb]
	due := ok && l.calls[verb] >= h.calls
	l.mu.Unlock()
	if due {
		h.run()
	}
}

func (l *flakyLedger) fail(verb string, f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = map[string]fault{verb: f}
}

func (l *flakyLedger) heal() { l.fail("", fault{}) }

func (l *flakyLedger) enter(verb string) fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = map[string]int{}
	}
	l.calls[verb]++
	return l.faults[verb]
}

func (l *flakyLedger) count(verb string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[verb]
}

// flaky runs a verb, unless it is to fail.
func flaky[A any](l *flakyLedger, verb string, run func() (A, error)) (A, error) {
	var none A
	f := l.enter(verb)
	defer l.leave(verb)
	if f.err == nil {
		return run()
	}
	if f.lost {
		_, _ = run()
	}
	return none, f.err
}

func (l *flakyLedger) Reserve(ctx context.Context, r budget.Reservation) (budget.Grant, error) {
	return flaky(l, "reserve", func() (budget.Grant, error) { return l.Ledger.Reserve(ctx, r) })
}

func (l *flakyLedger) Balances(ctx context.Context, tenant string, claims []budget.Claim) (budget.Balances, error) {
	return flaky(l, "balances", func() (budget.Balances, error) { return l.Ledger.Balances(ctx, tenant, claims) })
}

func (l *flakyLedger) Renew(ctx context.Context, lease budget.LeaseRef, ttl time.Duration) (int64, error) {
	return flaky(l, "renew", func() (int64, error) { return l.Ledger.Renew(ctx, lease, ttl) })
}

func (l *flakyLedger) Settle(ctx context.Context, lease budget.LeaseRef, actual budget.Actual) (budget.Ending, error) {
	return flaky(l, "settle", func() (budget.Ending, error) { return l.Ledger.Settle(ctx, lease, actual) })
}

func (l *flakyLedger) Release(ctx context.Context, lease budget.LeaseRef) (budget.Ending, error) {
	return flaky(l, "release", func() (budget.Ending, error) { return l.Ledger.Release(ctx, lease) })
}

// flakyLog refuses the receipts that a test names.
type flakyLog struct {
	gate.Log
	mu     sync.Mutex
	refuse func(audit.Body) error
}

func (l *flakyLog) fail(refuse func(audit.Body) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

func (l *flakyLog) refusal(body audit.Body) error {
	l.mu.Lock()
	refuse := l.refuse
	l.mu.Unlock()
	if refuse == nil {
		return nil
	}
	return refuse(parsed(body))
}

// parsed is a body as it is read back.
func parsed(body audit.Body) audit.Body {
	switch b := body.(type) {
	case *audit.Decision:
		return *b
	case *audit.Settlement:
		return *b
	}
	return body
}

func (l *flakyLog) Append(ctx context.Context, body audit.Body) (audit.Ref, error) {
	if err := l.refusal(body); err != nil {
		return audit.Ref{}, err
	}
	return l.Log.Append(ctx, body)
}

// Post waits, so that a test can look at what it wrote.
func (l *flakyLog) Post(body audit.Body, told func(audit.Ref, error)) {
	if err := l.refusal(body); err != nil {
		told(audit.Ref{}, err)
		return
	}
	written := make(chan struct{})
	l.Log.Post(body, func(ref audit.Ref, err error) {
		defer close(written)
		told(ref, err)
	})
	<-written
}

var errDiskFull = fmt.Errorf("%w: disk full", audit.ErrUnavailable)

func refuseDecisions(body audit.Body) error {
	if _, ok := body.(audit.Decision); ok {
		return errDiskFull
	}
	return nil
}

func refuseSettlements(body audit.Body) error {
	if _, ok := body.(audit.Settlement); ok {
		return errDiskFull
	}
	return nil
}
