package admin

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Metrics counts what the gate and the proxy do, for Prometheus. Tenants are
// labels, models are not: their names come from clients and have no bound.
type Metrics struct {
	Registry *prometheus.Registry

	requests *prometheus.CounterVec
	spend    *prometheus.CounterVec
	used     *prometheus.CounterVec
	held     *prometheus.GaugeVec
	leases   *prometheus.GaugeVec
	ledger   *prometheus.HistogramVec
	tenants  *prometheus.GaugeVec
	log      prometheus.Histogram
	added    prometheus.Histogram

	// To find a label's metric anew each time takes longer than to count.
	decisions cached[decision, prometheus.Counter]
	byTenant  cached[string, *ofTenant]
	byVerb    cached[string, prometheus.Observer]
}

// decision is what requests are counted by.
type decision struct{ tenant, verdict, reason string }

// ofTenant are the metrics that have a tenant alone for a label.
type ofTenant struct {
	held, leases prometheus.Gauge
	spend        prometheus.Counter
	used         cached[call.Unit, prometheus.Counter]

	mu    sync.Mutex
	holds int64 // nano-USD
}

// cached makes a value for each key once.
type cached[K comparable, V any] struct {
	make func(K) V
	mu   sync.RWMutex
	all  map[K]V
}

func (c *cached[K, V]) of(key K) V {
	c.mu.RLock()
	value, known := c.all[key]
	c.mu.RUnlock()
	if known {
		return value
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if value, known = c.all[key]; known {
		return value
	}
	if c.all == nil {
		c.all = map[K]V{}
	}
	value = c.make(key)
	c.all[key] = value
	return value
}

// latencies are the histogram bounds in seconds, from 50 us to 5 s.
var latencies = []float64{50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.1, 0.5, 1, 5}

// NewMetrics returns metrics in a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		requests: counter("aegis_requests_total", "Requests by decision and reason.", "tenant", "decision", "reason"),
		spend:    counter("aegis_spend_usd_total", "Settled cost in USD.", "tenant"),
		used:     counter("aegis_used_total", "What upstreams reported, by unit: tokens, milliseconds, searches.", "tenant", "unit"),
		held:     gauge("aegis_held_usd", "Held for requests in flight on this replica, in USD.", "tenant"),
		leases:   gauge("aegis_open_leases", "Leases open on this replica.", "tenant"),
		ledger: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "aegis_ledger_seconds", Help: "Time of one ledger verb.", Buckets: latencies,
		}, []string{"verb"}),
		tenants: gauge("aegis_tenant_info", "1 for each tenant, with its labels in the policy.", "tenant", "project", "environment"),
		log:     histogram("aegis_receipt_seconds", "Time until a receipt was durable."),
		added:   histogram("aegis_added_seconds", "Time between a request's arrival and its departure upstream."),
	}
	m.decisions.make = func(d decision) prometheus.Counter {
		return m.requests.WithLabelValues(d.tenant, d.verdict, d.reason)
	}
	m.byTenant.make = m.newTenant
	m.byVerb.make = func(verb string) prometheus.Observer { return m.ledger.WithLabelValues(verb) }
	m.Registry.MustRegister(m.requests, m.spend, m.used, m.held, m.leases, m.ledger, m.tenants, m.log, m.added,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) newTenant(tenant string) *ofTenant {
	t := &ofTenant{
		held: m.held.WithLabelValues(tenant), leases: m.leases.WithLabelValues(tenant), spend: m.spend.WithLabelValues(tenant),
	}
	t.used.make = func(u call.Unit) prometheus.Counter { return m.used.WithLabelValues(tenant, u.String()) }
	return t
}

// Clock shows how far the wall clock is ahead of the ledger's.
func (m *Metrics) Clock(ahead func() time.Duration) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "aegis_clock_ahead_seconds", Help: "How far the wall clock is ahead of the ledger's clock.",
	}, func() float64 { return ahead().Seconds() }))
}

// Prices shows whether the price file was changed to something that is not in force.
func (m *Metrics) Prices(refused func() bool) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "aegis_prices_refused", Help: "Whether the price file is not in force: 1 where it is no table or has a price that leaps unconfirmed.",
	}, func() float64 {
		if refused() {
			return 1
		}
		return 0
	}))
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencies})
}

// usd converts for display. Money itself never is a float.
func usd(nano int64) float64 { return float64(nano) / 1e9 }

// Decided counts a decision.
func (m *Metrics) Decided(tenant, verdict, reason string) {
	m.decisions.of(decision{tenant, verdict, reason}).Inc()
}

// Held follows what is held. The sum is one of integers: floats that are added and
// taken away again do not come back to zero.
func (m *Metrics) Held(tenant string, nano int64, leases int) {
	t := m.byTenant.of(tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holds += nano
	t.held.Set(usd(t.holds))
	t.leases.Add(float64(leases))
}

// Charged counts a settlement.
func (m *Metrics) Charged(tenant, _ string, nano int64, u call.Usage) {
	t := m.byTenant.of(tenant)
	t.spend.Add(usd(nano))
	for unit, n := range u {
		if n > 0 {
			t.used.of(call.Unit(unit)).Add(float64(n))
		}
	}
}

// Ledger times a verb.
func (m *Metrics) Ledger(verb string, took time.Duration) {
	m.byVerb.of(verb).Observe(took.Seconds())
}

// Log times a durable receipt.
func (m *Metrics) Log(took time.Duration) { m.log.Observe(took.Seconds()) }

// Rejected counts a request that was answered before it reached the gate, by
// the error code that it got.
func (m *Metrics) Rejected(code string) {
	m.decisions.of(decision{"", "reject", code}).Inc()
}

// Tenants says which project and environment each tenant belongs to.
func (m *Metrics) Tenants(list []*policy.Tenant) {
	m.tenants.Reset()
	for _, t := range list {
		m.tenants.WithLabelValues(t.Name, t.Project, t.Environment).Set(1)
	}
}

// Added times what the proxy puts before a request's departure.
func (m *Metrics) Added(took time.Duration) { m.added.Observe(took.Seconds()) }
