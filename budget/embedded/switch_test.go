package embedded_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
)

// TestTornBirth: a tenant that is to be born stopped, and of which a crash left
// the first event alone, is stopped once it is provisioned again.
func TestTornBirth(t *testing.T) {
	dir := t.TempDir()
	first := open(t, embedded.Config{Dir: dir})
	must(t, first.Provision(t.Context(), budget.EveryTenant))
	_, err := first.Throw(t.Context(), budget.EveryTenant, budget.GlobalSwitch)
	must(t, err)
	must(t, first.Close())
	journal := filepath.Join(dir, "journal-0000000001")
	before, err := os.ReadFile(journal)
	must(t, err)
	e := budget.Event{Tenant: "t", Epoch: "e1", Number: 1, Kind: budget.Provisioned, At: 1}
	half := embedded.AppendLine(before, embedded.AppendEvent(nil, &e))
	must(t, os.WriteFile(journal, half, 0o600))

	again := open(t, embedded.Config{Dir: dir})
	for range 2 {
		must(t, again.Provision(t.Context(), "t"))
		b, err := again.Balances(t.Context(), "t", nil)
		must(t, err)
		if b.Number != 2 || len(b.Switches) != 1 || b.Switches[0].Name != budget.GlobalSwitch {
			t.Errorf("%+v", b)
		}
	}
}
