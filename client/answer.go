package client

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// copyBytes is how much of an answer is read at once, in bytes: what io.Copy reads.
const copyBytes = 32 << 10

// pieceBytes is how much of an answer a program must take within the idle timeout, in
// bytes: as much as a client of the proxy.
const pieceBytes = 4 << 10

// answer is a response on its way to the program.
type answer struct {
	exchange *exchange
	grant    *gate.Grant
	resp     *http.Response
	src      io.ReadCloser
	meter    providers.Meter // nil: it is compressed, although nobody asked for that, and its cost unknown

	idle    *time.Timer // ends the call where the answer stands still
	buffer  []byte
	pending []byte // not passed on yet
	err     error  // what comes after pending
	gone    bool   // the program is
}

// receive delivers a response, with a body that is metered as the program reads it.
func (x *exchange) receive(grant *gate.Grant, resp *http.Response, sent *providers.Sent) *answer {
	a := &answer{exchange: x, grant: grant, resp: resp, src: resp.Body, buffer: make([]byte, copyBytes)}
	if begins := admission.AnswerOf(resp); begins.Coding() == "" {
		a.meter = sent.Meter(begins)
	}
	if a.meter != nil {
		if edits, sure := a.meter.Edits(); edits || !sure {
			resp.ContentLength = -1
			resp.Header.Del("Content-Length")
		}
	}
	a.idle = time.AfterFunc(x.transport.idleTimeout(), func() { x.leave(ErrIdle) })
	context.AfterFunc(x.life, func() { a.idle.Stop() })
	admission.Mark(resp.Header, grant, &sent.Removed)
	admission.DropOurs(resp.Trailer)
	resp.Request, resp.Body = x.in, &body{x}
	x.deliver(resp)
	return a
}

// meterOn passes on what comes until the answer is complete or over. What came last waits
// for the call to be settled, so that the program's next call finds its budget so.
func (a *answer) meterOn() {
	for a.err == nil && !a.complete() {
		a.pass()
		a.fill()
	}
}

// finish passes on the rest of an answer whose call is settled.
func (a *answer) finish() {
	defer a.src.Close()
	for a.pass(); a.err == nil && !a.gone; a.pass() {
		a.fill()
	}
	if a.err == io.EOF {
		a.exchange.to.Close()
		return
	}
	a.exchange.fail(a.err)
}

// pass writes what is pending. To a program that is gone there is nothing to pass.
func (a *answer) pass() {
	for piece := range slices.Chunk(a.pending, pieceBytes) {
		if a.gone {
			break
		}
		a.idle.Reset(a.exchange.transport.idleTimeout())
		_, err := a.exchange.to.Write(piece)
		a.gone = err != nil
	}
	a.pending = nil
}

// fill reads once.
func (a *answer) fill() {
	a.idle.Reset(a.exchange.transport.idleTimeout())
	n, err := a.src.Read(a.buffer)
	if a.meter == nil {
		a.pending, a.err = a.buffer[:n], err
		return
	}
	a.pending, a.err = a.meter.Feed(a.buffer[:n]), err
	if err != nil {
		a.close()
	}
}

// close takes in the end. A stream that a kill switch cuts says so in the way of its API,
// in place of half an event.
func (a *answer) close() {
	admission.DropOurs(a.resp.Trailer) // which is whole now
	end := a.err
	a.err = a.exchange.reasonOf(a.grant, end)
	var words []byte
	if d, killed := a.err.(*call.Denial); killed && len(a.pending) == 0 && a.resp.ContentLength < 0 && !a.complete() {
		words, _ = a.meter.Stop(d)
	}
	a.pending = append(slices.Clone(a.pending), a.meter.Close(end)...) // Feed's may be the meter's own
	if words != nil {
		a.pending = words
	}
}

func (a *answer) complete() bool {
	if a.meter == nil {
		return false
	}
	_, complete := a.meter.Seen()
	return complete
}

func (a *answer) outcome() gate.Outcome {
	if a.meter == nil {
		return gate.Outcome{Status: a.resp.StatusCode}
	}
	report := a.meter.Report()
	a.exchange.transport.chains.Note(a.exchange.key.Tenant.Name, &report)
	return admission.Outcome(a.grant.Upstream(), a.resp.StatusCode, report)
}

// body is the program's end of an answer.
type body struct{ exchange *exchange }

// Read returns what has come, once the call is settled if it is the end.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.exchange.body.Read(p)
	if broke, ok := err.(*panicked); ok {
		panic(broke.value)
	}
	return n, err
}

// Close says that the program reads no more.
func (b *body) Close() error {
	b.exchange.leave(http.ErrBodyReadAfterClose)
	return nil
}
