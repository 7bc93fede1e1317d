package proxy

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/admission"
)

// pieceBytes is how much a client must take within the limit, in bytes: the
// size of the server's own buffer.
const pieceBytes = 4 << 10

// clientWriter is the client's side of one attempt. The client has as long to
// take each piece as the upstream has to send the next one, or an eighth less; a
// client that does not read is then as good as gone. Slow ones go on: the limit
// is for a piece, not for the answer.
type clientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
	renewed atomic.Int64 // when the limit was last begun anew, in Unix nanoseconds
	begun   bool         // the response's header was written
	over    atomic.Bool  // nothing more is written
	mu      sync.Mutex   // lets flushes take turns: ReverseProxy sends the header from a timer of its own
}

func newClientWriter(w http.ResponseWriter, limit time.Duration) *clientWriter {
	return &clientWriter{ResponseWriter: w, control: http.NewResponseController(w), limit: limit}
}

func (c *clientWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		c.begun = true
		guessNothing(c.Header())
	} else {
		admission.DropOurs(c.Header()) // the upstream's, of an early answer
	}
	c.renew()
	c.ResponseWriter.WriteHeader(status)
}

// guessNothing keeps the server from saying what the upstream does not say. That is
// done last, since a 1xx answer clears the headers.
func guessNothing(h http.Header) {
	for _, name := range [...]string{"Content-Type", "Date"} {
		if _, said := h[name]; !said {
			h[name] = nil
		}
	}
}

func (c *clientWriter) Write(p []byte) (written int, err error) {
	for written < len(p) && err == nil {
		piece := p[written:min(len(p), written+pieceBytes)]
		c.renew()
		var n int
		n, err = c.ResponseWriter.Write(piece)
		written += n
	}
	return written, err
}

func (c *clientWriter) FlushError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renew()
	return c.control.Flush()
}

// release sends what is left of the answer and takes the limit off the
// connection, which may serve other requests. After a panic it stays: the
// server flushes once more before it closes the connection.
func (c *clientWriter) release() {
	if !c.begun {
		return
	}
	_ = c.FlushError() // the client may have gone
	_ = c.control.SetWriteDeadline(time.Time{})
}

// giveUp ends a write that waits for the client, and lets no other begin.
func (c *clientWriter) giveUp() {
	c.over.Store(true)
	_ = c.control.SetWriteDeadline(time.Now())
}

// renew starts the limit anew, unless little of it is over: an eighth of it is
// cheaper to give away than to set for each piece. A writer that has no
// connection has no limit.
func (c *clientWriter) renew() {
	now := time.Now()
	if now.UnixNano()-c.renewed.Load() < int64(c.limit/8) {
		return
	}
	c.renewed.Store(now.UnixNano())
	_ = c.control.SetWriteDeadline(now.Add(c.limit))
	if c.over.Load() {
		_ = c.control.SetWriteDeadline(now) // it was given up meanwhile
	}
}
