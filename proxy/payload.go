package proxy

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// payload is the body of an admitted request for as long as it is needed: until it
// was sent and no further attempt may have to send it again. Then it lets go of the
// memory, however long the answer still streams.
type payload struct {
	room *room

	mu      sync.Mutex        // an upstream's connection reads and closes what leaves
	request providers.Request // nil: gone
	offers  []providers.Offer // of the current attempt and those that may follow; nil: gone
	leaving *outgoing         // of the current attempt; nil: sent, or not begun
	last    bool              // no attempt follows the current one
}

// flatBytes is the largest body that leaves in one piece, and so in one write with its
// header: together they fit the connection's buffer. net/http does that only for
// readers of its own that it knows not to block, and before any other body it
// flushes the header: with 1 KB that was a twentieth of a busy proxy's CPU.
const flatBytes = writeBufferBytes - 16<<10

// flats lend the memory for bodies that leave in one piece: a copy of 40 KB is a large
// object to Go, and was a thirtieth of a busy proxy's CPU.
var flats = sync.Pool{New: func() any { return new([flatBytes]byte) }}

// outgoing is the body of one attempt.
type outgoing struct {
	payload *payload
	edited  *providers.Edited // nil: closed
	flat    bytes.Reader      // of a body up to flatBytes, which is read here
	lent    *[flatBytes]byte  // what flat reads, of flats
}

// send makes what leaves in the current attempt, and returns its body by itself with
// its size in bytes. Its transport tells by sent when it has read it.
func (l *payload) send(outputCap int64) (s providers.Sent, body io.ReadCloser, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s = l.offers[0].Send(outputCap)
	size = s.Body.Size()
	o := &outgoing{payload: l, edited: s.Body}
	s.Body = nil
	l.leaving = o
	if size > flatBytes {
		return s, o, size
	}
	o.flatten()
	return s, io.NopCloser(&o.flat), size
}

// flatten has flat read the body, in one piece.
func (o *outgoing) flatten() {
	if o.edited.Whole() {
		o.flat.Reset(o.edited.Join())
		return
	}
	o.lent = flats.Get().(*[flatBytes]byte)
	n, _ := o.edited.Read(o.lent[:]) // all of it: it fits
	o.flat.Reset(o.lent[:n])
}

// next goes on to the attempt that follows.
func (l *payload) next() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offers = l.offers[1:]
}

// sent returns what the transport is to call once it has read all that it will of the
// current attempt's body.
func (l *payload) sent() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.leaving
	if o == nil {
		return func() {}
	}
	return func() {
		o.flat.Reset(nil) // the transport keeps the reader as long as the answer
		o.giveBack()
		_ = o.Close()
	}
}

// giveBack returns what was lent to who may need it next. It is called by the transport
// alone, when it reads no more; where it never says so the memory is not used again.
func (o *outgoing) giveBack() {
	if o.lent != nil {
		flats.Put(o.lent)
		o.lent = nil
	}
}

// finally says that no attempt follows the one whose body send has returned.
func (l *payload) finally() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = true
	l.letGo()
}

// end takes the body from whoever still reads it.
func (l *payload) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaving != nil {
		l.leaving.edited, l.leaving = nil, nil
	}
	l.last = true
	l.letGo()
}

// letGo gives the memory back if nobody needs it any more.
func (l *payload) letGo() {
	if l.last && l.leaving == nil {
		l.request, l.offers = nil, nil
		l.room.end()
	}
}

// Read reads on, unless the body was closed meanwhile.
func (o *outgoing) Read(p []byte) (int, error) {
	o.payload.mu.Lock()
	defer o.payload.mu.Unlock()
	if o.edited == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return o.edited.Read(p)
}

// Close says that the body was sent, or will not be. It may be called again.
func (o *outgoing) Close() error {
	l := o.payload
	l.mu.Lock()
	defer l.mu.Unlock()
	o.edited = nil
	if l.leaving == o {
		l.leaving = nil
		l.letGo()
	}
	return nil
}
