// Package redis is the ledger that many replicas share: budget.Ledger and
// budget.Keeper on Redis 7 or Valkey.
//
// Every verb is one Lua script (see the lua directory: each file names its
// keys, arguments and replies) and one round trip. A script checks everything
// before it first writes, takes the time from the server, and answers a repeat
// as it answered first, so a call whose reply was lost may be sent again.
//
// # Keys
//
// All keys of a tenant share the hash tag {TENANT}, hence a node of a cluster.
//
//	aegis:{T}:tenant             hash: epoch, last number and instant, policy, switches
//	aegis:{T}:events             hash: number to event, until acknowledged
//	aegis:{T}:switches           hash: thrown kill switches, name to event
//	aegis:{T}:open               sorted set: open leases by expiry
//	aegis:{T}:lease:ID           string: how a lease was granted and ended
//	aegis:{T}:fixed:S-E:KEY      string: a counter in the window [S, E)
//	aegis:{T}:idle:KEY           string: a counter until unused
//	aegis:{T}:forever:KEY        string: a counter without end
//	aegis:{T}:rolling:MS:KEY     hash: a ring of buckets with its sum
//	aegis:{T}:marks:fixed:...    hash: the marks that a counter knows, to their leases
//	aegis:{T}:group:NAME         sorted set: live keys by when they are forgotten
//	aegis:{T}:absent             never exists, and must not: see slot.go
//
// Counters and leases are packed doubles, which hold every amount exactly;
// events are text.
//
// What no open lease needs has a time to live. What an open lease needs has
// none until the lease ends, which any verb of the tenant does once it is due.
// The tenant's record, its thrown switches, its events without receipt and its
// forever counters, with their marks, stay.
//
// # What must be configured, and what may still be lost
//
// Open and Ready demand appendonly yes, appendfsync always or everysec, and
// maxmemory-policy noeviction. With everysec a server that loses power may
// forget its last second or two; a failover may forget what the new master had
// not received. Neither is silent: every call carries the highest event number
// that this replica has seen of the tenant, and a server behind it is refused
// with budget.ErrLost until Restore. Config.WaitReplicas narrows the second gap.
//
// With memory full, reserve, extend and provision are refused; the verbs that
// end leases, renew them, hand out events or stop a tenant run on.
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

// ErrConfig: the server is not configured to keep a ledger, or does not let
// its configuration be read.
var ErrConfig = errors.New("redis is not configured to keep a ledger")

// DefaultTimeout bounds a verb whose context ends no sooner.
const DefaultTimeout = 2 * time.Second

// Config says which server to use and what to demand of it.
type Config struct {
	// URL is one of
	//	redis://[user:password@]host:port[/db]
	//	rediss://...                      the same over TLS
	//	unix:///path/to/socket
	//	redis://host1:port,host2:port     a cluster, by some of its nodes
	//	redis://host:port?cluster=true    a cluster, by one of its nodes
	// with go-redis options as query parameters, such as pool_size=50.
	URL string

	// Timeout bounds each verb, retries included. Zero is DefaultTimeout.
	Timeout time.Duration

	// AcceptDurability lets a server in whose persistence settings are
	// missing or cannot be read, as is common for managed services.
	AcceptDurability bool

	// WaitReplicas is how many replicas must have a grant before it counts.
	// If fewer have it in time the reserve fails, and whoever asked gives the
	// lease back: a repeat may have been told of it.
	WaitReplicas int
}

// Ledger is a budget.Ledger and budget.Keeper. It is safe for concurrent use.
type Ledger struct {
	client  redis.UniversalClient
	scripts evaluator
	config  Config
	hasty   bool // does not wait for a slot in motion: set by tests
	clock   clock

	started    atomic.Bool
	starting   sync.Mutex // guards the two that follow
	tried      time.Time
	notStarted error

	mu      sync.RWMutex
	tenants map[string]*tenant
}

var (
	_ budget.Ledger = (*Ledger)(nil)
	_ budget.Keeper = (*Ledger)(nil)
)

// Open is Dial, and fails where the server cannot be reached or is not
// configured as it must be.
func Open(ctx context.Context, config Config) (*Ledger, error) {
	l, err := Dial(config)
	if err != nil {
		return nil, err
	}
	if err := l.Ready(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Dial returns a ledger whose server need not be there yet. Until it has been
// reached, and found configured as it must be, every verb is refused with
// budget.ErrUnreachable. The error wraps budget.ErrInvalid: the URL is bad.
func Dial(config Config) (*Ledger, error) {
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	client, err := connect(config.URL)
	if err != nil {
		return nil, err
	}
	return &Ledger{client: client, scripts: evaluatorOn(client), config: config, tenants: make(map[string]*tenant)}, nil
}

// evaluatorOn runs scripts on a server in batches. On a cluster, where the
// tenants of a batch may be on several nodes, a slow node would hold up the
// others' tenants; there each goes alone.
func evaluatorOn(client redis.UniversalClient) evaluator {
	if single, ok := client.(*redis.Client); ok {
		return newBatches(single)
	}
	return client
}

// startEvery is how often an unstarted ledger looks for its server.
const startEvery = 200 * time.Millisecond

// begin starts the ledger with the first verb that finds its server. Verbs do
// not wait for another one that is looking.
func (l *Ledger) begin(ctx context.Context) error {
	if l.started.Load() {
		return nil
	}
	if !l.starting.TryLock() {
		return fmt.Errorf("%w: redis: still connecting", budget.ErrUnreachable)
	}
	defer l.starting.Unlock()
	if l.started.Load() {
		return nil
	}
	if time.Since(l.tried) < startEvery {
		return l.notStarted
	}
	l.tried = time.Now()
	if err := l.start(ctx); err != nil {
		l.notStarted = fmt.Errorf("%w: %w", budget.ErrUnreachable, err)
		return l.notStarted
	}
	l.started.Store(true)
	return nil
}

func (l *Ledger) start(ctx context.Context) error {
	if err := l.check(ctx); err != nil {
		return err
	}
	if l.config.WaitReplicas > 0 {
		if err := l.loadEverywhere(ctx, reserveScript); err != nil {
			return err
		}
	}
	sent := time.Now()
	now, err := l.client.Time(ctx).Result()
	if err != nil {
		return unavailable("time", err)
	}
	l.clock.observe(sent, time.Now(), now.UnixMilli())
	return nil
}

// Close closes the connections. Acknowledgements that have not travelled are
// forgotten; Sweep hands their events out again.
func (l *Ledger) Close() error {
	if b, ok := l.scripts.(*batches); ok {
		b.close()
	}
	return l.client.Close()
}

// Now is the server's clock as the last replies told it.
func (l *Ledger) Now() time.Time { return l.clock.now() }

// Ready asks every master for a sign of life and for its settings. Errors wrap
// budget.ErrUnavailable or ErrConfig.
func (l *Ledger) Ready(ctx context.Context) error {
	if !l.started.Load() {
		return l.begin(ctx)
	}
	return l.check(ctx)
}

func (l *Ledger) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Timeout)
	defer cancel()
	if cluster, ok := l.client.(*redis.ClusterClient); ok {
		return readyError(cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			return l.checkServer(ctx, node)
		}))
	}
	return readyError(l.checkServer(ctx, l.client))
}

func readyError(err error) error {
	if err == nil || errors.Is(err, ErrConfig) || errors.Is(err, budget.ErrUnavailable) {
		return err
	}
	return unavailable("ready", err)
}
