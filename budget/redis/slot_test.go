package redis_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/budgettest"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// hastyOn is a ledger on a cluster that neither waits for a slot in motion nor
// before it sends again.
func hastyOn(t testing.TB, c *redistest.Cluster) *redis.Ledger {
	t.Helper()
	l := open(t, c.URL()+"?min_retry_backoff=-1")
	l.Hasty()
	return l
}

// verbs is every call that can change a tenant or read it, on what mixed makes.
var verbs = []struct {
	name string
	run  func(ctx context.Context, l *redis.Ledger, tenant string) error
}{
	{"reserve", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Reserve(ctx, reservation(tenant, "new", mixedClaims(5)...))
		return err
	}},
	{"reserve again", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Reserve(ctx, reservation(tenant, "open", mixedClaims(10)...))
		return err
	}},
	{"reserve of one counter", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Reserve(ctx, reservation(tenant, "plain", usd(1, 100)))
		return err
	}},
	{"reserve of another run", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		run := mixedClaims(5)[3]
		run.Key = "run/b"
		_, err := l.Reserve(ctx, reservation(tenant, "run", run))
		if denied := new(budget.Denied); errors.As(err, &denied) {
			return nil // one run is live, which is as many as may be
		}
		return err
	}},
	{"extend", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Extend(ctx, extension(budget.LeaseRef{Tenant: tenant, Lease: "open"}, 20, mixedClaims(10)...))
		return err
	}},
	{"renew", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Renew(ctx, budget.LeaseRef{Tenant: tenant, Lease: "open"}, time.Hour)
		return err
	}},
	{"settle", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Settle(ctx, budget.LeaseRef{Tenant: tenant, Lease: "open"}, budget.Actual{Cost: 7})
		return err
	}},
	{"settle of one counter", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Settle(ctx, budget.LeaseRef{Tenant: tenant, Lease: "single"}, budget.Actual{Cost: 7})
		return err
	}},
	{"correct", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Settle(ctx, budget.LeaseRef{Tenant: tenant, Lease: "due"}, budget.Actual{Cost: 3})
		return err
	}},
	{"release", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Release(ctx, budget.LeaseRef{Tenant: tenant, Lease: "other"})
		return err
	}},
	{"release of an unknown lease", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Release(ctx, budget.LeaseRef{Tenant: tenant, Lease: "unknown"})
		return err
	}},
	{"throw", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Throw(ctx, tenant, "key:a")
		return err
	}},
	{"lift", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Lift(ctx, tenant, "key:b", 0)
		return err
	}},
	{"balances", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Balances(ctx, tenant, mixedClaims(0))
		return err
	}},
	{"sweep", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		_, err := l.Sweep(ctx, tenant)
		return err
	}},
	{"provision", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		return l.Provision(ctx, tenant)
	}},
	{"restore", func(ctx context.Context, l *redis.Ledger, tenant string) error {
		return l.Restore(ctx, budget.NewState(tenant))
	}},
}

// mixedClaims has every kind of window, groups and marks.
func mixedClaims(amount int64) []budget.Claim {
	claims := everyWindow(amount)
	slots := budget.Claim{Key: "slots", Amount: 1, Limit: 100, AtEnd: budget.Return, Window: budget.Window{Kind: budget.Forever}}
	return append(claims, slots, toolCalls())
}

// mixed makes a tenant with a lease of each state, one of which is due, and a thrown
// switch.
func mixed(t *testing.T, l *redis.Ledger, tenant string) {
	t.Helper()
	provision(t, l, tenant)
	for _, id := range []string{"open", "other", "settled"} {
		mustReserve(t, l, reservation(tenant, id, mixedClaims(10)...))
	}
	mustReserve(t, l, reservation(tenant, "single", usd(10, 1000)))
	mustSettle(t, l, tenant, "settled", 4)
	if _, err := l.Throw(t.Context(), tenant, "key:b"); err != nil {
		t.Fatal(err)
	}
	due := reservation(tenant, "due", mixedClaims(10)...)
	due.TTL = time.Millisecond
	mustReserve(t, l, due)
}

// TestMovesThatStopHalfway: from the first step of a move to the last, whichever
// keys have gone by then and whichever node is asked, no verb does anything. Each
// fails as one that may be sent again, and the move finds no key where it puts one.
func TestMovesThatStopHalfway(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 2, 0, redistest.Setting("appendfsync", "everysec"))
	l := hastyOn(t, c)
	const orders = 12
	for i := range orders {
		tenant := fmt.Sprintf("tenant-%d", i)
		mixed(t, l, tenant)
		m := c.Move(t, "aegis:{"+tenant+"}:tenant")
		keys := m.Keys()
		shuffle(keys, i)
		wantNothingDone(t, l, m, tenant, "nothing has gone")
		for n, key := range keys {
			m.Take(key)
			wantNothingDone(t, l, m, tenant, fmt.Sprint("gone are ", keys[:n+1]))
		}
		m.Finish()
		for _, v := range verbs {
			if err := v.run(t.Context(), l, tenant); err != nil && v.name != "restore" {
				t.Errorf("%s after the move: %v", v.name, err)
			}
		}
		wantBalance(t, l, tenant, 3+7+4+7, 5+1)
	}
}

// shuffle puts keys in order i of a test: forth and back by name, then anyhow.
func shuffle(keys []string, i int) {
	slices.Sort(keys)
	switch i {
	case 0:
	case 1:
		slices.Reverse(keys)
	default:
		random := rand.New(rand.NewPCG(uint64(i), 0))
		random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
}

func wantNothingDone(t *testing.T, l *redis.Ledger, m *redistest.Move, tenant, when string) {
	t.Helper()
	before := m.Dump()
	for _, v := range verbs {
		err := v.run(t.Context(), l, tenant)
		if !errors.Is(err, budget.ErrUnavailable) || !errors.Is(err, redis.ErrInMotion) {
			t.Errorf("%s, %s: %v", v.name, when, err)
		}
	}
	if after := m.Dump(); !maps.Equal(after, before) {
		t.Fatalf("%s: the keys were %q\nand are %q", when, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
}

// TestMoveGivenUp: a move that ends before a key has gone leaves the tenant as it
// was, with what it was asked meanwhile done not at all.
func TestMoveGivenUp(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 2, 0)
	l := hastyOn(t, c)
	mixed(t, l, "t")
	m := c.Move(t, "aegis:{t}:tenant")
	wantNothingDone(t, l, m, "t", "before it is given up")
	m.GiveUp()
	mustSettle(t, l, "t", "open", 7)
}

// TestVerbsWaitForAMove: what is asked while a slot is in motion is done when it
// rests, as long as its time lasts.
func TestVerbsWaitForAMove(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 2, 0)
	l := openWith(t, redis.Config{URL: c.URL(), Timeout: 30 * time.Second})
	provision(t, l, "t")
	mustReserve(t, l, reservation("t", "open", usd(10, 100)))
	m := c.Move(t, "aegis:{t}:tenant")
	settled := make(chan error)
	go func() {
		_, err := l.Settle(context.Background(), budget.LeaseRef{Tenant: "t", Lease: "open"}, budget.Actual{Cost: 7})
		settled <- err
	}()
	m.AwaitRefusal()
	m.Finish()
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	wantBalance(t, l, "t", 7, 0)
}

// TestWaitFollowsAMovedSlot: a grant that waits for replicas goes to the node that
// has the slot by now, also if that does not know the script.
func TestWaitFollowsAMovedSlot(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 2, 1)
	l := openWith(t, redis.Config{URL: c.URL(), Timeout: 30 * time.Second, WaitReplicas: 1})
	provision(t, l, "t")
	for i := range 3 {
		mustReserve(t, l, reservation("t", fmt.Sprint("before-", i), usd(1, 100)))
		c.FlushScripts()
		c.Move(t, "aegis:{t}:tenant").Finish()
		mustReserve(t, l, reservation("t", fmt.Sprint("after-", i), usd(1, 100)))
	}
	wantBalance(t, l, "t", 0, 6)
}

// TestConformanceInMotion runs the suite on a cluster that begins to move a tenant's
// slot before one verb in some, takes some of its keys, lets the verb try, and ends
// the move. The suite sees none of it.
func TestConformanceInMotion(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 2, 0, redistest.Setting("appendfsync", "no"))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	budgettest.Run(t, func(t *testing.T) budgettest.Harness {
		l := openWith(t, redis.Config{URL: c.URL() + "?min_retry_backoff=-1", AcceptDurability: true})
		l.Hasty()
		s := &still{Ledger: l, now: time.Now().AddDate(1, 0, 0)}
		m := &moving{still: s, t: t, cluster: c, random: rand.New(rand.NewPCG(seed, 0))}
		return budgettest.Harness{Ledger: m, Advance: func(d time.Duration) { s.advance(t, d) }}
	})
}

// moving is a ledger whose tenants are moved now and then.
type moving struct {
	*still
	t       *testing.T
	cluster *redistest.Cluster
	moves   sync.Mutex // one at a time; guards random
	random  *rand.Rand
}

// verbsPerMove is how many verbs pass in rest for one that meets a move.
const verbsPerMove = 15

// meet runs a verb, or before that has it run in a slot that is half moved. A verb
// that was refused there runs again when the slot rests.
func (m *moving) meet(tenant string, verb func() error) error {
	err := m.move(tenant, verb)
	for errors.Is(err, redis.ErrInMotion) {
		err = m.rest(verb)
	}
	return err
}

// rest runs a verb while no slot is in motion.
func (m *moving) rest(verb func() error) error {
	m.moves.Lock()
	defer m.moves.Unlock()
	return verb()
}

func (m *moving) move(tenant string, verb func() error) error {
	m.moves.Lock()
	defer m.moves.Unlock()
	if m.random.IntN(verbsPerMove) > 0 {
		return redis.ErrInMotion // not tried yet
	}
	move := m.cluster.Move(m.t, "aegis:{"+tenant+"}:tenant")
	defer func() {
		move.Finish()
		if err := m.AskForSlots(context.Background()); err != nil {
			m.t.Error(err)
		}
	}()
	keys := move.Keys()
	m.random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, key := range keys[:m.random.IntN(len(keys)+1)] {
		move.Take(key)
	}
	return verb()
}

func (m *moving) Reserve(ctx context.Context, r budget.Reservation) (g budget.Grant, err error) {
	err = m.meet(r.Tenant, func() (err error) { g, err = m.still.Reserve(ctx, r); return err })
	return g, err
}

func (m *moving) Extend(ctx context.Context, x budget.Extension) (g budget.Grant, err error) {
	err = m.meet(x.Lease.Tenant, func() (err error) { g, err = m.still.Extend(ctx, x); return err })
	return g, err
}

func (m *moving) Renew(ctx context.Context, l budget.LeaseRef, ttl time.Duration) (at int64, err error) {
	err = m.meet(l.Tenant, func() (err error) { at, err = m.still.Renew(ctx, l, ttl); return err })
	return at, err
}

func (m *moving) Settle(ctx context.Context, l budget.LeaseRef, actual budget.Actual) (e budget.Ending, err error) {
	err = m.meet(l.Tenant, func() (err error) { e, err = m.still.Settle(ctx, l, actual); return err })
	return e, err
}

func (m *moving) Release(ctx context.Context, l budget.LeaseRef) (e budget.Ending, err error) {
	err = m.meet(l.Tenant, func() (err error) { e, err = m.still.Release(ctx, l); return err })
	return e, err
}

func (m *moving) Throw(ctx context.Context, tenant, name string) (w budget.Switch, err error) {
	err = m.meet(tenant, func() (err error) { w, err = m.still.Throw(ctx, tenant, name); return err })
	return w, err
}

func (m *moving) Lift(ctx context.Context, tenant, name string, event int64) (w budget.Switch, err error) {
	err = m.meet(tenant, func() (err error) { w, err = m.still.Lift(ctx, tenant, name, event); return err })
	return w, err
}

func (m *moving) Balances(ctx context.Context, tenant string, claims []budget.Claim) (b budget.Balances, err error) {
	err = m.meet(tenant, func() (err error) { b, err = m.still.Balances(ctx, tenant, claims); return err })
	return b, err
}

func (m *moving) Sweep(ctx context.Context, tenant string) (events []budget.Event, err error) {
	err = m.meet(tenant, func() (err error) { events, err = m.still.Sweep(ctx, tenant); return err })
	return events, err
}
