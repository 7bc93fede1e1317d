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
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// actionPolicy has a tenant with a budget of 100 nano-USD, and one of 50 for
// each run, and a second tenant.
const actionPolicy = `generation: 1
upstreams: [{name: sim, base_url: "http://127.0.0.1:1/v1", provider: openai, cap_field: max_completion_tokens}]
models: [{match: "*", upstreams: [sim]}]
plans: {every: {denial_receipts_per_second: 1000000}} # a receipt for every denial
tenants:
  - name: acme
    plan: every
    keys: [{id: acme-1, sha256: "%s"}]
    per_request_usd: "0.00000009"
    budgets:
      - {name: total, window: forever, limit_usd: "0.0000001"}
      - {name: run, scope: run, window: forever, limit_usd: "0.00000005"}
  - name: umbrella
    keys: [{id: umbrella-1, sha256: "%s"}]
    budgets: [{name: total, window: forever, limit_usd: "0.0000001"}]
`

// actionRules are those of actionPolicy, in which edits replace each old text by
// the new one that follows it.
func actionRules(t testing.TB, edits ...string) *gate.Rules {
	t.Helper()
	hash := func(key string) string {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	text := fmt.Sprintf(actionPolicy, hash("acme"), hash("umbrella"))
	p, err := policy.Parse("policy.yaml", []byte(strings.NewReplacer(edits...).Replace(text)))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := gate.NewRules(p)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// actionWorld is a gate for actions on a ledger of either kind.
type actionWorld struct {
	*testing.T
	dir    string
	rules  *gate.Rules
	ledger gate.Ledger
	log    *flakyLog
	flaky  *flakyLedger
	gate   *gate.Gate
	open   func() gate.Ledger // the same ledger, as a process that starts finds it
	ends   []func() error     // of what is open, in order
	number int                // of the processes so far

	moveTo func(time.Time) // sets the ledger's clock, for a process that starts later
	at     time.Time       // what it was set to
}

// onBothLedgers runs a test with the embedded ledger and with Redis.
func onBothLedgers(t *testing.T, test func(w *actionWorld)) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		onEmbedded(t, test)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		w := &actionWorld{T: t, dir: t.TempDir(), rules: actionRules(t)}
		server, clock := redistest.Start(t), &clock{}
		w.open = func() gate.Ledger {
			l, err := redis.Dial(redis.Config{URL: server.URL(), AcceptDurability: true, Now: clock.Now})
			w.must(err)
			return l
		}
		w.moveTo = func(at time.Time) { // no tenant's time goes back
			server.Command(fmt.Sprintf("HMSET aegis:{acme}:tenant at %d", at.UnixMilli()))
			clock.set(at)
		}
		w.run(test)
	})
}

func onEmbedded(t *testing.T, test func(w *actionWorld)) {
	t.Helper()
	w := &actionWorld{T: t, dir: t.TempDir(), rules: actionRules(t)}
	at := &clock{}
	w.moveTo = at.set
	w.open = func() gate.Ledger {
		config := embedded.Config{Dir: filepath.Join(w.dir, "ledger"), Now: at.Now, Log: slog.New(slog.DiscardHandler)}
		l, err := embedded.Open(config)
		// A server that another test starts holds a copy of the lock for a moment.
		for tries := 0; errors.Is(err, embedded.ErrLocked) && tries < 10_000; tries++ {
			time.Sleep(time.Millisecond)
			l, err = embedded.Open(config)
		}
		w.must(err)
		return embedded.Leading{Ledger: l}
	}
	w.run(test)
}

func (w *actionWorld) run(test func(w *actionWorld)) {
	w.start()
	w.must(w.ledger.Provision(w.Context(), "acme", "umbrella"))
	w.Cleanup(w.stop)
	test(w)
}

// start opens a process of its own on the ledger, with a receipt log of its own.
func (w *actionWorld) start() {
	w.Helper()
	w.number++
	w.ledger = w.open()
	w.ends = append(w.ends, w.ledger.Close)
	w.flaky = &flakyLedger{Ledger: w.ledger}
	w.gate = w.newGate(w.flaky)
}

// pass lets time go by, and starts a process after that.
func (w *actionWorld) pass(d time.Duration) {
	w.Helper()
	if w.at.IsZero() {
		w.at = w.ledger.Now()
	}
	w.at = w.at.Add(d)
	w.moveTo(w.at)
	w.stop()
	w.start()
	_, err := w.ledger.Balances(w.Context(), "acme", nil) // learns what time it is
	w.must(err)
}

// newGate is one more replica on the ledger.
func (w *actionWorld) newGate(l gate.Ledger) *gate.Gate {
	w.Helper()
	signer, err := audit.ParseSigner([]byte(signingKey))
	w.must(err)
	w.number++
	config := audit.Config{Dir: filepath.Join(w.dir, "receipts", fmt.Sprint(w.number)), Signer: signer, Sync: audit.SyncNever}
	log, err := audit.Open(config)
	w.must(err)
	if own, ok := w.ledger.(embedded.Leading); ok {
		log.Precede(own.Lead())
	}
	w.ends = append([]func() error{log.Close}, w.ends...)
	outbox, err := gate.OpenOutbox(filepath.Join(w.dir, fmt.Sprint("outbox", w.number)), slog.New(slog.DiscardHandler))
	w.must(err)
	w.log = &flakyLog{Log: log}
	authority, _ := newAuthority(w.T)
	return gate.New(gate.Config{Ledger: l, Log: w.log, Outbox: outbox, Authority: authority})
}

func (w *actionWorld) stop() {
	for _, end := range w.ends {
		if err := end(); err != nil {
			w.Error(err)
		}
	}
	w.ends = nil
}

func (w *actionWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *actionWorld) key(tenant string) *policy.Key { return w.rules.Policy.Tenant(tenant).Keys[0] }

func (w *actionWorld) action(id string, amount int64) gate.Action {
	return gate.Action{
		Rules: w.rules, Key: w.key("acme"), ID: id, Kind: "payment", Amount: amount,
		Target: "invoice 7", Tool: "bank", TTL: time.Minute,
	}
}

func (w *actionWorld) lease(name string) gate.LeaseCall {
	return gate.LeaseCall{Rules: w.rules, Key: w.key("acme"), Lease: name}
}

func (w *actionWorld) authorize(a gate.Action) *gate.Leave {
	w.Helper()
	leave, err := w.gate.Authorize(w.Context(), a)
	w.must(err)
	return leave
}

// denied fails the test unless the error is a denial for that reason.
func (w *actionWorld) denied(err error, reason call.Reason) *call.Denial {
	w.Helper()
	refusal, ok := errors.AsType[*call.Denial](err)
	if !ok || refusal.Reason != reason {
		w.Fatalf("got %v, want %s", err, reason)
	}
	return refusal
}

func (w *actionWorld) mustBalance(spent, held int64) {
	w.Helper()
	claims := policy.ClaimsOf(w.key("acme").Tenant.Standings(policy.Scope{}, w.ledger.Now()))
	b, err := w.ledger.Balances(context.Background(), "acme", claims)
	w.must(err)
	if got := b.Observed[0]; got.Spent != spent || got.Held != held {
		w.Errorf("spent %d, held %d; want %d and %d", got.Spent, got.Held, spent, held)
	}
}

func (w *actionWorld) sources() []audit.Source {
	w.Helper()
	var all []audit.Source
	dirs, err := filepath.Glob(filepath.Join(w.dir, "receipts", "*"))
	w.must(err)
	for _, dir := range dirs {
		list, err := audit.Files(dir)
		w.must(err)
		all = append(all, list...)
	}
	return all
}

// proved checks that the receipts of all replicas verify, and tell the ledger's
// balances.
func (w *actionWorld) proved() {
	w.Helper()
	u := &gate.Upkeep{Keeper: w.ledger, Ledger: w.ledger, Log: w.log, Logger: slog.New(slog.DiscardHandler)}
	w.must(u.Sweep(w.Context(), "acme"))
	claims := policy.ClaimsOf(w.key("acme").Tenant.Standings(policy.Scope{}, w.ledger.Now()))
	want, err := w.ledger.Balances(w.Context(), "acme", claims)
	w.must(err)
	w.stop()
	sources := w.sources()
	mustVerify(w.T, sources)
	states, err := rebuild(audit.Read(sources...))
	w.must(err)
	got, err := states[0].Balances(claims, want.At)
	if err != nil || fmt.Sprint(got.Observed) != fmt.Sprint(want.Observed) || got.Number != want.Number {
		w.Errorf("the receipts tell %+v, %v; the ledger %+v", got, err, want)
	}
}

func readAll[B audit.Body](w *actionWorld) []B {
	w.Helper()
	var list []B
	for r, err := range audit.Read(w.sources()...) {
		w.must(err)
		if body, ok := r.Body.(B); ok {
			list = append(list, body)
		}
	}
	return list
}
