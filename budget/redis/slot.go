package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// A cluster moves a slot key by key. Meanwhile a script that meets a key that is not
// there, be it gone or never made, is broken off where it stands, and what it has
// written stays; or, at the node that receives the slot, it takes a counter that is
// still to come for zero. Which keys a verb needs is known only as it runs.
//
// So each verb declares, beside the keys that it is sure of, one that never exists.
// Of several keys that are declared a node demands, while the slot is in motion, that
// all are there, before the script begins: else it answers ASK or TRYAGAIN. So no verb
// runs at either node from the first step of a move (CLUSTER SETSLOT MIGRATING or
// IMPORTING) to the last, whatever has moved by then; it is sent again until its time
// is over. Where the slot rests nothing is demanded.

// slotPause is the time between two looks at a slot that is in motion. To move a
// slot takes some 10 ms, and more the more keys it has.
const slotPause = 20 * time.Millisecond

// errInMotion tells the operator what TRYAGAIN is about.
var errInMotion = errors.New("the cluster moves the tenant's hash slot to another node, or has; nothing was changed")

var errNoCluster = errors.New("the server is one node of a cluster, which the ledger's URL does not name")

// explained has what a node says of a move in other words too.
func explained(err error) error {
	if inMotion(err) {
		return fmt.Errorf("%w: %w", errInMotion, err)
	}
	return err
}

// inMotion reports whether a node refused a script because of a move. It did not run.
// MOVED is what is left where the client was sent to and fro between two nodes until
// it gave up.
func inMotion(err error) bool {
	return redis.HasErrorPrefix(err, "TRYAGAIN") || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "MOVED")
}

// again reports, when it is time, whether to send what failed because of a move. A
// client that knows of one node alone can not follow.
func (l *Ledger) again(ctx context.Context, err error) bool {
	if !inMotion(err) || l.hasty {
		return false
	}
	if redis.HasErrorPrefix(err, "MOVED") && l.askForSlots(ctx) != nil {
		return false
	}
	return waitForSlot(ctx)
}

// waitForSlot waits until it is time to look again. It reports false if the context
// ends before.
func waitForSlot(ctx context.Context) bool {
	timer := time.NewTimer(slotPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// askForSlots reads anew which node has which slot.
func (l *Ledger) askForSlots(ctx context.Context) error {
	cluster, ok := l.client.(*redis.ClusterClient)
	if !ok {
		return errNoCluster
	}
	// It is the one way to have the client do so at once.
	return cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil })
}
