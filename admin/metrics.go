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

	holding sync.Mutex
	holds   map[string]int64 // nano-USD, by tenant
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
		holds:   map[string]int64{},
	}
	m.Registry.MustRegister(m.requests, m.spend, m.used, m.held, m.leases, m.ledger, m.tenants, m.log, m.added,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Clock shows how far the wall clock is ahead of the ledger's.
func (m *Metrics) Clock(ahead func() time.Duration) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "aegis_clock_ahead_seconds", Help: "How far the wall clock is ahead of the ledger's clock.",
	}, func() float64 { return ahead().Seconds() }))
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
	m.requests.WithLabelValues(tenant, verdict, reason).Inc()
}

// Held follows what is held. The sum is one of integers: floats that are added and
// taken away again do not come back to zero.
func (m *Metrics) Held(tenant string, nano int64, leases int) {
	m.holding.Lock()
	defer m.holding.Unlock()
	m.holds[tenant] += nano
	m.held.WithLabelValues(tenant).Set(usd(m.holds[tenant]))
	m.leases.WithLabelValues(tenant).Add(float64(leases))
}

// Charged counts a settlement.
func (m *Metrics) Charged(tenant, _ string, nano int64, u call.Usage) {
	m.spend.WithLabelValues(tenant).Add(usd(nano))
	for unit, n := range u {
		if n > 0 {
			m.used.WithLabelValues(tenant, call.Unit(unit).String()).Add(float64(n))
		}
	}
}

// Ledger times a verb.
func (m *Metrics) Ledger(verb string, took time.Duration) {
	m.ledger.WithLabelValues(verb).Observe(took.Seconds())
}

// Log times a durable receipt.
func (m *Metrics) Log(took time.Duration) { m.log.Observe(took.Seconds()) }

// Rejected counts a request that was answered before it reached the gate, by
// the error code that it got.
func (m *Metrics) Rejected(code string) {
	m.requests.WithLabelValues("", "reject", code).Inc()
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
