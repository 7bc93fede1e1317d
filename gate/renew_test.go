package gate_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// TestLeaseIsRenewedUntilEnd runs a call for ten minutes of bubble time, through
// a ledger that now and then does not answer a renewal.
func TestLeaseIsRenewedUntilEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, daily(1000), &clock{})
		grant := w.begin(w.call(100, 50))
		for i := range 10 {
			if i == 5 {
				w.ledger.fail("renew", fault{err: budget.ErrUnavailable})
				time.Sleep(gate.LeaseTTL / 2) // most of what is left of it
				w.ledger.heal()
			}
			time.Sleep(time.Minute)
			if err := w.upkeep().Sweep(context.Background(), "acme"); err != nil {
				t.Fatal(err)
			}
			w.mustBalance(0, 200)
		}
		grant.End(used(90, 10))
		w.mustBalance(110, 0)
		renewals := w.ledger.count("renew")
		time.Sleep(time.Minute)
		if n := w.ledger.count("renew"); n != renewals || renewals < 60 {
			t.Errorf("%d renewals, %d of them after the end", n, n-renewals)
		}
	})
}

// TestExpiredLeaseIsNotRenewed: the ledger was away for longer than a lease
// lives. What was charged then is corrected at the end.
func TestExpiredLeaseIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, daily(1000), &clock{})
		grant := w.begin(w.call(100, 50))
		w.ledger.fail("renew", fault{err: budget.ErrUnavailable})
		time.Sleep(2 * gate.LeaseTTL)
		w.ledger.heal()
		if err := w.upkeep().Sweep(context.Background(), "acme"); err != nil {
			t.Fatal(err)
		}
		w.mustBalance(200, 0)
		time.Sleep(time.Minute)
		tries := w.ledger.count("renew")
		time.Sleep(time.Minute)
		if n := w.ledger.count("renew"); n != tries {
			t.Errorf("renewed %d times more", n-tries)
		}
		grant.End(used(90, 10))
		w.mustBalance(110, 0)
	})
}
