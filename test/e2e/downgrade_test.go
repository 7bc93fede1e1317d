package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestDowngradeUnderRace: 200 clients ask for a model whose budget fits 20 of their requests. Those that find it
// exhausted get the cheaper model, until its budget, which fits 20 too, is used up to the last.
func TestDowngradeUnderRace(t *testing.T) {
	for _, d := range deployments {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			cheap := fits * bound(t, request{cap: outputCap})
			dear := cheap * 50 / 3 // as their prices are, of input and output alike
			w := newWorld(t, simulator.Config{
				CountPrompt: exactPrompt,
				Script:      simulator.Always(simulator.Answer{Latency: 50 * time.Millisecond}),
			}, downgrading(usd(dear), fmt.Sprintf(`{name: cheap, scope: model, models: gpt-4o-mini, window: forever, limit_usd: "%s"}`, usd(cheap))))
			replicas := d.up(t, w)
			run := &race{run: "race"}
			w.allUntilExhausted(replicas, request{model: "gpt-4o", cap: outputCap}, run)
			models := map[string]int{}
			for _, c := range w.sim.Calls() {
				models[c.Model]++
			}
			if models["gpt-4o"] != fits || models["gpt-4o-mini"] != fits || run.served.Load() != 2*fits {
				t.Errorf("the provider answered %v, clients were served %d; want %d of each", models, run.served.Load(), fits)
			}
			left := replicas[0].balances()
			for name, want := range map[string]int64{"dear": dear, "cheap": cheap} {
				if b := left[name]; b.Spent != policy.Decimal(want) || b.Held != "0.00" {
					t.Errorf("budget %s: spent %s, held %s; want spent %s, held nothing", name, b.Spent, b.Held, policy.Decimal(want))
				}
			}
			for _, r := range replicas {
				r.stop()
			}
			verifyAll(t, replicas)
			w.mustReplay(replicas)
		})
	}
}

// downgrading are rules by which gpt-4o-mini is called where the budget of gpt-4o is exhausted, and more budgets.
func downgrading(limit, more string) string {
	return fmt.Sprintf(`when_exhausted: {use: gpt-4o-mini}
budgets: [{name: dear, scope: model, models: gpt-4o, window: forever, limit_usd: "%s"}, %s]`, limit, more)
}

// mustReplay recomputes everything from the receipts of all replicas.
func (w *world) mustReplay(replicas []*replica) {
	w.t.Helper()
	args := []string{"replay", "--policy", w.policy}
	for _, r := range replicas {
		args = append(args, r.data)
	}
	if out, err := aegis(w.t, args...); err != nil {
		w.t.Errorf("replay: %v\n%s", err, out)
	}
}
