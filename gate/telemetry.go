package gate

import (
	"log/slog"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Telemetry is told what a gate does. Its methods must not block. Nothing it
// does can change a verdict. NoTelemetry, SlogTelemetry and the admin package's
// Prometheus Metrics are some.
type Telemetry interface {
	// Decided is told once for each call. The reason of an allowed one is "".
	Decided(tenant, verdict, reason string)
	// Held is told of every change of what is held, in nano-USD, with +1 for
	// a lease begun and -1 for one ended.
	Held(tenant string, nano int64, leases int)
	// Charged is told of every settlement.
	Charged(tenant, model string, nano int64, usage call.Usage)
	// Ledger and Log are told how long one verb and one durable record took.
	Ledger(verb string, took time.Duration)
	Log(took time.Duration)
	// Tenants is told those of each policy that comes into force.
	Tenants(list []*policy.Tenant)
}

// NoTelemetry ignores everything.
type NoTelemetry struct{}

func (NoTelemetry) Decided(_, _, _ string)                     {}
func (NoTelemetry) Held(_ string, _ int64, _ int)              {}
func (NoTelemetry) Charged(_, _ string, _ int64, _ call.Usage) {}
func (NoTelemetry) Ledger(_ string, _ time.Duration)           {}
func (NoTelemetry) Log(_ time.Duration)                        {}
func (NoTelemetry) Tenants(_ []*policy.Tenant)                 {}

// SlogTelemetry writes a line for each decision and charge at level Info, and
// for the rest at Debug. Amounts are nano-USD.
func SlogTelemetry(logger *slog.Logger) Telemetry { return slogTelemetry{logger} }

type slogTelemetry struct{ *slog.Logger }

func (t slogTelemetry) Decided(tenant, verdict, reason string) {
	t.Info("decided", "tenant", tenant, "verdict", verdict, "reason", reason)
}

func (t slogTelemetry) Held(tenant string, nano int64, leases int) {
	t.Debug("held", "tenant", tenant, "nano_usd", nano, "leases", leases)
}

func (t slogTelemetry) Charged(tenant, model string, nano int64, usage call.Usage) {
	t.Info("charged", "tenant", tenant, "model", model, "nano_usd", nano, "input", usage.InputTokens(), "output", usage.OutputTokens())
}

func (t slogTelemetry) Ledger(verb string, took time.Duration) {
	t.Debug("ledger", "verb", verb, "took", took)
}

func (t slogTelemetry) Log(took time.Duration) { t.Debug("receipt", "took", took) }

func (t slogTelemetry) Tenants(list []*policy.Tenant) {
	t.Info("policy in force", "tenants", len(list))
}
