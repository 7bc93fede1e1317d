package redis

import (
	"context"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Client is the connection, to look at keys and to break them.
func (l *Ledger) Client() goredis.UniversalClient { return l.client }

// SetClock sets the clock of tenants, which stands still there until the
// server's own passes it: no tenant's time goes back.
func (l *Ledger) SetClock(ctx context.Context, to time.Time, tenants ...string) error {
	pipe := l.client.Pipeline()
	for _, name := range tenants {
		pipe.HSet(ctx, tenantKey(name), "at", strconv.FormatInt(to.UnixMilli(), 10))
		l.tenant(name)
	}
	l.ExpectClock(to)
	_, err := pipe.Exec(ctx)
	return err
}

// Hasty makes every verb give up at once where the tenant's slot is in motion.
func (l *Ledger) Hasty() { l.hasty = true }

// AskForSlots reads anew which node has which slot.
func (l *Ledger) AskForSlots(ctx context.Context) error { return l.askForSlots(ctx) }

// ErrInMotion is what such a verb fails with.
var ErrInMotion = errInMotion

// SetOwnClock makes the replica's own clock stand still.
func (l *Ledger) SetOwnClock(at time.Time) { l.own.set(at, 0) }

func (c *ownClock) set(wall time.Time, elapsed time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = false
	c.read = func() (time.Time, time.Duration) { return wall, elapsed }
}

// ExpectClock tells the replica what its server's clock shows now, and its own.
func (l *Ledger) ExpectClock(now time.Time) {
	l.SetOwnClock(now)
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, t := range l.tenants {
		t.clock.set(now)
	}
	l.clock.set(now)
}

func (c *clock) set(to time.Time) {
	c.forget()
	c.observe(time.Now(), time.Now(), to.UnixMilli())
}

// Deadline is what a reserve under the context would tell the server.
func (l *Ledger) Deadline(ctx context.Context, tenant string) int64 {
	return l.deadline(ctx, l.tenant(tenant))
}

// Scripts are the verbs and their whole text.
func Scripts() map[string]string {
	all := make(map[string]string)
	for _, s := range []*script{provisionScript, reserveScript, extendScript, renewScript, settleScript,
		releaseScript, sweepScript, balancesScript, restoreScript, throwScript, liftScript} {
		all[s.verb] = s.source
	}
	return all
}

// FillIn writes the values of constants in the place of their names.
func FillIn(source string) string { return fillIn(source) }

// Seen is what the replica remembers of a tenant.
func (l *Ledger) Seen(tenant string) (epoch string, number int64) {
	s := l.tenant(tenant).seen(0)
	return s.epoch, s.number
}

// RestoreHalf begins a restore and breaks off before its end.
func (l *Ledger) RestoreHalf(ctx context.Context, state *budget.State) error {
	r := &restore{ledger: l, state: state.Snapshot(), token: newEpoch()}
	if err := r.begin(ctx); err != nil {
		return err
	}
	return r.leases(ctx)
}

// OwnClock reads a replica's clock from a wall clock and one that nobody sets.
func OwnClock(read func() (wall time.Time, elapsed time.Duration)) func() int64 {
	return (&ownClock{read: read}).now
}

// Recent is how many of a tenant's last events can be told from others.
const Recent = digests
