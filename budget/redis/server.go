package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	// startEvery is how often a server that is not started is looked for.
	startEvery = 200 * time.Millisecond
	// maxServers bounds the masters that are remembered as started. Past it all
	// are looked at again, with the next verb that goes to each.
	maxServers = 1000
)

// servers are the masters that verbs have gone to, by address: one, or those of
// a cluster. Each is looked at before the first verb goes to it, so that a
// cluster of which one master is down serves the tenants of the others, and one
// that takes over is found fit before it keeps a balance.
type servers struct {
	mu        sync.RWMutex
	byAddress map[string]*server
}

// server is one master as far as it is known.
type server struct {
	started    atomic.Bool
	starting   sync.Mutex // guards the two that follow
	tried      time.Time
	notStarted error
}

func (s *servers) at(address string) *server {
	s.mu.RLock()
	known := s.byAddress[address]
	s.mu.RUnlock()
	if known != nil {
		return known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.byAddress[address]; known != nil {
		return known
	}
	if s.byAddress == nil || len(s.byAddress) >= maxServers {
		s.byAddress = make(map[string]*server)
	}
	known = new(server)
	s.byAddress[address] = known
	return known
}

// begin starts the server of a key with the first verb that finds it.
func (l *Ledger) begin(ctx context.Context, key string) error {
	node, err := l.node(ctx, key)
	if err != nil {
		return fmt.Errorf("%w: redis: no node of the cluster answers: %w", budget.ErrUnreachable, err)
	}
	return l.beginAt(ctx, node)
}

func (l *Ledger) beginAt(ctx context.Context, node *redis.Client) error {
	if l.sentinels == nil {
		return l.servers.at(addressOf(node)).begin(func() error { return l.start(ctx, node) })
	}
	address := l.sentinels.address()
	l.sentinels.trust(address)
	return l.servers.at(address).begin(func() error { return l.startWatched(ctx, node) })
}

// startWatched starts the master that sentinels name, and remembers it by the address
// that they gave.
func (l *Ledger) startWatched(ctx context.Context, node *redis.Client) error {
	if err := l.start(ctx, node); err != nil {
		return err
	}
	address := l.sentinels.address()
	l.sentinels.trust(address)
	l.servers.at(address).started.Store(true)
	return nil
}

// addressOf is where a node listens; behind sentinels the masters are one.
func addressOf(node *redis.Client) string { return node.Options().Addr }

// begin starts the server unless it is started. Verbs do not wait for another
// one that is looking.
func (s *server) begin(start func() error) error {
	if s.started.Load() {
		return nil
	}
	if !s.starting.TryLock() {
		return fmt.Errorf("%w: redis: still connecting", budget.ErrUnreachable)
	}
	defer s.starting.Unlock()
	if s.started.Load() {
		return nil
	}
	if time.Since(s.tried) < startEvery {
		return s.notStarted
	}
	s.tried = time.Now()
	if err := start(); err != nil {
		s.notStarted = notStarted(err)
		return s.notStarted
	}
	s.started.Store(true)
	return nil
}

// notStarted is a budget.ErrUnreachable: nothing was sent. It does not say so of a server
// that answered, and that must be set up otherwise.
func notStarted(err error) error {
	if errors.Is(err, ErrConfig) || errors.Is(err, ErrUnfit) {
		return &unready{err}
	}
	return budget.Unreachable(err)
}

type unready struct{ cause error }

func (u *unready) Error() string { return budget.ErrUnavailable.Error() + ": " + u.cause.Error() }

func (u *unready) Unwrap() []error { return []error{budget.ErrUnreachable, u.cause} }

func (l *Ledger) start(ctx context.Context, node *redis.Client) error {
	if err := l.fits(ctx, node); err != nil {
		return err
	}
	if l.config.WaitReplicas > 0 {
		if err := node.ScriptLoad(ctx, reserveScript.source).Err(); err != nil {
			return unavailable(reserveScript.verb, err)
		}
	}
	sent := time.Now()
	now, err := node.Time(ctx).Result()
	if err != nil {
		return unavailable("time", err)
	}
	l.clock.observe(sent, time.Now(), now.UnixMilli())
	return nil
}

// node is the client that talks to the master of a key.
func (l *Ledger) node(ctx context.Context, key string) (*redis.Client, error) {
	if single, ok := l.client.(*redis.Client); ok {
		return single, nil
	}
	return l.client.(*redis.ClusterClient).MasterForKey(ctx, key)
}
