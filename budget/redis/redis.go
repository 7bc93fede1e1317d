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
//	aegis:{T}:events             hash: number to event, until acknowledged; never empty
//	aegis:{T}:digests            string: a ring of the digests of the last events
//	aegis:{T}:switches           hash: thrown kill switches, name to event
//	aegis:{T}:open               sorted set: open leases by expiry; never empty
//	aegis:{T}:lease:ID           string: how a lease was granted and ended
//	aegis:{T}:fixed:S-E:KEY      string: a counter in the window [S, E)
//	aegis:{T}:idle:KEY           string: a counter until unused
//	aegis:{T}:forever:KEY        string: a counter without end
//	aegis:{T}:rolling:MS:KEY     hash: a ring of buckets with its sum
//	aegis:{T}:marks:fixed:...    hash: the marks that a counter knows, to their leases
//	aegis:{T}:group:NAME         sorted set: live keys by when they are forgotten
//	aegis:{T}:kept               sorted set: keys that must exist, by until when
//	aegis:{T}:absent             never exists, and must not: see slot.go
//
// Counters and leases are packed doubles, which hold every amount exactly;
// events are text.
//
// A key that is absent although the kept set has it is lost state, as is the loss of
// that set: see lua/shared/kept.lua.
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
// that this replica has seen of the tenant and the digest that came with it, and a
// server that is behind it, or has another event of that number among its last 512,
// is refused with budget.ErrLost until Restore. Config.WaitReplicas narrows the second gap.
//
// Every call carries this replica's clock too. Where the server's is more than
// budget.MaxClocksApart from it, one of them has leapt: reserve and extend are refused
// with budget.ErrClock, no lease expires, and no tenant's time goes beyond either.
//
// With memory full, reserve, extend and provision are refused; the verbs that
// end leases, renew them, hand out events or stop a tenant run on.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

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
	//	redis+sentinel://[user:password@]host1:port,host2:port/MASTER[/db]
	//	                                  the master that sentinels watch by that name;
	//	                                  sentinel_username and sentinel_password are
	//	                                  query parameters, rediss+sentinel:// is TLS to both
	// with go-redis options as query parameters, such as pool_size=50. valkey and
	// valkeys stand for redis and rediss.
	URL string

	// TLS has the authorities that may vouch for the server, and certificates to
	// show it, where the URL demands TLS; nil: the system's, and none.
	TLS *tls.Config

	// Timeout bounds each verb, retries included. Zero is DefaultTimeout.
	Timeout time.Duration

	// AcceptDurability lets a server in whose persistence settings are
	// missing or cannot be read, as is common for managed services.
	AcceptDurability bool

	// WaitReplicas is how many replicas must have a grant before it counts.
	// If fewer have it in time the reserve fails, and whoever asked gives the
	// lease back: a repeat may have been told of it.
	WaitReplicas int

	// Now is this replica's wall clock, by which it finds out that a server's has
	// leapt; time.Now if nil.
	Now func() time.Time
}

// Ledger is a budget.Ledger and budget.Keeper. It is safe for concurrent use.
type Ledger struct {
	client    redis.UniversalClient
	scripts   evaluator
	sentinels *watched // nil without
	config    Config
	hasty     bool // does not wait for a slot in motion: set by tests
	clock     clock
	servers   servers
	own       *ownClock

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
	client, sentinels, err := connect(config)
	if err != nil {
		return nil, err
	}
	return &Ledger{client: client, sentinels: sentinels, scripts: evaluatorOn(client), config: config, own: newOwnClock(config.Now), tenants: make(map[string]*tenant)}, nil
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

// Close closes the connections. Acknowledgements that have not travelled are
// forgotten; Sweep hands their events out again.
func (l *Ledger) Close() error {
	if b, ok := l.scripts.(*batches); ok {
		b.close()
	}
	return l.client.Close()
}

// Now is the ledger's clock as the last replies told it. Where that is too far from
// this replica's own it grants nothing, and what is denied is told by the replica's.
func (l *Ledger) Now() time.Time {
	server, own := l.clock.now(), time.UnixMilli(l.own.now())
	if server.Sub(own).Abs() > budget.MaxClocksApart {
		return own
	}
	return server
}
