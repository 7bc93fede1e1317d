package proxy

import (
	"net/http"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// payload is the body of an admitted request for as long as it is needed: until it
// was sent and no further attempt may have to send it again. Then it lets go of the
// memory, however long the answer still streams.
type payload struct {
	room *room

	mu      sync.Mutex      // an upstream's connection reads and closes what leaves
	request *openai.Request // nil: gone
	leaving *outgoing       // of the current attempt; nil: sent, or not begun
	last    bool            // no attempt follows the current one
}

// outgoing is the body of one attempt.
type outgoing struct {
	payload *payload
	edited  *providers.Edited // nil: closed
}

// send returns the body of the next attempt, and its size in bytes.
func (l *payload) send(e openai.Edit) (*outgoing, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	edited := l.request.Rewrite(e)
	l.leaving = &outgoing{l, edited}
	return l.leaving, edited.Size()
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
		l.request = nil
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
