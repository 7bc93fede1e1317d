package redis_test

import (
	"context"
	"sync"
	"testing"
	"time"

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
}

func open(t testing.TB, url string) *redis.Ledger {
	t.Helper()
	return openWith(t, redis.Config{URL: url})
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
