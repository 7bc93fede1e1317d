package budgettest

import (
	"errors"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"pgregory.net/rapid"
)

// simulateLosses is the simulation of a ledger that loses parts of what it keeps: a
// verb that needs them is refused, and every one after it; one that does not is
// answered as if nothing had gone.
func simulateLosses(t *testing.T, h Harness) {
	if h.Lose == nil {
		t.Skip("the ledger does not keep a tenant in parts that can be lost one by one")
	}
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulation(ctx, t, h)
		steps := s.steps()
		steps["compare"], steps["lose"] = s.compare, s.lose
		t.Repeat(steps)
		s.rest(t)
	})
}

// loss is what a tenant has lost.
type loss struct {
	lost    []string
	refused bool // the ledger has told of it
}

// lose takes a part of a tenant away, once.
func (s *simulation) lose(t *rapid.T) {
	one := s.tenant(t)
	if len(one.lost) > 0 {
		t.Skip("it has lost something already")
	}
	what, err := s.Lose(s.ctx, one.name, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "part") })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s has lost %s", one.name, what)
	one.lost = append(one.lost, what)
}

// tells reports whether the ledger refuses a tenant that has lost something. It goes
// on to refuse it.
func (l *loss) tells(t *rapid.T, verb string, err error) bool {
	t.Helper()
	told := len(l.lost) > 0 && errors.Is(err, budget.ErrLost)
	if l.refused && !told {
		t.Fatalf("%s: %v, although the tenant was refused before", verb, err)
	}
	l.refused = told
	return told
}
