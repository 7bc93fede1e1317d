package redis_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget/budgettest"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// servers are what a ledger runs on, each as it is started.
var servers = map[string][]redistest.Option{
	"Redis":  nil,
	"Valkey": {redistest.Valkey()},
}

// TestConformance runs the suite on real servers with their real clocks.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, options := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, append(options, redistest.Setting("appendfsync", "everysec"))...)
			budgettest.Run(t, func(t *testing.T) budgettest.Harness {
				return budgettest.Harness{Ledger: open(t, server.URL())}
			})
		})
	}
}

// TestConformanceInTime runs it on a real server whose tenants' clocks are set
// ahead of the server's, where they stand still until they are moved: this is
// how hours pass in a test.
func TestConformanceInTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Setting("appendfsync", "everysec"))
	budgettest.Run(t, func(t *testing.T) budgettest.Harness {
		s := &still{Ledger: open(t, server.URL()), now: time.Now().AddDate(1, 0, 0)}
		return budgettest.Harness{
			Ledger:  s,
			Advance: func(d time.Duration) { s.advance(t, d) },
			Lose:    s.lose,
		}
	})
}

// still is a ledger whose tenants all live at one instant.
type still struct {
	*redis.Ledger
	mu      sync.Mutex
	now     time.Time
	tenants []string
}

func (s *still) Provision(ctx context.Context, tenants ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tenants = append(s.tenants, tenants...)
	if err := s.SetClock(ctx, s.now, tenants...); err != nil {
		return err
	}
	return s.Ledger.Provision(ctx, tenants...)
}

// Ready looks at the clock of the server, which is not the tenants'.
func (s *still) Ready(ctx context.Context) error {
	s.SetOwnClock(time.Now())
	defer s.SetOwnClock(s.now)
	return s.Ledger.Ready(ctx)
}

func (s *still) advance(t *testing.T, d time.Duration) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
	if err := s.SetClock(t.Context(), s.now, s.tenants...); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range s.tenants[max(0, len(s.tenants)-aged):] {
		if err := s.age(t.Context(), tenant, d); err != nil {
			t.Fatal(err)
		}
	}
}

// aged is of how many tenants, the newest, keys die: the others are of simulations that
// are over.
const aged = 4

// age makes a tenant's keys older, and deletes those that have no time left to live, as
// a server does whose own clock goes on.
func (s *still) age(ctx context.Context, tenant string, d time.Duration) error {
	server, single := s.Client().(*goredis.Client)
	if !single {
		return nil
	}
	keys, err := keysOf(ctx, server, tenant)
	if err != nil {
		return err
	}
	read, write := server.Pipeline(), server.Pipeline()
	left := make([]*goredis.DurationCmd, len(keys))
	for i, key := range keys {
		left[i] = read.PTTL(ctx, key)
	}
	if _, err := read.Exec(ctx); err != nil {
		return err
	}
	for i, key := range keys {
		if ttl := left[i].Val(); ttl > d {
			write.PExpire(ctx, key, ttl-d)
		} else if ttl > 0 {
			write.Del(ctx, key)
		}
	}
	_, err = write.Exec(ctx)
	return err
}

// keysOf is every key of a tenant, by name.
func keysOf(ctx context.Context, server goredis.Cmdable, tenant string) ([]string, error) {
	keys, err := server.Keys(ctx, "aegis:{"+tenant+"}:*").Result()
	slices.Sort(keys)
	return keys, err
}

// kindOf is what a key begins with, behind the tenant.
func kindOf(key string) string {
	kind, _, _ := strings.Cut(key[strings.Index(key, "}:")+2:], ":")
	return kind
}

// lose deletes one of a tenant's keys, one of a kind as likely as one of another. The
// record of a lease that has ended is not missed: it answers repeats for a minute.
func (s *still) lose(ctx context.Context, tenant string, pick func(n int) int) (string, error) {
	keys, err := keysOf(ctx, s.Client(), tenant)
	if err != nil {
		return "", err
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		return strings.Contains(key, ":lease:") && !strings.HasPrefix(s.Client().Get(ctx, key).Val(), "open\x00")
	})
	var kinds [][]string
	for _, key := range keys {
		last := len(kinds) - 1
		if last < 0 || kindOf(kinds[last][0]) != kindOf(key) {
			kinds, last = append(kinds, nil), last+1
		}
		kinds[last] = append(kinds[last], key)
	}
	some := kinds[pick(len(kinds))]
	key := some[pick(len(some))]
	return key, s.Client().Del(ctx, key).Err()
}

func open(t testing.TB, url string) *redis.Ledger {
	t.Helper()
	return openWith(t, redis.Config{URL: patient(url), Timeout: time.Minute})
}

// patient has a ledger wait for answers as long as a busy machine may take.
func patient(url string) string {
	if strings.Contains(url, "?") {
		return url + "&read_timeout=1m"
	}
	return url + "?read_timeout=1m"
}

func openWith(t testing.TB, config redis.Config) *redis.Ledger {
	t.Helper()
	l, err := redis.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dial is a ledger that need not be ready.
func dial(t testing.TB, config redis.Config) *redis.Ledger {
	t.Helper()
	l, err := redis.Dial(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
