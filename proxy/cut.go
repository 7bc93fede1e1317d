package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of what is still read of an answer that is cut off.
const (
	// lastWordsLimit is how long: more than a round trip over the world.
	lastWordsLimit = 2 * time.Second
	// maxLastWords is how much, in bytes: more than two sockets hold.
	maxLastWords = 32 << 20
	// aheadBytes is how much is read ahead of the reader then.
	aheadBytes = 64 << 10
)

var (
	// errCut ends an answer that the proxy cut off.
	errCut = errors.New("the answer was cut off")
	// errLastWords: too much came behind the cut.
	errLastWords = errors.New("the upstream goes on sending")
)

// cutter ends an attempt's upstream request before its answer is over.
//
// An upstream that then stops billing is owed what it had sent by then, and much of
// that may not have been read: a client that stalls fills the buffers of two
// sockets. So it is told that nothing more is asked, by closing the connection
// in its direction, which is all that it sees of any closing; and what it has sent
// is read to its end, within limits.
type cutter struct {
	cancel  context.CancelFunc
	sent    *wireWatch
	client  *clientWriter
	stops   bool        // the upstream then stops billing
	begun   atomic.Bool // its answer has begun
	settled atomic.Bool // all that is wanted of it was read
	done    atomic.Bool // it was cut

	mu   sync.Mutex
	over bool // the attempt is: its connections serve others
}

// cut may be called more than once, by anybody, at any time.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.done.Swap(true) {
		return
	}
	if !c.stops || !c.begun.Load() || c.settled.Load() || !c.sent.closeWrite() {
		c.cancel()
		return
	}
	time.AfterFunc(lastWordsLimit, c.cancel)
	c.client.giveUp() // what waits for a client that does not read must be read
}

// end says that the attempt is over.
func (c *cutter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.cancel()
}

// closeWrite tells the upstream that nothing more is asked. It reports whether the
// upstream is told.
func (w *wireWatch) closeWrite() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn != nil && w.conn.closeWrite(w)
}

// closeWrite closes the connection in its owner's direction.
func (c *countedConn) closeWrite(owner *wireWatch) bool {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || c.owner.Load() != owner {
		return false
	}
	c.last.Store(true)
	return half.CloseWrite() == nil
}

// endingConn is a connection to an upstream, above TLS if it has that.
type endingConn struct {
	net.Conn
	wire  *countedConn // below TLS
	ahead readAhead    // the reader's
}

// Read reads on to the end of what the upstream had sent when it was cut. The end
// comes with the last bytes, and not behind them: otherwise the connection might
// serve another request in between, to which it is closed. Below TLS that would not
// do: there the end is a record behind the last one.
func (c *endingConn) Read(p []byte) (int, error) {
	if c.ahead.empty() {
		n, err := c.Conn.Read(p)
		if err != nil || !c.wire.last.Load() {
			return n, err
		}
		c.ahead.read(c.Conn)
		return n, c.ahead.end()
	}
	n := c.ahead.take(p)
	if n > 0 && c.ahead.empty() {
		c.ahead.read(c.Conn)
	}
	return n, c.ahead.end()
}

// readAhead is what was read of a connection ahead of its reader.
type readAhead struct {
	bytes []byte // not taken yet
	err   error  // what comes behind them
	total int
}

func (a *readAhead) empty() bool { return len(a.bytes) == 0 && a.err == nil }

func (a *readAhead) read(src interface{ Read([]byte) (int, error) }) {
	if a.total > maxLastWords {
		a.err = errLastWords
		return
	}
	buffer := make([]byte, aheadBytes)
	n, err := src.Read(buffer)
	a.bytes, a.err = buffer[:n], err
	a.total += n
}

func (a *readAhead) take(p []byte) int {
	n := copy(p, a.bytes)
	a.bytes = a.bytes[n:]
	return n
}

// end is the error that comes with the bytes that were just taken.
func (a *readAhead) end() error {
	if len(a.bytes) > 0 {
		return nil
	}
	return a.err
}
