package proxy

import (
	"io"
	"net/http"
	"time"
)

// lingerTime is how long what is left of a refused body is read on.
const lingerTime = 5 * time.Second

// linger reads what is left of a refused body and keeps none of it: at most so many bytes, and
// for lingerTime. A client that is still sending does not read yet, and the server closes
// the connection behind an answer to a large body that it did not read, whereupon the
// client's system drops the answer and tells of a lost connection alone. A client that
// waits for leave to send, and got none, sends nothing.
func (in *intake) linger(w http.ResponseWriter, r *http.Request, begun bool, limit int64) {
	if r.Header["Expect"] != nil && !begun {
		return
	}
	control := http.NewResponseController(w)
	if control.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return // there is no connection to be closed
	}
	rest := &polite{Reader: io.LimitReader(r.Body, limit), turns: in.turns}
	_, err := io.Copy(io.Discard, rest)
	if err == nil { // what came too late stays refused
		_ = control.SetReadDeadline(time.Time{})
	}
}
