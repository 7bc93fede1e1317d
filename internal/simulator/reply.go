package simulator

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"
)

// reply is what would be sent if nothing went wrong.
type reply struct {
	status int
	stream bool
	usage  Usage
	pieces []piece
	broken *piece // what breaks a stream off; nil: OpenAI's
}

// piece is what is written and flushed at once: an event, or a whole body.
type piece struct {
	data   []byte
	tokens int64 // completion tokens that the client has after it
}

// deliver sends the reply the way that the answer says, and writes the call's
// entries. It panics with http.ErrAbortHandler, which closes the connection,
// where the answer breaks off.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, call *Call, a Answer, rep reply) {
	call.Billed = rep.usage
	if a.Informational != 0 {
		w.WriteHeader(a.Informational)
	}
	if !s.pause(r, a.Latency) || a.Fault == CloseBeforeHeaders {
		panic(http.ErrAbortHandler)
	}
	if a.Fault == Hang {
		s.hang(r)
		panic(http.ErrAbortHandler)
	}
	pieces := rep.pieces
	if a.Gzip {
		pieces = compress(pieces)
	}
	writeHeader(w, call, a, rep, size(pieces))
	call.Status = rep.status
	s.write(w, r, call, a, trickle(a.Fault.cut(pieces, rep.broken), a.TrickleBytes))
	if a.Fault == HangMidStream {
		s.hang(r)
	}
	if a.Fault.breaks() {
		panic(http.ErrAbortHandler)
	}
	call.Complete = true
}

// breaks says whether the answer ends without being complete.
func (f Fault) breaks() bool { return f != NoFault && f != ErrorMidStream }

// end enters how the call ended, however that was.
func (s *Server) end(r *http.Request, call *Call) {
	call.HungUp = !call.Complete && r.Context().Err() != nil
	if call.HungUp && call.Stream && s.config.StopsOnCancel {
		call.Billed.Completion = min(call.Billed.Completion, call.SentTokens)
		call.Billed.Reasoning = min(call.Billed.Reasoning, call.SentTokens)
	}
	s.books.close(call)
}

// write sends the pieces, TokenDelay apart, each flushed. The last piece of an
// answer that does not break off is entered in the books before it is sent.
func (s *Server) write(w http.ResponseWriter, r *http.Request, call *Call, a Answer, pieces []piece) {
	flush := http.NewResponseController(w).Flush
	if flush() != nil {
		panic(http.ErrAbortHandler)
	}
	for i, p := range pieces {
		if i > 0 && !s.pause(r, a.TokenDelay) {
			panic(http.ErrAbortHandler)
		}
		call.SentBytes += int64(len(p.data))
		call.SentTokens += p.tokens
		if i == len(pieces)-1 && !a.Fault.breaks() {
			call.Complete = true
			s.end(r, call)
		}
		if _, err := w.Write(p.data); err != nil || flush() != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// writeHeader sends the status and the headers that OpenAI sends.
func writeHeader(w http.ResponseWriter, call *Call, a Answer, rep reply, length int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if rep.stream {
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache, must-revalidate")
	}
	if a.Gzip {
		h.Set("Content-Encoding", "gzip")
	}
	if a.Framing == ContentLength || a.Framing == UsualFraming && !rep.stream {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	if a.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(a.RetryAfter.Seconds())), 10))
	}
	h.Set("X-Request-Id", fmt.Sprintf("req_%032x", call.Number))
	h.Set("Openai-Organization", "org-simulated")
	h.Set("Openai-Version", "2020-10-01")
	h.Set("Openai-Processing-Ms", strconv.FormatInt(a.Latency.Milliseconds(), 10))
	h.Set("X-Ratelimit-Limit-Requests", strconv.Itoa(rateLimit))
	h.Set("X-Ratelimit-Remaining-Requests", strconv.FormatInt(rateLimit-call.Number%rateLimit, 10))
	h.Set("X-Ratelimit-Reset-Requests", (6 * time.Millisecond).String())
	maps.Copy(h, a.Header)
	w.WriteHeader(rep.status)
}

// rateLimit is the requests a minute that the headers speak of; the simulator
// does not enforce it.
const rateLimit = 10_000

// cut leaves what is sent before the fault.
func (f Fault) cut(pieces []piece, broken *piece) []piece {
	if len(pieces) == 0 {
		return pieces
	}
	middle := len(pieces) / 2
	switch f {
	case CloseAfterHeaders:
		return nil
	case CloseMidStream, HangMidStream:
		return pieces[:middle]
	case ErrorMidStream:
		return append(pieces[:middle:middle], *cmp.Or(broken, &errorEvent))
	case CloseMidJSON:
		data := pieces[middle].data
		return append(pieces[:middle:middle], piece{data: data[:len(data)/2]})
	}
	return pieces
}

// errorEvent is how OpenAI breaks off a stream that has begun.
var errorEvent = piece{data: []byte(`data: {"error":{"message":"The server had an error while processing your request.","type":"server_error","param":null,"code":null}}` + "\n\n")}

// compress makes one gzip stream of the pieces, flushed after each.
func compress(pieces []piece) []piece {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	compressed := make([]piece, len(pieces))
	for i, p := range pieces {
		_, _ = zip.Write(p.data) // a bytes.Buffer takes everything
		_ = zip.Flush()
		if i == len(pieces)-1 {
			_ = zip.Close()
		}
		compressed[i] = piece{data: bytes.Clone(out.Bytes()), tokens: p.tokens}
		out.Reset()
	}
	return compressed
}

// trickle breaks the pieces into smaller ones of at most limit bytes; 0 leaves
// them whole. The tokens of a piece are with its last part.
func trickle(pieces []piece, limit int) []piece {
	if limit <= 0 {
		return pieces
	}
	var parts []piece
	for _, p := range pieces {
		for len(p.data) > limit {
			parts = append(parts, piece{data: p.data[:limit]})
			p.data = p.data[limit:]
		}
		parts = append(parts, p)
	}
	return parts
}

func size(pieces []piece) int {
	total := 0
	for _, p := range pieces {
		total += len(p.data)
	}
	return total
}
