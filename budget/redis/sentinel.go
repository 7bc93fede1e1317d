package redis

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
)

// errNewMaster: sentinels name a master that has not been looked at.
var errNewMaster = errors.New("the sentinels name a new master, which is looked at first")

// watched is the master that sentinels name, as it is dialled. One that takes over is
// not dialled for a verb before it is found fit to keep a ledger, as is any server: the
// verb that comes across it fails unsent, and the next looks at it.
type watched struct {
	dialled atomic.Pointer[string] // its address, the last time that one was asked for
	trusted atomic.Pointer[string] // found fit, or being looked at; nil: none was dialled
}

// dialer makes connections to the trusted master alone.
func (w *watched) dialer(next func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		w.dialled.Store(&address)
		if trusted := w.trusted.Load(); trusted != nil && *trusted != address {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errNewMaster}
		}
		return next(ctx, network, address)
	}
}

// address is that of the master, "" before one was dialled.
func (w *watched) address() string {
	if address := w.dialled.Load(); address != nil {
		return *address
	}
	return ""
}

// trust has the master at an address dialled from now on.
func (w *watched) trust(address string) {
	if trusted := w.trusted.Load(); address != "" && (trusted == nil || *trusted != address) {
		w.trusted.Store(&address)
	}
}
