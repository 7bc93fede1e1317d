package gate

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// Telemetry is told what a gate does. Its methods must not block. Nothing it
// does can change a verdict.
type Telemetry interface {
	// Decided is told once for each call. The reason of an allowed one is "".
	Decided(tenant, verdict, reason string)
	// Held is told of every change of what is held, in nano-USD, with +1 for
	// a lease begun and -1 for one ended.
	Held(tenant string, nano int64, leases int)
	// Charged is told of every settlement.
	Charged(tenant, model string, nano int64, usage pricing.Usage)
	// Ledger and Log are told how long one verb and one durable record took.
	Ledger(verb string, took time.Duration)
	Log(took time.Duration)
	// Tenants is told those of each policy that comes into force.
	Tenants(list []*policy.Tenant)
}

// NoTelemetry ignores everything.
type NoTelemetry struct{}

func (NoTelemetry) Decided(_, _, _ string)                        {}
func (NoTelemetry) Held(_ string, _ int64, _ int)                 {}
func (NoTelemetry) Charged(_, _ string, _ int64, _ pricing.Usage) {}
func (NoTelemetry) Ledger(_ string, _ time.Duration)              {}
func (NoTelemetry) Log(_ time.Duration)                           {}
func (NoTelemetry) Tenants(_ []*policy.Tenant)                    {}
