package gate_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestServes: a gate finds by itself which of the policy's tenants its ledger lacks,
// and that they have come.
func TestServes(t *testing.T) {
	p := newParts(t)
	p.must(p.config.Ledger.Close())
	text := fmt.Sprintf(policyText, 1, strings.Repeat("ab", 32), "  - name: other\n    keys: [{id: other-1, sha256: \""+strings.Repeat("cd", 32)+"\"}]")
	both, err := policy.Parse("policy.yaml", []byte(text))
	p.must(err)
	ledger, err := redis.Open(t.Context(), redis.Config{URL: redistest.Start(t).URL()})
	p.must(err)
	p.config.Policy, p.config.Ledger = both, ledger
	g, err := gate.Open(t.Context(), p.config)
	p.must(err)
	defer g.Close()

	awaitServes(t, g, "none is there", func(err error) bool {
		return errors.Is(err, budget.ErrLost) && strings.Contains(err.Error(), "provision")
	})
	p.must(ledger.Provision(t.Context(), "acme"))
	awaitServes(t, g, "one is there", func(err error) bool {
		return errors.Is(err, budget.ErrPartly) && strings.Contains(err.Error(), `1 of 2`) && strings.Contains(err.Error(), `"other"`)
	})
	p.must(ledger.Provision(t.Context(), "other"))
	awaitServes(t, g, "both are there", func(err error) bool { return err == nil })
}

// awaitServes asks until the answer is the one that is wanted.
func awaitServes(t *testing.T, g *gate.Gate, name string, wanted func(error) bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !wanted(g.Serves()) {
		runtime.Gosched()
		if time.Now().After(deadline) {
			t.Fatalf("%s, and the gate says %v", name, g.Serves())
		}
	}
}

// downFor is a ledger that does not reach some tenants.
type downFor struct {
	gate.Ledger
	down  map[string]error
	swept []string
}

func (d *downFor) Sweep(_ context.Context, tenant string) ([]budget.Event, error) {
	d.swept = append(d.swept, tenant)
	return nil, d.down[tenant]
}

// TestSweepsGoOnPastADeadMaster: tenants of other masters are swept, and nobody is
// asked on who may be slow to answer.
func TestSweepsGoOnPastADeadMaster(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want string
	}{
		{"refused at once", budget.ErrUnreachable, "[a b c]"},
		{"sent, and no answer", budget.ErrUnavailable, "[a b]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, daily(1000))
			u := w.upkeep()
			ledger := &downFor{Ledger: w.real, down: map[string]error{"b": row.err}}
			u.Keeper = ledger
			u.SweepAll(t.Context(), []string{"a", "b", "c"})
			if got := fmt.Sprint(ledger.swept); got != row.want {
				t.Errorf("swept %s, want %s", got, row.want)
			}
		})
	}
}
