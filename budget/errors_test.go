package budget_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// TestErrorsSayOnce that the ledger is unavailable, whatever they wrap.
func TestErrorsSayOnce(t *testing.T) {
	disk := errors.New("no space")
	journal := fmt.Errorf("%w: journal 3: %w", budget.ErrUnavailable, disk)
	const unreachable = "ledger unavailable: cannot be reached: "
	for _, row := range []struct {
		err  error
		want string
	}{
		{budget.Unreachable(disk), unreachable + "no space"},
		{budget.Unreachable(journal), unreachable + "journal 3: no space"},
		{budget.Unreachable(budget.Unreachable(journal)), unreachable + "journal 3: no space"},
		{&budget.Unreplicated{Err: journal}, "ledger unavailable: granted, but what is granted may be lost: journal 3: no space"},
	} {
		if got := row.err.Error(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
		if !errors.Is(row.err, budget.ErrUnavailable) || !errors.Is(row.err, disk) {
			t.Errorf("%v is not what it wraps", row.err)
		}
	}
	if !errors.Is(budget.Unreachable(budget.ErrClock), budget.ErrClock) || !errors.Is(budget.Unreachable(disk), budget.ErrUnreachable) {
		t.Error("the kinds are lost")
	}
}
