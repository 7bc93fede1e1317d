package embedded_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
)

// TestAcknowledged is the newest event with a receipt, in whatever order the
// receipts come, and after a restart.
func TestAcknowledged(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		config := embedded.WithoutSync(embedded.Config{Dir: t.TempDir(), Now: newClock().now})
		l := open(t, config)
		defer func() { l.Close() }()
		must(t, l.Provision(t.Context(), "t"))
		events := rapid.IntRange(1, 30).Draw(rt, "events") + 2 // after provision and policy
		for i := range events - 2 {
			_, err := l.Reserve(t.Context(), budget.Reservation{
				Tenant: "t", Lease: fmt.Sprint("l", i), TTL: time.Minute,
				Policy: budget.PolicyVersion{Generation: 1, Hash: "abc"},
			})
			must(t, err)
		}
		newest := int64(0)
		for _, n := range rapid.SliceOfN(rapid.Int64Range(1, int64(events)), 0, 40).Draw(rt, "receipts") {
			l.Acknowledge("t", n)
			newest = max(newest, n)
			if _, got, err := l.Acknowledged("t"); err != nil || got != newest {
				rt.Fatalf("after a receipt of %d: %d, %v, want %d", n, got, err, newest)
			}
		}
		must(t, l.Close())
		l = open(t, config)
		epoch, got, err := l.Acknowledged("t")
		if err != nil || got != newest || epoch == "" {
			rt.Fatalf("after a restart: %d of epoch %q, %v, want %d", got, epoch, err, newest)
		}
	})
}
