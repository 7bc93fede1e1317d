// Package admin is the operator's side: health, readiness, metrics, balances
// and kill switches, on a listener of its own that no tenant reaches.
//
//	GET /healthz                     200 while the process lives
//	GET /readyz                      200 if requests would be governed, else 503 and why; from memory
//	GET /metrics                     Prometheus text format
//	GET /admin/v1/budgets?tenant=T   the tenant's balances, JSON
//	POST /admin/v1/counters          the balances of counters, by their keys: CounterQuery to Counters
//	GET /admin/v1/switches?tenant=T  the tenant's thrown kill switches, JSON
//	POST /admin/v1/switches          throw or lift one: SwitchOrder to SwitchResult
//	GET /debug/pprof/                Go's profiles
//
// docs/admin.md says what each member is and gives an example of each answer.
//
// What changes something wants application/json, no Origin, and a bearer token
// where one is set; a listener off loopback without one changes nothing. Nothing
// but the probes is answered under a Host that a stranger could own.
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Config is what the operator's side shows.
type Config struct {
	Policy      func() *policy.Policy
	Ledger      Ledger
	LogReady    func() error
	LedgerReady func(ctx context.Context) error // as Watch.Ready; budget.ErrPartly: for some tenants
	Draining    func() bool
	Metrics     *prometheus.Registry

	// Receipt writes what receipts a tenant's events lack.
	Receipt  func(ctx context.Context, tenant string) error
	Logger   *slog.Logger // told of every change; slog.Default if nil
	Token    string       // that changes must bear; "": none
	Loopback bool         // the listener is reached from this machine alone
	Hosts    []string     // names by which it is reached, beside its addresses and names without a dot
}

// Ledger is what the operator's side needs of a ledger.
type Ledger interface {
	Balances(ctx context.Context, tenant string, claims []budget.Claim) (budget.Balances, error)
	Provision(ctx context.Context, tenants ...string) error
	Throw(ctx context.Context, tenant, name string) (budget.Switch, error)
	Lift(ctx context.Context, tenant, name string, event int64) (budget.Switch, error)
	Now() time.Time
}

type server struct{ Config }

// Handler returns the operator's routes.
func Handler(c Config) http.Handler {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	s := server{c}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", Health)
	mux.HandleFunc("GET /readyz", s.probe)
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /admin/v1/budgets":    s.budgets,
		"POST /admin/v1/counters":  s.counters,
		"GET /admin/v1/switches":   s.listSwitches,
		"POST /admin/v1/switches":  s.guard(s.changeSwitch),
		"GET /debug/pprof/":        brief(pprof.Index),
		"GET /debug/pprof/profile": brief(pprof.Profile),
		"GET /metrics":             promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{}).ServeHTTP,
	} {
		mux.HandleFunc(pattern, s.local(h))
	}
	return mux
}

// Probes returns health and readiness alone, for the listener that load
// balancers reach.
func Probes(c Config) http.Handler {
	s := server{c}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", Health)
	mux.HandleFunc("GET /readyz", s.readyOrNot)
	return mux
}

// Health answers that the process lives.
func Health(w http.ResponseWriter, _ *http.Request) {
	w.Write([]byte("ok\n"))
}

// Budget is one limit as the operator sees it. Amounts are USD as
// decimal text, as in "0.25".
type Budget struct {
	Budget   string `json:"budget"`
	Scope    string `json:"scope"`
	Window   string `json:"window"`
	Kind     string `json:"kind"`
	Limit    string `json:"limit_usd"`
	Spent    string `json:"spent_usd"`
	Held     string `json:"held_usd"`
	ResetsAt string `json:"resets_at,omitempty"`
}

// Count is one limit of requests or slots as the operator sees it.
type Count struct {
	Rule     string `json:"rule"`
	Unit     string `json:"unit"` // "requests" or "slots"
	Scope    string `json:"scope"`
	Limit    int64  `json:"limit"`
	Spent    int64  `json:"spent"`
	Held     int64  `json:"held"`
	ResetsAt string `json:"resets_at,omitempty"`
}

// Balances is a tenant as the operator sees it.
type Balances struct {
	Tenant  string   `json:"tenant"`
	At      string   `json:"at"`
	Open    int64    `json:"open_leases"`
	Event   int64    `json:"last_event"`
	Budgets []Budget `json:"budgets"`
	Counts  []Count  `json:"counts,omitempty"`
}

const noTenant = "no such tenant in the policy"

// noTenantNamed is told to those who asked by a URL's query. It does not repeat
// what they asked for, which may be a key.
func noTenantNamed(name string) string {
	if name == "" {
		return "no tenant is named; name one as ?tenant=NAME"
	}
	return noTenant
}

// noKey does not repeat what was asked for: it may be the key itself.
func noKey(t *policy.Tenant) string {
	return fmt.Sprintf("tenant %s has no key of that id in the policy; name it by the id that the policy gives it", t.Name)
}

func (s server) budgets(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("tenant")
	tenant := s.Policy().Tenant(name)
	if tenant == nil {
		http.Error(w, noTenantNamed(name), http.StatusNotFound)
		return
	}
	if tenant.KeyOf(r.URL.Query().Get("key")) == nil {
		http.Error(w, noKey(tenant), http.StatusNotFound)
		return
	}
	scope := policy.Scope{
		Key:  r.URL.Query().Get("key"),
		Run:  r.URL.Query().Get("run"),
		User: r.URL.Query().Get("user"),
	}
	now := s.Ledger.Now()
	standings := append(tenant.Standings(scope, now), tenant.Counts(scope, now)...)
	balances, err := s.Ledger.Balances(r.Context(), tenant.Name, policy.ClaimsOf(standings))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusOK, view(tenant, standings, balances))
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// instant writes ledger milliseconds for people.
func instant(at int64) string { return time.UnixMilli(at).UTC().Format(time.RFC3339) }

func view(t *policy.Tenant, standings []policy.Standing, b budget.Balances) Balances {
	v := Balances{
		Tenant:  t.Name,
		At:      instant(b.At),
		Open:    b.Open,
		Event:   b.Number,
		Budgets: []Budget{},
	}
	for i, s := range standings {
		for _, limit := range s.Budgets {
			v.add(limit, s, b.Observed[i])
		}
	}
	return v
}

func (v *Balances) add(limit *policy.Budget, s policy.Standing, seen budget.Observed) {
	if limit.Unit() == "usd" {
		v.Budgets = append(v.Budgets, budgetOf(limit, s, seen))
		return
	}
	v.Counts = append(v.Counts, Count{
		Rule:     limit.Name,
		Unit:     limit.Unit(),
		Scope:    s.Claim.Key,
		Limit:    limit.Limit,
		Spent:    seen.Spent,
		Held:     seen.Held,
		ResetsAt: resetsAt(seen),
	})
}

func budgetOf(limit *policy.Budget, s policy.Standing, seen budget.Observed) Budget {
	return Budget{
		Budget:   limit.Name,
		Scope:    s.Claim.Key,
		Window:   limit.Window.String(),
		Kind:     string(limit.Kind),
		Limit:    policy.Decimal(limit.Limit),
		Spent:    policy.Decimal(seen.Spent),
		Held:     policy.Decimal(seen.Held),
		ResetsAt: resetsAt(seen),
	}
}

// resetsAt is when the window ends; "" if at no fixed time.
func resetsAt(seen budget.Observed) string {
	if seen.Span.End == 0 {
		return ""
	}
	return instant(seen.Span.End)
}
