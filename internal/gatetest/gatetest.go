// Package gatetest is what tests of whatever is built over a gate ask of it afterwards: its
// receipts, a replay of them, and balances. Its functions end the test where there is no
// answer.
package gatetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Receipts are those of one kind in a log's directory, up to a line that is being written.
func Receipts[B audit.Body](t testing.TB, dir string) (list []B) {
	t.Helper()
	for r, err := range audit.Read(sources(t, dir)...) {
		if _, torn := errors.AsType[*audit.LineError](err); torn {
			return list
		}
		must(t, err)
		if body, ok := r.Body.(B); ok {
			list = append(list, body)
		}
	}
	return list
}

// Replay makes the decisions and charges of a log's directory again, under one policy.
func Replay(t testing.TB, dir string, p *policy.Policy) gate.ReplayReport {
	t.Helper()
	rules, err := gate.NewRules(p)
	must(t, err)
	replayer := gate.NewReplayer(rules)
	for r, err := range audit.Merge(sources(t, dir)...) {
		must(t, err)
		replayer.Add(r)
	}
	return replayer.Close()
}

// Balance is what the first budget of the tenant acme has spent and holds, of those that
// concern no run and no end user.
func Balance(t testing.TB, ledger budget.Keeper, p *policy.Policy) (spent, held int64) {
	t.Helper()
	claims := policy.ClaimsOf(p.Tenant("acme").Standings(policy.Scope{}, time.Now()))
	b, err := ledger.Balances(context.Background(), "acme", claims)
	must(t, err)
	return b.Observed[0].Spent, b.Observed[0].Held
}

func sources(t testing.TB, dir string) []audit.Source {
	t.Helper()
	list, err := audit.Files(dir)
	must(t, err)
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
