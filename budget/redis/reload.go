package redis

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// reloadEvery is how often, at most, a failing node has a cluster's client ask
// again which node is master of what. The client itself asks once at a time.
const reloadEvery = 100 * time.Millisecond

// reloader has a cluster's client ask again which node is master of what, as
// soon as one does not answer. Of itself the client asks where a node says that
// a slot has moved, which a dead one does not.
type reloader struct {
	client *redis.ClusterClient
	next   atomic.Int64 // not before this instant, in Unix nanoseconds
}

// reloadOnFailure watches every node that the client knows, and will know.
func reloadOnFailure(client *redis.ClusterClient) {
	r := &reloader{client: client}
	client.OnNewNode(func(node *redis.Client) { node.AddHook(r) })
}

func (r *reloader) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := next(ctx, network, address)
		if err != nil {
			r.reload()
		}
		return conn, err
	}
}

func (r *reloader) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		r.saw(ctx, err)
		return err
	}
}

func (r *reloader) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		r.saw(ctx, err)
		return err
	}
}

// saw notes how a command on one node ended.
func (r *reloader) saw(ctx context.Context, err error) {
	if err == nil {
		return
	}
	if trip, ok := ctx.Value(tripKey{}).(*trip); ok && !unsent(err) && !notRun(err) {
		trip.sent.Store(true)
	}
	if !isReply(err) || isDemoted(err) {
		r.reload()
	}
}

// isDemoted reports whether a node that answers may not be the master that it
// was taken for.
func isDemoted(err error) bool {
	return redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) || redis.IsMasterDownError(err)
}

// notRun reports whether a node says that it did not even begin a command.
func notRun(err error) bool {
	return isDemoted(err) || inMotion(err) || redis.HasErrorPrefix(err, "NOSCRIPT")
}

func (r *reloader) reload() {
	now := time.Now().UnixNano()
	next := r.next.Load()
	if now >= next && r.next.CompareAndSwap(next, now+reloadEvery.Nanoseconds()) {
		r.client.ReloadState(context.Background())
	}
}

// trip notes of one verb on a cluster, whose client sends again by itself,
// whether any of its tries may have been run.
type trip struct{ sent atomic.Bool }

type tripKey struct{}

// unsent reports whether a command that failed did not get as far as a
// connection.
func unsent(err error) bool {
	var operation *net.OpError
	return errors.Is(err, errUnsent) || errors.As(err, &operation) && operation.Op == "dial"
}
