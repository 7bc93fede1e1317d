package embedded

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// smallStep is how far the wall clock may be ahead of the ledger's and be
	// followed at once, as after a correction by NTP: less than any lease has left
	// whose holder renews it.
	smallStep = 10 * time.Second

	// noticed is how far it must be ahead to ask whether the machine was suspended.
	noticed = time.Second

	// stayLimit is how long a larger leap ahead must last before it is followed.
	stayLimit = time.Minute

	// slower is the part of its pace that the ledger's clock loses while it is
	// ahead of the wall clock: an hour is made up for in eight.
	slower = 8
)

// clock is the ledger's. It never goes back and never stands still: it starts at
// the later of the wall clock and the newest instant that was journaled, and goes
// on with a clock that nobody sets.
//
// Where the wall clock is then found ahead by more than a small step, it may have
// leapt and may come back. Until it has stayed a minute the ledger's clock goes on
// at its own pace: a window that turns a minute late never overspends, and one
// that turned an hour early would. For as long as the machine was suspended, where the
// system tells, time has passed, and nothing leapt. A leap that
// stayed is followed in one step, by which the open leases are put off (jumped), so
// that they last as long as their holders believe.
//
// Where the wall clock is behind, the ledger's has been ahead, or is now. It goes on
// an eighth slower until they meet, so that windows turn, and leases expire, at
// nearly their pace, and never twice.
type clock struct {
	wall    func() time.Time
	start   time.Time
	elapsed func() time.Duration // by a clock that nobody sets; nil: since start
	slept   func() time.Duration // in all, for which the machine was suspended
	log     *slog.Logger

	mu     sync.Mutex
	at     int64         // the ledger's time, microseconds of the Unix epoch
	seen   time.Duration // the last elapsed
	woke   time.Duration // the last slept
	ahead  int64         // of the wall clock before the ledger's, microseconds
	owed   int64         // microseconds of which the part that is lost was less than one
	jumped int64         // milliseconds, in all, by which leaps were followed

	leapt  bool          // the wall clock is ahead by more than a small step,
	since  time.Duration // since then,
	offset int64         // by this before elapsed, microseconds
	behind bool          // it is behind by more than a small step
}

// newClock starts at the wall clock.
func newClock(c *Config) *clock {
	k := &clock{wall: c.Now, start: c.Now(), elapsed: c.Elapsed, slept: c.suspended, log: c.Log}
	k.at, k.seen = k.read()
	k.woke = k.slept()
	return k
}

// read looks at the wall clock, in microseconds, and at the other one.
func (k *clock) read() (wall int64, elapsed time.Duration) {
	now := k.wall()
	if k.elapsed == nil {
		return now.UnixMicro(), now.Sub(k.start)
	}
	return now.UnixMicro(), k.elapsed()
}

// reach moves the clock on to an instant that was journaled, in milliseconds.
func (k *clock) reach(at int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = max(k.at, at*1000)
}

// now is the ledger's time, and by how much in all it has followed leaps, both in
// milliseconds.
func (k *clock) now() (at, jumped int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	wall, elapsed := k.read()
	k.step(wall, k.passed(elapsed))
	k.ahead = wall - k.at
	k.noteBehind()
	return k.at / 1000, k.jumped
}

// passed is the time since it was last asked, in microseconds.
func (k *clock) passed(elapsed time.Duration) int64 {
	if elapsed < k.seen { // only a clock that a test sets
		k.seen = elapsed
	}
	passed := (elapsed - k.seen).Microseconds()
	k.seen += time.Duration(passed) * time.Microsecond
	return passed
}

// step moves the clock on by what has passed, and towards the wall clock.
func (k *clock) step(wall, passed int64) {
	next := k.at + passed
	if wall-next > noticed.Microseconds() {
		next = min(wall, next+k.suspended())
	}
	switch gap := wall - next; {
	case gap < 0:
		k.owed += passed
		k.at = max(wall, next-k.owed/slower)
		k.owed %= slower
	case gap <= smallStep.Microseconds():
		k.at = wall
	default:
		k.at = next
		k.leap(wall, gap)
		return
	}
	if k.leapt {
		k.log.Info("the wall clock is back from its leap")
	}
	k.leapt = false
}

// suspended is for how long, in microseconds, the machine was since it was last asked.
// It is asked only where the wall clock is ahead: it costs a call of the system.
func (k *clock) suspended() int64 {
	slept := k.slept()
	defer func() { k.woke = slept }()
	return max(0, slept-k.woke).Microseconds()
}

// leap waits until a leap has stayed, and follows it.
func (k *clock) leap(wall, gap int64) {
	offset := wall - k.seen.Microseconds()
	size := (time.Duration(gap) * time.Microsecond).Round(time.Millisecond)
	if moved := offset - k.offset; !k.leapt || moved < -smallStep.Microseconds() || moved > smallStep.Microseconds() {
		k.leapt, k.since, k.offset = true, k.seen, offset
		k.log.Warn("the wall clock leapt ahead; the ledger's clock follows if it stays", "by", size.String(), "after", stayLimit.String())
		return
	}
	if k.seen-k.since < stayLimit {
		return
	}
	k.log.Warn("the ledger's clock follows the leap of the wall clock", "by", size.String())
	k.at, k.leapt = wall, false
	k.jumped += gap / 1000
}

// noteBehind says that the wall clock has gone back, once, and when they meet.
func (k *clock) noteBehind() {
	switch {
	case !k.behind && k.ahead < -smallStep.Microseconds():
		k.behind = true
		k.log.Warn("the wall clock is behind the ledger's, which goes on an eighth slower until they meet",
			"by", (time.Duration(-k.ahead) * time.Microsecond).Round(time.Millisecond).String())
	case k.behind && k.ahead >= 0:
		k.behind = false
		k.log.Info("the wall clock has met the ledger's")
	}
}

// Ahead is how far the wall clock was ahead of the ledger's clock when that was last
// asked: 0 but for a millisecond or so, unless the wall clock was set.
func (l *Ledger) Ahead() time.Duration {
	l.clock.mu.Lock()
	defer l.clock.mu.Unlock()
	return time.Duration(l.clock.ahead) * time.Microsecond
}

// putOff moves the expiry of the tenant's open leases by what the clock has followed
// since they were last moved.
func (l *Ledger) putOff(t *tenant, jumped int64) error {
	by := jumped - t.jumped
	t.jumped = jumped
	if by == 0 {
		return nil
	}
	for lease, expires := range t.state.Postpone(by) {
		t.scratch = appendRenewal(t.scratch[:0], t.state.Tenant, lease, expires)
		if _, err := l.journal.append(t.scratch); err != nil {
			return err
		}
	}
	return nil
}
