package gate_test

import (
	"fmt"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// severally has every denial of a history stand for five, and stand where its
// receipt is written then: a second of ledger time later.
func severally(history []audit.Receipt) []audit.Receipt {
	var list []audit.Receipt
	var late []audit.Decision
	write := func(now int64) {
		for len(late) > 0 && late[0].Denials.Until < now {
			list, late = append(list, audit.Receipt{Body: late[0]}), late[1:]
		}
	}
	for _, r := range history {
		write(instant(r))
		if d, ok := r.Body.(audit.Decision); ok && d.Verdict == audit.Deny {
			d.Denials = audit.Denials{ID: audit.NewDenialsID(), Count: 5, Until: d.At + 999}
			late = append(late, d)
			continue
		}
		list = append(list, r)
	}
	write(1 << 62)
	return list
}

// TestReplayOfSeveralDenials: the first of them is made again as any denial is, for
// whatever reason, and the others are counted.
func TestReplayOfSeveralDenials(t *testing.T) {
	s := newStory(t)
	honest := spoken(s.receipts())
	single := replayDirs(t, s.rules, retell(t, honest))
	dir := retell(t, severally(honest))
	mustBeSound(t, dir)
	several := replayDirs(t, s.rules, dir)
	if !several.OK() || len(several.Denied) < 10 {
		t.Fatalf("findings %v, unchecked %v", several.Findings, several.Unchecked)
	}
	denied := int64(0)
	for reason, n := range single.Denied {
		denied += n
		if got := several.Denied[reason]; got != 5*n {
			t.Errorf("%d denied for %s, want %d", got, reason, 5*n)
		}
	}
	if several.Counted != 4*denied || several.Told != single.Told || several.Receipts != single.Receipts {
		t.Errorf("%d counted, %d told, %d receipts; single: %d denied, %d told, %d receipts",
			several.Counted, several.Told, several.Receipts, denied, single.Told, single.Receipts)
	}
	compareBalances(t, several.Tenants[0].State, s.real, s.key().Tenant, s.clock.Now())
	for _, row := range []struct {
		name   string
		fault  gate.Fault
		change func(*audit.Decision)
	}{
		{"for another reason", gate.WrongDenial, func(d *audit.Decision) { d.Reasons = []string{"budget_exhausted"} }},
		{"that saw more", gate.WrongSeen, func(d *audit.Decision) { reclaim(d, func(c *audit.Claim) { c.Held++ }) }},
		{"at another cost", gate.WrongPrice, func(d *audit.Decision) { d.Facts.Cost++ }},
	} {
		t.Run(row.name, func(t *testing.T) {
			altered := alter(deniedFor(policy.BudgetHeld), row.change)(t, severally(honest))
			report := replayDirs(t, s.rules, retell(t, altered))
			if report.Faults != 1 || report.Findings[0].Fault != row.fault {
				t.Errorf("found %v, want %s", report.Findings, row.fault)
			}
		})
	}
}

// TestSeveralDenialsMoveNoBalance: receipts with counts rebuild the same ledger, and
// export the same state and decisions, those of the first of each kind.
func TestSeveralDenialsMoveNoBalance(t *testing.T) {
	s := newStory(t)
	honest := spoken(s.receipts())
	dirs := []string{retell(t, honest), retell(t, severally(honest))}
	authority, _ := newAuthority(t)
	var rebuilt []string
	for i, dir := range dirs {
		states, err := rebuild(merged(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		rebuilt = append(rebuilt, fmt.Sprintf("%+v", states[0].Snapshot()))
		e, err := exported(t, gate.ExportConfig{Tenant: "acme", Rules: s.rules[0], Authority: authority}, merged(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		verdicts := texts(mustVerifyEnvelope(t, e.Envelope, s.rules[0].Policy.Version.Hash), oxdeai.DecisionMade, "decision")
		denied := 0
		for _, v := range verdicts {
			if v == string(oxdeai.Deny) {
				denied++
			}
		}
		if e.Counted != int64(4*i*denied) || denied < 5 {
			t.Errorf("%d counted beside %d denials", e.Counted, denied)
		}
	}
	if rebuilt[0] != rebuilt[1] {
		t.Errorf("rebuilt\n%s\nwith counts\n%s", rebuilt[0], rebuilt[1])
	}
}
