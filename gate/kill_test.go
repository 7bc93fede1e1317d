package gate_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func (w *world) throw(tenant, name string) {
	w.t.Helper()
	if _, err := w.real.Throw(context.Background(), tenant, name); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) lift(tenant, name string) {
	w.t.Helper()
	if _, err := w.real.Lift(context.Background(), tenant, name, 0); err != nil {
		w.t.Fatal(err)
	}
}

// inRun is a call of a run.
func (w *world) inRun(run string) gate.Bid {
	c := w.call(10, 10)
	c.Facts.Run = call.HashName(run)
	return c
}

// TestKillSwitch: each switch stops the calls that it names, whatever the mode,
// and they go on when it is lifted.
func TestKillSwitch(t *testing.T) {
	for _, row := range []struct {
		name, kind string
		others     bool // calls of other runs are stopped too
	}{
		{budget.GlobalSwitch, "global", true},
		{policy.TenantSwitch, "tenant", true},
		{policy.KeySwitch("acme-1"), "key", true},
		{policy.RunSwitch("r1"), "run", false},
	} {
		for _, mode := range []string{"enforce", "observe"} {
			t.Run(row.kind+" "+mode, func(t *testing.T) {
				w := newWorld(t, daily(1000)+"\nmode: "+mode)
				w.throw("acme", policy.KeySwitch("acme-2"))
				w.begin(w.inRun("r1")).End(gate.Outcome{})
				w.throw("acme", row.name)
				refusal := w.refused(w.inRun("r1"), policy.Killed)
				if want := "requests are stopped by an operator's kill switch (" + row.kind + ")"; refusal.Message != want {
					t.Errorf("message is %q, want %q", refusal.Message, want)
				}
				if row.others {
					w.refused(w.inRun("r2"), policy.Killed)
				} else {
					w.begin(w.inRun("r2")).End(gate.Outcome{})
				}
				w.mustBalance(0, 0)
				w.lift("acme", row.name)
				w.begin(w.inRun("r1")).End(gate.Outcome{})
			})
		}
	}
}

// TestKilledReceipt: the receipt of a denial by a switch says so, and which of
// the tenant's events it saw.
func TestKilledReceipt(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.throw("acme", policy.TenantSwitch)
	refusal := w.refused(w.call(10, 10), policy.Killed)
	decisions := bodies[audit.Decision](w.receipts())
	if len(decisions) != 1 {
		t.Fatalf("%d decisions", len(decisions))
	}
	d := decisions[0]
	if d.Verdict != audit.Deny || !slices.Equal(d.Reasons, []string{"killed"}) || d.Claims != nil || d.Lease != "" {
		t.Errorf("decision is %+v", d)
	}
	b, err := w.real.Balances(t.Context(), "acme", nil)
	if err != nil || d.Event != b.Number || d.Epoch != b.Epoch || refusal.Receipt == "" {
		t.Errorf("it saw event %d of %s, the ledger is at %d of %s (%v)", d.Event, d.Epoch, b.Number, b.Epoch, err)
	}
}

// TestKillSwitchReachesTheLine: a call that waits for room is denied when its
// switch is thrown.
func TestKillSwitchReachesTheLine(t *testing.T) {
	w := newWorldAt(t, daily(30)+"\nwhen_held: wait\nwait_limit: 1m", new(clock))
	holder := w.begin(w.call(10, 10))
	denied := make(chan error, 1)
	go func() {
		_, err := w.gate.Begin(context.Background(), w.call(10, 10))
		denied <- err
	}()
	w.throw("acme", policy.TenantSwitch)
	refusal, ok := errors.AsType[*call.Denial](<-denied)
	if !ok || refusal.Reason != policy.Killed {
		t.Errorf("refused with %v", refusal)
	}
	holder.End(gate.Outcome{})
}

// TestCutKilled: with on_kill: cut a call in flight is cut once a switch of its
// own is thrown, and only once.
func TestCutKilled(t *testing.T) {
	w := newWorld(t, daily(1000)+"\non_kill: cut")
	var cut []string
	first, second, ended := w.begin(w.inRun("r1")), w.begin(w.inRun("r2")), w.begin(w.inRun("r1"))
	first.OnKill(func(name string) { cut = append(cut, "first by "+name) })
	second.OnKill(func(name string) { cut = append(cut, "second by "+name) })
	ended.OnKill(func(string) { t.Error("a call that has ended was cut") })
	ended.End(gate.Outcome{})

	w.gate.CutKilled(t.Context())
	w.throw("acme", policy.KeySwitch("acme-2"))
	w.throw("acme", policy.RunSwitch("r1"))
	for range 2 {
		w.gate.CutKilled(t.Context())
	}
	w.throw("acme", policy.TenantSwitch)
	w.throw("acme", budget.GlobalSwitch)
	w.gate.CutKilled(t.Context())
	if want := []string{"first by " + policy.RunSwitch("r1"), "second by global"}; !slices.Equal(cut, want) {
		t.Errorf("cut %q, want %q", cut, want)
	}
	first.End(gate.Outcome{})
	second.End(gate.Outcome{})
}

// TestFinishKilled: by default calls in flight are left alone.
func TestFinishKilled(t *testing.T) {
	w := newWorld(t, daily(1000))
	grant := w.begin(w.call(10, 10))
	grant.OnKill(func(string) { t.Error("cut") })
	w.throw("acme", policy.TenantSwitch)
	w.gate.CutKilled(t.Context())
	grant.End(used(10, 5))
	w.mustBalance(20, 0)
}

// TestSwitchesAreInTheReceipts: what is thrown survives a restart, and what is
// rebuilt from the receipts has the same switches.
func TestSwitchesAreInTheReceipts(t *testing.T) {
	w := newWorld(t, daily(1000))
	if err := w.real.Provision(t.Context(), budget.EveryTenant); err != nil {
		t.Fatal(err)
	}
	w.throw(budget.EveryTenant, budget.GlobalSwitch)
	w.throw(budget.EveryTenant, budget.GlobalSwitch) // anew
	w.throw("acme", policy.TenantSwitch)
	w.throw("acme", policy.KeySwitch("acme-1"))
	w.lift("acme", policy.TenantSwitch)
	w.restart()
	w.refused(w.call(10, 10), policy.Killed)
	for _, tenant := range []string{"acme", budget.EveryTenant} {
		if err := w.upkeep().Sweep(t.Context(), tenant); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, e := range bodies[audit.Event](w.receipts()) {
		if e.Switch != "" {
			names = append(names, e.Tenant+" "+e.Name+" "+e.Switch)
		}
	}
	if want := []string{"acme kill tenant", "acme kill key:acme-1", "acme lift tenant", "* kill global", "* kill global"}; !slices.Equal(names, want) {
		t.Errorf("receipts of %q, want %q", names, want)
	}
	w.sameSwitches()
}

// sameSwitches compares every tenant's switches with those that the receipts
// give.
func (w *world) sameSwitches() {
	w.t.Helper()
	sources, err := audit.Files(w.dir + "/receipts")
	if err != nil {
		w.t.Fatal(err)
	}
	states, err := rebuild(audit.Read(sources...))
	if err != nil || len(states) != 2 {
		w.t.Fatalf("%d tenants: %v", len(states), err)
	}
	for _, state := range states {
		b, err := w.real.Balances(context.Background(), state.Tenant, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		if got := state.Snapshot().Switches; !reflect.DeepEqual(got, b.Switches) {
			w.t.Errorf("tenant %s: the receipts give %+v, the ledger has %+v", state.Tenant, got, b.Switches)
		}
	}
}

// TestGlobalSwitchFindsLatecomers: a tenant that came to be without the global
// switch, while that was thrown, gets it from the upkeep; none does once it is
// lifted.
func TestGlobalSwitchFindsLatecomers(t *testing.T) {
	w := newWorldAt(t, daily(1000), new(clock))
	if err := w.real.Provision(t.Context(), budget.EveryTenant); err != nil {
		t.Fatal(err)
	}
	w.throw(budget.EveryTenant, budget.GlobalSwitch)
	w.begin(w.call(10, 10)).End(gate.Outcome{})
	upkeep := w.upkeep()
	upkeep.Tenants = func() []string { return []string{"acme", "not-provisioned"} }
	upkeep.Active = func() []string { return nil }
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); upkeep.Run(ctx) }()
	for end := time.Now().Add(20 * time.Second); !w.stopped("acme") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	w.refused(w.call(10, 10), policy.Killed)
	stop()
	<-done
}

// TestGlobalSwitchLeavesNobodyStopped: a tenant that kept the global switch,
// because the replica that lifted it did not know the tenant, goes on with the
// upkeep; what else stops it stays. Without a record of what holds for all it
// keeps the switch.
func TestGlobalSwitchLeavesNobodyStopped(t *testing.T) {
	w := newWorld(t, daily(1000))
	u, turn := w.upkeep(), []string{"not-provisioned", "acme"}
	w.throw("acme", budget.GlobalSwitch)
	u.FollowForAll(t.Context(), nil, turn)
	w.refused(w.call(10, 10), policy.Killed)

	if err := w.real.Provision(t.Context(), budget.EveryTenant); err != nil {
		t.Fatal(err)
	}
	w.throw(budget.EveryTenant, budget.GlobalSwitch)
	u.FollowForAll(t.Context(), nil, turn)
	w.refused(w.call(10, 10), policy.Killed)

	w.lift(budget.EveryTenant, budget.GlobalSwitch)
	w.throw("acme", policy.RunSwitch("r1"))
	u.FollowForAll(t.Context(), nil, turn)
	w.begin(w.call(10, 10)).End(gate.Outcome{})
	w.refused(w.inRun("r1"), policy.Killed)

	before := w.events()
	u.FollowForAll(t.Context(), turn, turn)
	if after := w.events(); after != before {
		t.Errorf("a tenant in line took %d events", after-before)
	}
}

func (w *world) events() int64 {
	w.t.Helper()
	b, err := w.real.Balances(context.Background(), "acme", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return b.Number
}

// TestReplicasFollow: one replica throws and lifts for all without knowing the
// tenant; those that know it, however many, stop it and let it go on.
func TestReplicasFollow(t *testing.T) {
	url := redistest.Start(t).URL()
	operator, knowing := newReplica(t, url), []*replica{newReplica(t, url), newReplica(t, url)}
	if err := operator.ledger.Provision(t.Context(), budget.EveryTenant, "acme"); err != nil {
		t.Fatal(err)
	}
	follow := func() {
		var all sync.WaitGroup
		for _, r := range knowing {
			all.Go(func() { r.upkeep().FollowForAll(t.Context(), []string{"acme"}, nil) })
			all.Go(func() { r.upkeep().FollowForAll(t.Context(), nil, []string{"acme"}) })
		}
		all.Wait()
	}
	for range 10 {
		if _, err := operator.ledger.Throw(t.Context(), budget.EveryTenant, budget.GlobalSwitch); err != nil {
			t.Fatal(err)
		}
		follow()
		operator.wantSwitches(t, 1)
		if _, err := operator.ledger.Lift(t.Context(), budget.EveryTenant, budget.GlobalSwitch, 0); err != nil {
			t.Fatal(err)
		}
		follow()
		operator.wantSwitches(t, 0)
	}
	for _, r := range append(knowing, operator) {
		r.close(t)
		if err := r.ledger.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// wantSwitches fails the test unless as many are thrown at the tenant acme.
func (r *replica) wantSwitches(t *testing.T, want int) {
	t.Helper()
	b, err := r.ledger.Balances(t.Context(), "acme", nil)
	if err != nil || len(b.Switches) != want {
		t.Fatalf("thrown: %+v (%v), want %d", b.Switches, err, want)
	}
}

func (w *world) stopped(tenant string) bool {
	b, err := w.real.Balances(context.Background(), tenant, nil)
	return err == nil && len(b.Switches) == 1 && b.Switches[0].Name == budget.GlobalSwitch
}
