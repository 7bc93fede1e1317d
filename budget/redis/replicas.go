package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// errReplicas: a grant was made, but too few replicas have it.
var errReplicas = errors.New("too few replicas acknowledged in time")

// runAndWait runs the script and waits for the replicas on the same
// connection, for that is whose writes WAIT speaks of. A server that does not
// know the script is told it and asked again.
func (l *Ledger) runAndWait(ctx context.Context, c *call, args []any) (any, error) {
	node, err := l.node(ctx, c.keys[0])
	if err != nil {
		return nil, err
	}
	reply, err := l.pipeline(ctx, node, c, args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		if err := node.ScriptLoad(ctx, c.script.source).Err(); err != nil {
			return nil, unavailable(c.script.verb, err)
		}
		reply, err = l.pipeline(ctx, node, c, args)
	}
	if err != nil {
		return nil, unavailable(c.script.verb, err)
	}
	return reply, nil
}

func (l *Ledger) pipeline(ctx context.Context, node redis.UniversalClient, c *call, args []any) (any, error) {
	end, _ := ctx.Deadline()
	pipe := node.Pipeline()
	reply := pipe.EvalSha(ctx, c.script.hash, c.keys, args...)
	// Half of the time that is left, so that the answer still arrives.
	wait := pipe.Do(ctx, "WAIT", l.config.WaitReplicas, max(time.Until(end).Milliseconds()/2, 1))
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	have, err := wait.Int()
	if err != nil {
		return nil, err
	}
	if have < l.config.WaitReplicas {
		return nil, fmt.Errorf("%w: %d of %d", errReplicas, have, l.config.WaitReplicas)
	}
	return reply.Val(), nil
}
