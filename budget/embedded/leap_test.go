package embedded_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
)

// machine has a wall clock that is set, and one that nobody sets.
type machine struct {
	wall    time.Time
	elapsed time.Duration
}

func newMachine() *machine { return &machine{wall: time.Date(2026, 3, 1, 23, 1, 0, 0, time.UTC)} }

func (m *machine) pass(d time.Duration) { m.wall, m.elapsed = m.wall.Add(d), m.elapsed+d }
func (m *machine) leap(d time.Duration) { m.wall = m.wall.Add(d) }

func (m *machine) config(dir string) embedded.Config {
	return embedded.Config{
		Dir: dir, Now: func() time.Time { return m.wall }, Elapsed: func() time.Duration { return m.elapsed },
	}
}

// TestLeaps: what the ledger's clock says, seconds after its start, once the machine
// has seen this.
func TestLeaps(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	for _, row := range []struct {
		name  string
		steps []time.Duration // a leap, what passes after it, the next leap, ...
		want  time.Duration
		ahead time.Duration // of the wall clock before the ledger's
	}{
		{"nothing", []time.Duration{0, hour}, hour, 0},
		{"a small step ahead", []time.Duration{5 * time.Second, 0}, 5 * time.Second, 0},
		{"an hour ahead", []time.Duration{hour, 11 * time.Second}, 11 * time.Second, hour},
		{"an hour ahead, and back", []time.Duration{hour, 11 * time.Second, -hour, hour}, hour + 11*time.Second, 0},
		{"an hour ahead, and it stays", []time.Duration{hour, time.Minute}, hour + time.Minute, 0},
		{"an hour ahead, it is followed, and back", []time.Duration{hour, time.Minute, -hour, 4 * hour}, hour + time.Minute + 7*hour/2, -hour / 2},
		{"the same after eight hours", []time.Duration{hour, time.Minute, -hour, 8 * hour}, 8*hour + time.Minute, 0},
		{"ahead again and again", []time.Duration{hour, 50 * time.Second, hour, 50 * time.Second, hour, 50 * time.Second}, 150 * time.Second, 3 * hour},
		{"eight hours pass, suspended or not", []time.Duration{0, 8 * hour}, 8 * hour, 0},
		{"a day back", []time.Duration{-day, hour}, hour * 7 / 8, -day + hour/8},
		{"ten years ahead for a day, and back", []time.Duration{3650 * day, day, -3650 * day, day}, 3650*day + day + day*7/8, -3650*day + day/8},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine()
			l := open(t, m.config(t.TempDir()))
			start := l.Now()
			for i := 0; i < len(row.steps); i += 2 {
				m.leap(row.steps[i])
				l.Now()
				for passed := time.Duration(0); passed < row.steps[i+1]; passed += time.Second {
					m.pass(min(time.Second, row.steps[i+1]-passed))
					l.Now()
				}
			}
			if got := l.Now().Sub(start); got != row.want || l.Ahead() != row.ahead {
				t.Errorf("%v after its start, the wall clock %v ahead; want %v and %v", got, l.Ahead(), row.want, row.ahead)
			}
		})
	}
}

// minutely takes 1 of 1 in the minute that the ledger's clock is in.
func minutely(l *embedded.Ledger, lease string) budget.Reservation {
	start := l.Now().Truncate(time.Minute)
	span := func(n time.Duration) budget.Span {
		return budget.Span{Start: start.Add(n * time.Minute).UnixMilli(), End: start.Add((n + 1) * time.Minute).UnixMilli()}
	}
	return budget.Reservation{
		Tenant: "t", Lease: lease, TTL: 30 * time.Second,
		Policy: budget.PolicyVersion{Generation: 1, Hash: "abc"},
		Claims: []budget.Claim{{
			Key: "rate", Amount: 1, Limit: 1, AtEnd: budget.Keep,
			Window: budget.Window{Kind: budget.Fixed, Current: span(0), Next: span(1)},
		}},
	}
}

// TestWindowsTurnAfterALeap of an hour that was journaled, whether a minute's leap or
// a wrong clock at the start let it in: a rate of one a minute is open again two
// minutes later, and a lease of a dead holder expires, also over restarts.
func TestWindowsTurnAfterALeap(t *testing.T) {
	for name, journal := range map[string]func(m *machine, l *embedded.Ledger){
		"it stayed a while": func(m *machine, l *embedded.Ledger) {
			m.leap(time.Hour)
			l.Now()
			m.pass(2 * time.Minute)
		},
		"it did not": func(m *machine, l *embedded.Ledger) { m.leap(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			dir := t.TempDir()
			l := open(t, m.config(dir))
			must(t, l.Provision(t.Context(), "t"))
			journal(m, l)
			_, err := l.Reserve(t.Context(), minutely(l, "leapt"))
			must(t, err)
			m.leap(-time.Hour)
			for i := range 5 {
				if i%2 == 1 {
					must(t, l.Close())
					l = open(t, m.config(dir))
				}
				m.pass(2 * time.Minute)
				if _, err := l.Reserve(t.Context(), minutely(l, string(rune('a'+i)))); err != nil {
					t.Errorf("%d minutes later: %v", 2*(i+1), err)
				}
				if b, err := l.Balances(t.Context(), "t", nil); err != nil || b.Open != 1 {
					t.Errorf("%d leases are open, %v; want the newest alone", b.Open, err)
				}
			}
		})
	}
}

// TestLeasesOutliveALeapThatIsFollowed: a live holder's lease is not ended by it, a
// dead one's only once its time has passed, and not by a restart before that.
func TestLeasesOutliveALeapThatIsFollowed(t *testing.T) {
	m := newMachine()
	dir := t.TempDir()
	l := open(t, m.config(dir))
	must(t, l.Provision(t.Context(), "t"))
	opened := func(want int64) {
		t.Helper()
		if b, err := l.Balances(t.Context(), "t", nil); err != nil || b.Open != want {
			t.Errorf("%d leases are open, %v; want %d", b.Open, err, want)
		}
	}
	m.leap(time.Hour)
	opened(0)
	m.pass(50 * time.Second)
	_, err := l.Reserve(t.Context(), minutely(l, "a"))
	must(t, err)
	m.pass(10 * time.Second) // and it is followed
	opened(1)
	if l.Ahead() != 0 {
		t.Fatalf("the leap is not followed: %v", l.Ahead())
	}
	must(t, l.Close())
	l = open(t, m.config(dir))
	m.pass(19 * time.Second)
	opened(1)
	m.pass(2 * time.Second)
	opened(0)
}

// TestSuspendedMachine: the time for which it was suspended has passed, and is no leap.
// A lease whose holder slept has expired. What the wall clock is ahead beside that is
// a leap, and so is one that comes later.
func TestSuspendedMachine(t *testing.T) {
	m := newMachine()
	var slept time.Duration
	l := open(t, embedded.WithSuspended(m.config(t.TempDir()), func() time.Duration { return slept }))
	start := l.Now()
	must(t, l.Provision(t.Context(), "t"))
	_, err := l.Reserve(t.Context(), minutely(l, "a"))
	must(t, err)
	says := func(when string, want time.Duration) {
		t.Helper()
		if got := l.Now().Sub(start); got != want {
			t.Errorf("%s: %v after its start, want %v", when, got, want)
		}
	}
	suspend := func(d time.Duration) { slept, m.wall = slept+d, m.wall.Add(d) }
	suspend(5 * time.Second)
	says("a moment", 5*time.Second)
	suspend(8 * time.Hour)
	says("a night", 8*time.Hour+5*time.Second)
	if b, err := l.Balances(t.Context(), "t", nil); err != nil || b.Open != 0 {
		t.Errorf("%d leases are open, %v", b.Open, err)
	}
	suspend(time.Hour)
	m.leap(time.Hour)
	says("an hour, and a leap of another", 9*time.Hour+5*time.Second)
	m.leap(-time.Hour)
	says("and back", 9*time.Hour+5*time.Second)
	m.leap(time.Hour)
	says("a leap alone", 9*time.Hour+5*time.Second)
	if got := embedded.Suspended(); got < 0 {
		t.Errorf("the system says %v", got)
	}
}

// TestLeapsAreReported once each, with their size.
func TestLeapsAreReported(t *testing.T) {
	m := newMachine()
	var text bytes.Buffer
	config := m.config(t.TempDir())
	config.Log = slog.New(slog.NewTextHandler(&text, nil))
	l, err := embedded.Open(config)
	must(t, err)
	defer l.Close()
	live := func(d time.Duration) {
		for range d / time.Second {
			m.pass(time.Second)
			l.Now()
		}
	}
	for _, leap := range []time.Duration{time.Hour, -time.Hour, 2 * time.Hour, 0, -3 * time.Hour, 0} {
		m.leap(leap)
		live(time.Minute)
	}
	live(30 * time.Hour)
	var said []string
	for line := range strings.Lines(text.String()) {
		_, message, _ := strings.Cut(line, "msg=")
		message, _, _ = strings.Cut(message, " by=")
		message, _, _ = strings.Cut(message, ";")
		_, size, _ := strings.Cut(line, "by=")
		size, _, _ = strings.Cut(strings.TrimSpace(size), " ")
		said = append(said, strings.Trim(strings.TrimSpace(message), `"`)+" "+size)
	}
	want := []string{
		"the wall clock leapt ahead 1h0m0s",
		"the wall clock is back from its leap ",
		"the wall clock leapt ahead 2h0m0s",
		"the ledger's clock follows the leap of the wall clock",
		"the wall clock is behind the ledger's, which goes on an eighth slower until they meet 2h59m",
		"the wall clock has met the ledger's",
	}
	if len(said) != len(want) {
		t.Fatalf("said %q", said)
	}
	for i := range want {
		if !strings.HasPrefix(said[i], want[i]) {
			t.Errorf("said %q, want %q", said[i], want[i])
		}
	}
}

// TestClockNeverStands: whatever the wall clock does, the ledger's goes on by at
// least seven eighths of what passes, and by no more unless the wall clock is there.
func TestClockNeverStands(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine()
		config := m.config("")
		l := open(t, embedded.WithoutSync(embedded.Config{Dir: t.TempDir(), Now: config.Now, Elapsed: config.Elapsed}))
		defer l.Close()
		at := l.Now()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			m.leap(time.Duration(rapid.Int64Range(-7200, 7200).Draw(rt, "leap")) * time.Second)
			passed := time.Duration(rapid.Int64Range(0, 100_000).Draw(rt, "passed")) * time.Millisecond
			m.pass(passed)
			next := l.Now()
			if moved := next.Sub(at); moved < passed*7/8-2*time.Millisecond {
				rt.Fatalf("%v passed, and the clock moved by %v", passed, moved)
			} else if moved > passed+2*time.Millisecond && next.After(m.wall) {
				rt.Fatalf("%v passed, and the clock moved by %v, past the wall clock", passed, moved)
			}
			at = next
		}
	})
}
