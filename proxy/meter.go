package proxy

import (
	"bytes"
	"io"
	"net/http"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// maxErrorBytes bounds what is read of a response before its header is passed on:
// an error, so that a fallback may be tried, or the blanks that a response begins with.
const maxErrorBytes = 64 << 10

// meteredBody is an upstream's response on its way to the client. The usage in
// it is settled before the client can see that its answer is complete, so that
// a client's next request finds its budget settled.
type meteredBody struct {
	src     io.ReadCloser
	resp    *http.Response
	meter   providers.Meter
	decoder *decoder // meters a decoded copy of a compressed response; else nil
	x       *exchange
	grant   *gate.Grant
	status  int
	stops   bool // the upstream stops billing when its connection is closed
	idle    *idleWatch

	pending []byte // ready for the client, not read yet
	err     error  // what comes after pending
	settled bool
	closed  bool
}

// meter wraps the body of a response.
func (x *exchange) meter(resp *http.Response) *meteredBody {
	answer := admission.AnswerOf(resp)
	coding := answer.Coding()
	b := &meteredBody{
		src:    resp.Body,
		resp:   resp,
		meter:  x.newMeter(answer),
		x:      x,
		grant:  x.grant,
		status: resp.StatusCode,
		stops:  x.cancelStops(),
	}
	if coding != "" {
		b.decoder = newDecoder(coding, b.meter)
	}
	x.cut.begun.Store(true)
	b.idle = watchIdle(x.grant.Upstream().IdleLimit, x.cancel)
	resp.Body = b
	if resp.ContentLength >= 0 && b.edits() {
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	}
	return b
}

// edits reports whether anything is taken out of a response, which changes its length.
func (b *meteredBody) edits() bool {
	if b.decoder != nil {
		return false
	}
	edits, sure := b.meter.Edits()
	if sure {
		return edits
	}
	return b.editsOnceSeen()
}

// editsOnceSeen reads so much of a response that its meter knows. What has a length was
// sent whole, so that the header waits for nothing. What begins with maxErrorBytes of
// blanks may still be a stream.
func (b *meteredBody) editsOnceSeen() bool {
	var scratch [4 << 10]byte
	for {
		edits, sure := b.meter.Edits()
		if sure || b.err != nil {
			return edits
		}
		if len(b.pending) > maxErrorBytes {
			return true
		}
		b.fillBehind(scratch[:])
	}
}

// Read passes on what the upstream sends, less what the proxy asked for itself.
func (b *meteredBody) Read(p []byte) (int, error) {
	for len(b.pending) == 0 {
		if b.err != nil {
			return 0, b.end()
		}
		b.fill(p)
		if b.x.cut.done.Load() && b.err == nil && !b.complete() {
			b.drain()
			b.pending, b.err = nil, errCut // what came behind the cut is for the meter alone
		}
	}
	n := copy(p, b.pending)
	b.pending = b.pending[n:]
	if len(b.pending) == 0 && b.err == io.EOF {
		return n, io.EOF
	}
	return n, nil
}

// end is the error that the copy stops with. A response that breaks off is cut
// off at the client too, but not before it has what came.
func (b *meteredBody) end() error {
	if b.err != io.EOF {
		_ = b.x.flush() // the client may have gone
	}
	return b.err
}

// fill reads once from the upstream, into the reader's own buffer. The upstream
// is not idle while the client takes its time.
func (b *meteredBody) fill(p []byte) {
	b.idle.wait()
	n, err := b.src.Read(p)
	b.idle.rest()
	b.pending = b.feed(p[:n])
	if err == nil {
		if b.complete() {
			b.settle()
		}
		return
	}
	if err == io.EOF && b.x.cut.done.Load() && !b.complete() {
		err = errCut // not its end
	}
	b.err = err
	admission.DropOurs(b.resp.Trailer) // which is whole now
	words, whole := b.lastWords()
	b.finish()
	if words != nil {
		b.pending = words // in place of half an event
	}
	b.settle()
	if whole {
		b.err = io.EOF
	}
}

// lastWords tell the client of a stream that a kill switch cuts why it ends here, in the
// way of its API; nil where nothing can be said. Some make the stream whole.
func (b *meteredBody) lastWords() (words []byte, whole bool) {
	name := b.x.killed.Load()
	if name == nil || len(b.pending) > 0 || b.decoder != nil || b.resp.ContentLength >= 0 || b.complete() {
		return nil, false
	}
	denial := admission.DenialOf(policy.KilledBy(*name))
	denial.Receipt = b.grant.Receipt
	return b.meter.Stop(denial)
}

// fillBehind reads once, and keeps what is pending already.
func (b *meteredBody) fillBehind(p []byte) {
	before := bytes.Clone(b.pending)
	b.fill(p)
	b.pending = append(before, b.pending...)
}

func (b *meteredBody) feed(chunk []byte) []byte {
	if b.decoder == nil {
		return b.meter.Feed(chunk)
	}
	b.decoder.feed(chunk)
	return chunk
}

// finish takes in the end of a response, also of one that was cut off.
func (b *meteredBody) finish() {
	end := b.err
	if b.decoder != nil {
		end = b.decoder.close(end)
	}
	if edits, sure := b.meter.Edits(); sure && !edits {
		b.meter.Close(end) // which holds nothing back
		return
	}
	passed := bytes.Clone(b.pending) // it may be the meter's own, and Close writes there too
	b.pending = append(passed, b.meter.Close(end)...)
}

// complete reports whether the answer was seen to its end. A compressed one is
// metered behind the copy, so its end is the end of the body.
func (b *meteredBody) complete() bool {
	if b.decoder != nil {
		return false
	}
	_, complete := b.meter.Seen()
	return complete
}

// settle ends the attempt's grant with what is known by now. Only the first
// call counts.
func (b *meteredBody) settle() {
	if b.settled {
		return
	}
	b.settled = true
	b.x.cut.settled.Store(true)
	if b.decoder != nil {
		b.decoder.close(b.err)
	}
	b.grant.End(b.outcome())
}

func (b *meteredBody) outcome() gate.Outcome {
	report := b.meter.Report()
	b.x.chains.Note(b.grant.Bid().Key.Tenant.Name, &report)
	o := admission.Outcome(b.grant.Upstream(), b.status, report)
	if o.Basis == audit.BasisUnknown && report.Stream && !report.BilledWhole && b.cancelled() {
		o.Basis, o.Lines = audit.BasisFloor, b.seen(report)
	}
	return o
}

// cancelled reports whether the proxy cut a stream off, on an upstream that then
// stops billing. An answer that is not a stream was generated before it was
// sent.
func (b *meteredBody) cancelled() bool {
	return b.status == http.StatusOK && b.err != nil && b.err != io.EOF &&
		(b.x.ctx.Err() != nil || b.x.cut.done.Load()) && b.stops
}

// seen is the usage of a response that was cut off: all of the input that is
// held, and of the output what was seen, which the hold bounds, or was told.
func (b *meteredBody) seen(report providers.Report) []call.Line {
	line := call.Line{Key: report.Lines[0].Key, Billed: report.Lines[0].Billed}
	told := report.Lines[0].Usage.OutputTokens()
	line.Usage[call.Input] = b.grant.InputTokens()
	line.Usage[call.Output] = max(told, min(report.OutputTokens, b.grant.Bid().MostOutput()))
	return []call.Line{line}
}

// Close is called when the copy is over. If the client hung up, the rest of
// the response is read for its usage, in the time that the policy gives.
func (b *meteredBody) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	defer b.idle.stop()
	if b.err == nil && !b.complete() {
		b.x.hangUp() // also where only writing to the client has failed
		b.drain()
	}
	b.settle()
	return b.src.Close()
}

// drain reads on until the answer is complete or cut off.
func (b *meteredBody) drain() {
	var scratch [4 << 10]byte
	for b.err == nil && !b.complete() {
		b.fill(scratch[:])
	}
}

// buffer reads an error response, so that its grant is ended before another
// attempt begins. It reports whether that was all of it: one above
// maxErrorBytes is no matter for a fallback.
func (b *meteredBody) buffer() bool {
	var scratch [4 << 10]byte
	for b.err == nil && len(b.pending) <= maxErrorBytes {
		b.fillBehind(scratch[:])
	}
	return b.err != nil
}
