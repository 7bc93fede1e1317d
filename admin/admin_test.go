package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// The hashes stand for no key that exists; the variable holds upstreamSecret.
const (
	upstreamSecret = "sk-upstream-secret"
	upstreamVar    = "AEGIS_ADMIN_TEST_KEY"
	firstHash      = "1111111111111111111111111111111111111111111111111111111111111111"
	secondHash     = "2222222222222222222222222222222222222222222222222222222222222222"
)

const policyText = `generation: 1
upstreams:
  - {name: sim, base_url: "http://127.0.0.1:1/v1", provider: openai, cap_field: max_tokens, api_key_env: ` + upstreamVar + `}
models:
  - {match: "*", upstreams: [sim]}
tenants:
  - name: acme
    project: web
    environment: production
    user_field: user
    keys: [{id: one, sha256: "` + firstHash + `"}, {id: two, sha256: "` + secondHash + `"}]
    budgets:
      - {name: all, window: forever, limit_usd: "5"}
      - {name: daily, window: day, limit_usd: "1", kind: soft}
      - {name: per-key, scope: [key], window: hour, limit_usd: "0.5"}
      - {name: per-run, scope: [run], window: forever, limit_usd: "0.25"}
      - {name: per-user, scope: [user], window: day, limit_usd: "0.125"}
  - {name: quiet, budgets: []}
`

var noon = time.Date(2026, 9, 1, 12, 30, 0, 0, time.UTC)

// side is the operator's side of a proxy that a test can break.
type side struct {
	t         *testing.T
	policy    *policy.Policy
	ledger    *embedded.Ledger
	metrics   *admin.Metrics
	logErr    error
	ledgerErr error
	draining  bool
	missing   string // a tenant that the ledger has lost

	mu       sync.Mutex
	receipts []string // whose receipts were asked for
}

func newSide(t *testing.T) *side {
	t.Helper()
	t.Setenv(upstreamVar, upstreamSecret)
	p, err := policy.Parse("policy.yaml", []byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledger.Close() })
	if err := ledger.Provision(t.Context(), "acme", "quiet"); err != nil {
		t.Fatal(err)
	}
	return &side{t: t, policy: p, ledger: ledger, metrics: admin.NewMetrics()}
}

// brokenLedger fails as the test says, naming what no stranger should read.
type brokenLedger struct {
	*embedded.Ledger
	err     error
	missing string
}

func (l brokenLedger) Balances(ctx context.Context, tenant string, claims []budget.Claim) (budget.Balances, error) {
	if l.err != nil {
		return budget.Balances{}, l.err
	}
	return l.Ledger.Balances(ctx, tenant, claims)
}

// at names the tenant that a verb is about, or another that does not exist.
func (l brokenLedger) at(tenant string) string {
	if tenant == l.missing {
		return "lost"
	}
	return tenant
}

func (l brokenLedger) Throw(ctx context.Context, tenant, name string) (budget.Switch, error) {
	return l.Ledger.Throw(ctx, l.at(tenant), name)
}

func (l brokenLedger) Lift(ctx context.Context, tenant, name string, event int64) (budget.Switch, error) {
	return l.Ledger.Lift(ctx, l.at(tenant), name, event)
}

func (s *side) config() admin.Config {
	return admin.Config{
		Policy:      func() *policy.Policy { return s.policy },
		Ledger:      brokenLedger{s.ledger, s.ledgerErr, s.missing},
		LogReady:    func() error { return s.logErr },
		LedgerReady: func(context.Context) error { return s.ledgerErr },
		Draining:    func() bool { return s.draining },
		Metrics:     s.metrics.Registry,
		Receipt:     s.receipt,
		Logger:      slog.New(slog.DiscardHandler),
		Loopback:    true,
	}
}

func (s *side) receipt(_ context.Context, tenant string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receipts = append(s.receipts, tenant)
	return s.logErr
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8081"+path, nil))
	return recorder
}

// TestReady: both listeners say whether requests would be governed, and only
// the operator's says why not. The process is healthy meanwhile.
func TestReady(t *testing.T) {
	for _, row := range []struct {
		name    string
		breakIt func(*side)
		status  int
		detail  string
	}{
		{"ready", func(*side) {}, 200, "ready"},
		{"draining", func(s *side) { s.draining = true }, 503, "draining"},
		{"log down", func(s *side) { s.logErr = errors.New("/var/lib/receipts: disk full") }, 503, "/var/lib/receipts"},
		{"ledger down", func(s *side) { s.ledgerErr = errors.New("redis.internal:6379: refused") }, 503, "redis.internal"},
		{"both down", func(s *side) {
			s.logErr, s.ledgerErr = errors.New("disk full"), errors.New("redis.internal:6379: refused")
		}, 503, "redis.internal"},
		{"one master down", func(s *side) {
			s.ledgerErr = fmt.Errorf("%w: redis.internal:6379: refused", budget.ErrPartly)
		}, 200, "ready, but some tenants cannot be served: redis.internal"},
		{"log and one master down", func(s *side) {
			s.logErr, s.ledgerErr = errors.New("disk full"), fmt.Errorf("%w: redis.internal:6379: refused", budget.ErrPartly)
		}, 503, "redis.internal"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSide(t)
			row.breakIt(s)
			operator, stranger := get(admin.Handler(s.config()), "/readyz"), get(admin.Probes(s.config()), "/readyz")
			if operator.Code != row.status || !strings.Contains(operator.Body.String(), row.detail) {
				t.Errorf("operator: %d %q", operator.Code, operator.Body)
			}
			want := map[int]string{200: "ready\n", 503: "not ready\n"}[row.status]
			if stranger.Code != row.status || stranger.Body.String() != want {
				t.Errorf("stranger: %d %q, want %q", stranger.Code, stranger.Body, want)
			}
			for name, h := range map[string]http.Handler{"operator": admin.Handler(s.config()), "stranger": admin.Probes(s.config())} {
				if a := get(h, "/healthz"); a.Code != 200 || a.Body.String() != "ok\n" {
					t.Errorf("%s: health %d %q", name, a.Code, a.Body)
				}
			}
		})
	}
}

// TestWatch: readiness is told from memory, whatever the look is doing, until what
// was seen is too old.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		refused, stuck := errors.New("refused"), make(chan struct{})
		w := admin.StartWatch(func(context.Context) error {
			switch looks.Add(1) {
			case 1:
				return refused
			case 3:
				<-stuck
			}
			return nil
		})
		for range 1000 {
			if err := w.Ready(t.Context()); !errors.Is(err, refused) {
				t.Fatalf("the ledger is refused, and readiness says %v", err)
			}
		}
		if n := looks.Load(); n != 1 {
			t.Errorf("1,000 questions took %d looks", n)
		}
		time.Sleep(2500 * time.Millisecond) // the third look, at two seconds, is stuck
		if err, n := w.Ready(t.Context()), looks.Load(); err != nil || n != 3 {
			t.Errorf("after %d looks it says %v", n, err)
		}
		time.Sleep(5 * time.Second)
		if err := w.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "has not answered") {
			t.Errorf("the last look is stuck for long, and readiness says %v", err)
		}
		close(stuck)
		synctest.Wait()
		if err := w.Ready(t.Context()); err != nil {
			t.Errorf("the look has come back, and readiness says %v", err)
		}
		w.Close()
	})
}

// TestProbesShowNothingElse: strangers reach neither balances nor metrics nor
// profiles, and nobody changes anything.
func TestProbesShowNothingElse(t *testing.T) {
	s := newSide(t)
	for _, path := range []string{"/metrics", "/admin/v1/budgets?tenant=acme", "/debug/pprof/", "/"} {
		if a := get(admin.Probes(s.config()), path); a.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.Code)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/admin/v1/budgets?tenant=acme"} {
		recorder := httptest.NewRecorder()
		admin.Handler(s.config()).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "http://localhost"+path, nil))
		if recorder.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, recorder.Code)
		}
	}
	if a := get(admin.Handler(s.config()), "/debug/pprof/"); a.Code != 200 {
		t.Errorf("profiles: %d", a.Code)
	}
}

// spend reserves in every budget that a caller concerns, and settles unless
// the lease is to stay open. Amounts are nano-USD.
func (s *side) spend(lease string, scope policy.Scope, hold, cost int64) {
	s.t.Helper()
	claims := policy.ClaimsOf(s.policy.Tenant("acme").Standings(scope, noon))
	for i := range claims {
		claims[i].Amount, claims[i].Limit, claims[i].AtEnd = hold, budget.NoLimit, budget.Adjust
	}
	_, err := s.ledger.Reserve(s.t.Context(), budget.Reservation{
		Tenant: "acme", Lease: lease, Claims: claims, Policy: s.policy.Version, TTL: time.Minute,
	})
	if err == nil && cost > 0 {
		_, err = s.ledger.Settle(s.t.Context(), budget.LeaseRef{Tenant: "acme", Lease: lease}, budget.Actual{Cost: cost})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *side) balances(query string) admin.Balances {
	s.t.Helper()
	a := get(admin.Handler(s.config()), "/admin/v1/budgets?"+query)
	if kind := a.Header().Get("Content-Type"); a.Code != 200 || kind != "application/json" {
		s.t.Fatalf("%s: %d %s %s", query, a.Code, kind, a.Body)
	}
	var b admin.Balances
	if err := json.Unmarshal(a.Body.Bytes(), &b); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// lines are the budgets of an answer, one each: name, scope without the hashes
// of names, spent, held, limit, reset.
func lines(b admin.Balances) []string {
	hash := regexp.MustCompile(`[0-9a-f]{32}`)
	var list []string
	for _, v := range b.Budgets {
		list = append(list, fmt.Sprintf("%s %s %s spent %s held %s of %s resets %s",
			v.Budget, v.Kind, hash.ReplaceAllString(v.Scope, "#"), v.Spent, v.Held, v.Limit, v.ResetsAt))
	}
	return list
}

// TestBudgets: key, run and user narrow what is shown; without them budgets of
// that scope are left out, but for keys, of which all are shown.
func TestBudgets(t *testing.T) {
	s := newSide(t)
	s.spend("a", policy.Scope{Key: "one", Run: "r", User: "u"}, 30_000_000, 20_000_000)
	s.spend("b", policy.Scope{Key: "two"}, 5_000_000, 0)
	const (
		all    = "all hard usd/forever spent 0.02 held 0.005 of 5.00 resets "
		daily  = "daily soft usd/day spent 0.02 held 0.005 of 1.00 resets 2026-09-02T00:00:00Z"
		keyOne = "per-key hard usd/key:one/hour spent 0.02 held 0.00 of 0.50 resets 2026-09-01T13:00:00Z"
		keyTwo = "per-key hard usd/key:two/hour spent 0.00 held 0.005 of 0.50 resets 2026-09-01T13:00:00Z"
		run    = "per-run hard usd/run:#/forever spent 0.02 held 0.00 of 0.25 resets "
		other  = "per-run hard usd/run:#/forever spent 0.00 held 0.00 of 0.25 resets "
		user   = "per-user hard usd/user:#/day spent 0.02 held 0.00 of 0.125 resets 2026-09-02T00:00:00Z"
	)
	for query, want := range map[string][]string{
		"tenant=acme":                      {all, daily, keyOne, keyTwo},
		"tenant=acme&key=two":              {all, daily, keyTwo},
		"tenant=acme&key=one&run=r":        {all, daily, keyOne, run},
		"tenant=acme&key=one&run=other":    {all, daily, keyOne, other},
		"tenant=acme&key=one&run=r&user=u": {all, daily, keyOne, run, user},
		"tenant=quiet":                     nil,
	} {
		b := s.balances(query)
		if got := lines(b); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant:\n%s", query, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if b.Tenant == "acme" && (b.Open != 1 || b.Event == 0 || b.At != "2026-09-01T12:30:00Z") {
			t.Errorf("%s: %+v", query, b)
		}
	}
}

func TestBudgetsThatCannotBeShown(t *testing.T) {
	s := newSide(t)
	for query, want := range map[string]string{
		"":               "no tenant is named; name one as ?tenant=NAME\n",
		"?tenant=":       "no tenant is named; name one as ?tenant=NAME\n",
		"?tenant=nobody": "no such tenant in the policy\n",
		"?tenant=ACME":   "no such tenant in the policy\n",
	} {
		if a := get(admin.Handler(s.config()), "/admin/v1/budgets"+query); a.Code != 404 || a.Body.String() != want {
			t.Errorf("%q: %d %s", query, a.Code, a.Body)
		}
	}
	s.ledgerErr = errors.New("redis.internal:6379: refused")
	if a := get(admin.Handler(s.config()), "/admin/v1/budgets?tenant=acme"); a.Code != 503 || !strings.Contains(a.Body.String(), "redis.internal") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// TestNoBudgetsIsAnEmptyList in JSON, not null.
func TestNoBudgetsIsAnEmptyList(t *testing.T) {
	a := get(admin.Handler(newSide(t).config()), "/admin/v1/budgets?tenant=quiet")
	if !strings.Contains(a.Body.String(), `"budgets":[]`) {
		t.Error(a.Body)
	}
}

// TestNothingHeldIsZero: what is held comes back to zero, not near it.
func TestNothingHeldIsZero(t *testing.T) {
	s := newSide(t)
	for _, nano := range []int64{728_000, 728_001, 1, 3_840_000_000} {
		s.metrics.Held("acme", nano, 1)
	}
	for _, nano := range []int64{1, 728_000, 3_840_000_000, 728_001} {
		s.metrics.Held("acme", -nano, -1)
	}
	if text := s.metricsText(); !strings.Contains(text, "aegis_held_usd{tenant=\"acme\"} 0\n") {
		t.Error(text)
	}
}

// TestMetrics tells all that happened under the documented names.
func TestMetrics(t *testing.T) {
	s := newSide(t)
	m := s.metrics
	m.Tenants(s.policy.Tenants)
	m.Decided("acme", "allow", "")
	m.Decided("acme", "deny", "budget_exhausted")
	m.Rejected("invalid_api_key")
	m.Held("acme", 500_000_000, 2)
	m.Held("acme", -250_000_000, -1)
	m.Charged("acme", "any-model", 20_000_000, call.Usage{call.Input: 7, call.Output: 3})
	m.Ledger("reserve", 150*time.Microsecond)
	m.Log(time.Millisecond)
	m.Added(2 * time.Millisecond)
	text := s.metricsText()
	for _, line := range []string{
		`aegis_requests_total{decision="allow",reason="",tenant="acme"} 1`,
		`aegis_requests_total{decision="deny",reason="budget_exhausted",tenant="acme"} 1`,
		`aegis_requests_total{decision="reject",reason="invalid_api_key",tenant=""} 1`,
		`aegis_held_usd{tenant="acme"} 0.25`,
		`aegis_open_leases{tenant="acme"} 1`,
		`aegis_spend_usd_total{tenant="acme"} 0.02`,
		`aegis_used_total{tenant="acme",unit="input"} 7`,
		`aegis_used_total{tenant="acme",unit="output"} 3`,
		`aegis_ledger_seconds_count{verb="reserve"} 1`,
		`aegis_ledger_seconds_bucket{verb="reserve",le="0.0002"} 1`,
		`aegis_receipt_seconds_count 1`,
		`aegis_added_seconds_count 1`,
		`aegis_tenant_info{environment="production",project="web",tenant="acme"} 1`,
		`aegis_tenant_info{environment="",project="",tenant="quiet"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	for _, secret := range []string{upstreamSecret, upstreamVar, firstHash, secondHash, "any-model"} {
		if strings.Contains(text, secret) {
			t.Errorf("shows %s", secret)
		}
	}
}

func (s *side) metricsText() string {
	s.t.Helper()
	a := get(admin.Handler(s.config()), "/metrics")
	if a.Code != 200 {
		s.t.Fatalf("%d %s", a.Code, a.Body)
	}
	return a.Body.String()
}

// TestTenantInfoFollowsThePolicy: a tenant that a reload has removed or moved
// is not shown as it was.
func TestTenantInfoFollowsThePolicy(t *testing.T) {
	s := newSide(t)
	s.metrics.Tenants(s.policy.Tenants)
	s.metrics.Tenants([]*policy.Tenant{{Name: "acme", Project: "shop"}})
	text := s.metricsText()
	if !strings.Contains(text, `aegis_tenant_info{environment="",project="shop",tenant="acme"} 1`+"\n") {
		t.Error("the new project is missing")
	}
	if n := strings.Count(text, "\naegis_tenant_info{"); n != 1 {
		t.Errorf("%d tenants are shown, the policy has 1", n)
	}
}
