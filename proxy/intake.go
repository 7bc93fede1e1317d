package proxy

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
)

// DefaultBodyMemory bounds the memory that bodies of requests take together, in
// bytes: five of the largest at once, with a copy made of each, fit a machine of 1 GiB.
const DefaultBodyMemory = 256 << 20

// LeastBodyMemory is the least memory for bodies, in bytes, with which a body of a
// size passes where nobody else sends any: a tenant has half of it to itself, and a
// body whose strings have escapes takes up to twice its size.
func LeastBodyMemory(bodyLimit int64) int64 { return 4 * bodyLimit }

const (
	// firstPiece is how much memory a Content-Length alone may claim, in bytes: a
	// request of usual size is read in one piece.
	firstPiece = 64 << 10
	// chunkPiece is the same where no length is announced.
	chunkPiece = 8 << 10
	// largestPiece bounds a piece, and so what waits for a client that is slow.
	largestPiece = 1 << 20
	// turnBytes is how much of a large body is read in one turn: a tenth of a millisecond
	// of work.
	turnBytes = 128 << 10
	// stall is after how long the turn of a client ends that sends no more.
	stall = 2 * time.Millisecond
)

var errCrowded = admission.Deny(call.Unavailable, "body_memory_full", call.RetrySoon,
	"the request bodies in this proxy's memory leave no room for this one, or not in this tenant's share; send fewer or smaller ones at once")

// intake divides the memory for bodies of requests among the tenants. A tenant may
// have as much as it leaves free: half where it is alone, a third beside another
// that takes all it gets. So no number of tenants leaves nothing to one that comes
// new, and what nobody else wants is not kept from those who are there.
type intake struct {
	most  int64 // bytes
	turns turns

	mu      sync.Mutex
	taken   int64
	tenants map[string]int64
}

// room is the memory of one request's body.
type room struct {
	intake *intake
	tenant string
	bytes  int64 // taken and not given back; guarded by intake.mu
}

func newIntake(most int64) *intake {
	return &intake{most: most, turns: newTurns(), tenants: map[string]int64{}}
}

// open returns the room of a request, empty yet. Its bytes are given back by end.
func (in *intake) open(tenant string) *room { return &room{intake: in, tenant: tenant} }

// take asks for more bytes.
func (m *room) take(n int64) error {
	if n == 0 {
		return nil
	}
	in := m.intake
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.tenants[m.tenant]+n > in.most-in.taken-n {
		return errCrowded
	}
	m.add(n)
	return nil
}

// give gives bytes back.
func (m *room) give(n int64) {
	if n == 0 {
		return
	}
	m.intake.mu.Lock()
	defer m.intake.mu.Unlock()
	m.add(-n)
}

// end gives back all that is taken. It may be called again.
func (m *room) end() {
	m.intake.mu.Lock()
	defer m.intake.mu.Unlock()
	m.add(-m.bytes)
}

func (m *room) add(n int64) {
	m.bytes += n
	m.intake.taken += n
	if m.intake.tenants[m.tenant] += n; m.intake.tenants[m.tenant] == 0 {
		delete(m.intake.tenants, m.tenant)
	}
}

// read reads a request's body, decoded, of so many bytes at most, in pieces. Beside an error
// it returns those that had come.
func (m *room) read(w http.ResponseWriter, r *http.Request, limit int64) (pieces, error) {
	plain, err := admission.DecodeBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	body, err := m.readPieces(plain, r.ContentLength)
	return body, admission.BodyError(err)
}

// readPieces reads a body whole; one of unknown length, which is -1, to its end. It
// takes memory as the body arrives, and never much more than has come.
func (m *room) readPieces(r io.Reader, length int64) (pieces, error) {
	var body pieces
	var later *polite // reads the rest of a large body
	for arrived := int64(0); arrived != length; {
		size := pieceSize(arrived, length)
		if err := m.take(size); err != nil {
			return body, err
		}
		if arrived > 0 && later == nil {
			later = &polite{Reader: r, turns: m.intake.turns}
			r = later
		}
		piece := make([]byte, size)
		n, err := readInto(r, piece)
		body = append(body, piece[:n])
		arrived += int64(n)
		m.give(size - int64(n))
		switch {
		case err == io.EOF && length < 0:
			return body, nil
		case err == io.EOF && arrived != length:
			return body, io.ErrUnexpectedEOF
		case err != nil && arrived != length:
			return body, err
		}
	}
	return body, nil
}

// readInto reads until the piece is full or the reader ends. Its error is the reader's:
// io.EOF where it came to its end, io.ErrUnexpectedEOF where it was broken off, which
// io.ReadFull would not tell apart.
func readInto(r io.Reader, piece []byte) (n int, err error) {
	for n < len(piece) && err == nil {
		var more int
		more, err = r.Read(piece[n:])
		n += more
	}
	return n, err
}

// polite reads in turns where its client sends as fast as it is read. Such a reader
// never waits by itself, and Go looks for what has arrived on other connections only
// where a processor has nothing else to do, or every ten milliseconds: a small request
// waited that long for each thing that it had to read.
type polite struct {
	io.Reader
	turns turns
	ahead bool // its client is: the last read got all it asked for
}

func (r *polite) Read(p []byte) (int, error) {
	p = p[:min(len(p), turnBytes)]
	if r.ahead {
		defer r.turns.lend()()
	}
	n, err := r.Reader.Read(p)
	r.ahead = n == len(p)
	return n, err
}

// pieceSize is how large the next piece of a body is: as much as has arrived, so
// that there are few, and no more than is to come.
func pieceSize(arrived, length int64) int64 {
	if length < 0 {
		return min(max(chunkPiece, arrived), largestPiece)
	}
	return min(max(firstPiece, arrived), largestPiece, length-arrived)
}

// pieces are a body as it was read.
type pieces [][]byte

// size is the bytes of all.
func (p pieces) size() (n int64) {
	for _, piece := range p {
		n += int64(len(piece))
	}
	return n
}

// join makes one piece of them.
func (p pieces) join() []byte {
	if len(p) == 1 {
		return p[0]
	}
	whole := make([]byte, 0, p.size())
	for _, piece := range p {
		whole = append(whole, piece...)
	}
	return whole
}

// longWork is from how many bytes of body on a request takes turns with others:
// some milliseconds of work.
const longWork = 1 << 20

// turns lets few requests at a time do what keeps a processor busy for long: count,
// parse, and read what comes as fast as it is read. So others go on beside them.
type turns chan struct{}

// newTurns leaves half of the processors to others.
func newTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// take waits for a turn to work on so many bytes, until ctx is done. The turn ends
// when done is called.
func (t turns) take(ctx context.Context, bytes int64) (done func(), err error) {
	if bytes < longWork {
		return func() {}, nil
	}
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lend waits for a turn to read. It ends when done is called, or when it has taken so
// long that what is read has not arrived yet.
func (t turns) lend() (done func()) {
	t <- struct{}{}
	end := sync.OnceFunc(func() { <-t })
	stalled := time.AfterFunc(stall, end)
	return func() {
		stalled.Stop()
		end()
	}
}
