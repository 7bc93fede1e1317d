package redis_test

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
)

// TestUnknownReply answers every script with something that no script says. It
// must be an error that says that the outcome is unknown, never a grant.
func TestUnknownReply(t *testing.T) {
	const start = "granted 1700000000000 epoch 5 0123456789ab "
	for _, reply := range []string{
		"", " ", "granted", "surprise 1700000000000 epoch 5 0123456789ab", "granted now epoch 5 0123456789ab", "OK",
		start, start + "4", start + "4 1 2 0 0 0", start + "4 1 2 0 0 0 0 9", start + "4 1 2 0 0 0 1e+15",
		start + "4 1 2 0 1 0 0 0 0", start + "4 1 2 0 1 0 0 0 0 usd", start + "4 1 2 0 1 0 0 0 0 =usd =eur",
		"denied 1700000000000 epoch 5 0123456789ab 0 0 0 0 because", "denied 1700000000000 epoch 5 0123456789ab",
		"closed 1700000000000 epoch 5 0123456789ab settle 4", "closed 1700000000000 epoch 5 0123456789ab settle 4 1 1 1",
		"killed 1700000000000 epoch 5 0123456789ab", "killed 1700000000000 epoch 5 0123456789ab tenant 4", "killed 1700000000000 epoch 5 0123456789ab tenant 4 now",
		"thrown 1700000000000 epoch 5 0123456789ab", "thrown 1700000000000 epoch 5 0123456789ab 4 1 1", "lifted 1700000000000 epoch 5 0123456789ab 4",
		"balances 1700000000000 epoch 5 0123456789ab 1 2 tenant 4 1", "balances 1700000000000 epoch 5 0123456789ab 1 1001",
		"closed 1700000000000 epoch 5 0123456789ab settle 4 1 1 1 0 7",
		"renewed 1700000000000 epoch 5 ab 1700000000001", "clock 1700000000000 epoch 5 0123456789ab",
		"renewed 1700000000000 epoch 5 0123456789ab", "swept 1700000000000 epoch 5 0123456789ab", "balances 1700000000000 epoch 5 0123456789ab 1 2",
	} {
		l := openFake(t, func(c *server.Peer) { c.WriteBulk(reply) })
		wantAllUnavailable(t, l)
	}
	for _, write := range []func(c *server.Peer){
		func(c *server.Peer) { c.WriteInt(1) },
		func(c *server.Peer) { c.WriteNull() },
		func(c *server.Peer) { c.WriteLen(0) },
		func(c *server.Peer) { c.WriteLen(1); c.WriteInt(7) },
		func(c *server.Peer) {
			c.WriteStrings([]string{"swept 1700000000000 epoch 5 0123456789ab 0", "1 grant"})
		},
		func(c *server.Peer) { c.WriteError("ERR user_script:7: attempt to index a nil value") },
	} {
		wantAllUnavailable(t, openFake(t, write))
	}
}

// openFake opens a ledger on a server that answers scripts as it is told. It is
// miniredis, which formats numbers unlike Redis and knows no script flags, so it
// only stands in for a server gone wrong.
func openFake(t *testing.T, answer func(c *server.Peer)) *redis.Ledger {
	t.Helper()
	fake := miniredis.RunT(t)
	fake.Server().SetPreHook(func(c *server.Peer, command string, args ...string) bool {
		if !strings.HasPrefix(command, "EVAL") {
			return false
		}
		if args[1] == "0" { // no keys: the script that Ready runs
			c.WriteLen(0)
			return true
		}
		answer(c)
		return true
	})
	return openWith(t, redis.Config{URL: "redis://" + fake.Addr(), AcceptDurability: true})
}

func wantAllUnavailable(t *testing.T, l *redis.Ledger) {
	t.Helper()
	lease := budget.LeaseRef{Tenant: "t", Lease: "a"}
	_, err := l.Reserve(t.Context(), reservation("t", "a", usd(1, 1)))
	wantError(t, err, budget.ErrUnavailable)
	_, err = l.Renew(t.Context(), lease, budget.OverdueAfter)
	wantError(t, err, budget.ErrUnavailable)
	_, err = l.Settle(t.Context(), lease, budget.Actual{Cost: 1})
	wantError(t, err, budget.ErrUnavailable)
	_, err = l.Release(t.Context(), lease)
	wantError(t, err, budget.ErrUnavailable)
	_, err = l.Sweep(t.Context(), "t")
	wantError(t, err, budget.ErrUnavailable)
	_, err = l.Balances(t.Context(), "t", []budget.Claim{usd(0, 0)})
	wantError(t, err, budget.ErrUnavailable)
	_, err = l.Throw(t.Context(), "t", "tenant")
	wantError(t, err, budget.ErrUnavailable)
	_, err = l.Lift(t.Context(), "t", "tenant", 0)
	wantError(t, err, budget.ErrUnavailable)
}
