package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestSwitches: a request is stopped by the widest switch first, by its run's
// only where it has a run, and the ledger takes every name.
func TestSwitches(t *testing.T) {
	key := tenant(t).Keys[0]
	always := []string{"global", "tenant", "key:acme-1"}
	if got := key.Switches(nil, &call.Facts{}); !slices.Equal(got, always) {
		t.Errorf("without a run: %q", got)
	}
	longest := strings.Repeat("r", 256)
	inRun := key.Switches(nil, &call.Facts{Run: call.HashName(longest)})
	if want := append(always, policy.RunSwitch(longest)); !slices.Equal(inRun, want) {
		t.Errorf("in a run: %q, want %q", inRun, want)
	}
	inRun = append(inRun, policy.KeySwitch(strings.Repeat("k", 64)))
	if len(inRun) > budget.MaxSwitchesPerReserve {
		t.Errorf("%d switches", len(inRun))
	}
	for _, name := range inRun {
		if err := budget.ValidSwitch("acme", name); err != nil {
			t.Error(err)
		}
	}
}

// TestKilledBy names the kind of a switch, never a run's hash or a key's id.
func TestKilledBy(t *testing.T) {
	for name, kind := range map[string]string{
		"global": "global", "tenant": "tenant", policy.KeySwitch("acme-1"): "key", policy.RunSwitch("r1"): "run",
	} {
		d := policy.KilledBy(name)
		if want := "requests are stopped by an operator's kill switch (" + kind + ")"; d.Reason != policy.Killed || d.Message != want {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestOnKill(t *testing.T) {
	for rules, want := range map[string]policy.OnKill{
		"mode: enforce": policy.Finish, "on_kill: finish": policy.Finish, "on_kill: cut": policy.Cut,
	} {
		if got := tenant(t, rules).OnKill; got != want {
			t.Errorf("%s: %q", rules, got)
		}
	}
	_, err := policy.Parse("policy.yaml", []byte(head+tenantText("on_kill: drop")))
	if err == nil || !strings.Contains(err.Error(), `on_kill: "drop" is not known; write finish or cut`) {
		t.Errorf("drop: %v", err)
	}
}
