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

// maxTurns bounds how often one reserve is sent to nodes that did not run it: one
// that had the slot, also while others do not know yet that it has no more, and one
// that has it and does not know the script.
const maxTurns = 10

// runAndWait runs the script and waits for the replicas on the same
// connection, for that is whose writes WAIT speaks of. With a reply, the error
// is of the waiting alone.
func (l *Ledger) runAndWait(ctx context.Context, c *call, args []any) (any, error) {
	for turn := 1; ; turn++ {
		node, err := l.node(ctx, c.keys[0])
		if err != nil {
			return nil, c.script.failure(false, err)
		}
		reply, err := l.pipeline(ctx, node, c, args)
		if err == nil || reply != nil {
			return reply, err
		}
		if turn == maxTurns || !l.prepare(ctx, node, c, err) {
			return nil, c.script.failure(!unsent(err) && !notRun(err), err)
		}
	}
}

// prepare does what a node asks for that did not run the script: it tells it the
// script, or finds the node that has the slot. It reports false if there is
// nothing to be done.
func (l *Ledger) prepare(ctx context.Context, node *redis.Client, c *call, err error) bool {
	switch {
	case redis.HasErrorPrefix(err, "NOSCRIPT"):
		return node.ScriptLoad(ctx, c.script.source).Err() == nil
	case redis.HasErrorPrefix(err, "MOVED"):
		return l.askForSlots(ctx) == nil && waitForSlot(ctx)
	}
	return false
}

func (l *Ledger) pipeline(ctx context.Context, node *redis.Client, c *call, args []any) (any, error) {
	pipe := node.Pipeline()
	reply := pipe.EvalSha(ctx, c.script.hash, c.keys, args...)
	wait := pipe.Do(ctx, "WAIT", l.config.WaitReplicas, waitPart(ctx))
	if _, err := pipe.Exec(ctx); reply.Err() != nil {
		return nil, err
	}
	have, err := wait.Int()
	if err == nil && have < l.config.WaitReplicas {
		err = fmt.Errorf("%w: %d of %d", errReplicas, have, l.config.WaitReplicas)
	}
	return reply.Val(), err
}

// waitPart is how long WAIT may take, in milliseconds: half of the time that is
// left, so that the answer still arrives.
func waitPart(ctx context.Context) int64 {
	end, _ := ctx.Deadline()
	return max(time.Until(end).Milliseconds()/2, 1)
}
