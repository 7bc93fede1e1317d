package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// exchange is one recording that is being checked.
type exchange struct {
	*Suite
	*Recording
	t     *testing.T
	head  providers.Head
	op    providers.Operation
	terms providers.Terms
}

// secret is a key that must not leave.
const secret = "client-secret-0123456789"

// errorf fails the test for this recording.
func (x *exchange) errorf(format string, args ...any) {
	x.t.Helper()
	x.t.Errorf("%s: %s", x.ID, fmt.Sprintf(format, args...))
}

// check runs all that can be run of a recording. Of several verdicts the first counts.
func (x *exchange) check() (Verdict, string) {
	var offer providers.Offer
	verdict, why := Exact, ""
	if len(x.Request.Bytes()) > 0 {
		offer, verdict, why = x.offer(x.Request.Bytes())
		x.checkAlias(verdict == Unbounded)
	}
	if offer != nil {
		x.checkSent(offer)
	} else if offer = x.standIn(); offer == nil {
		x.errorf("the stand-in has no bound")
		return verdict, why
	}
	report := x.checkMeter(offer)
	told, used := x.checkUsage(report)
	x.checkSpellings(offer, report, verdict == Exact && len(x.Request.Bytes()) > 0)
	if verdict != Exact {
		return verdict, why
	}
	if x.Whole() {
		x.checkBound(offer, used)
		x.checkFees(offer, report)
	}
	return told.Verdict, told.Why
}

// standIn is the offer of a body in place of one that is not there, or has no bound.
func (x *exchange) standIn() providers.Offer {
	body := x.StandIn(x.op, x.Stream != "")
	whole := *x
	whole.head = headOf(x.head, body)
	offer, _, _ := whole.offer(body)
	return offer
}

// headOf is the head of a request with a body of this form.
func headOf(h providers.Head, body []byte) providers.Head {
	if !isForm(body) {
		return h
	}
	boundary, _, _ := bytes.Cut(body[len("--"):], []byte("\r\n"))
	h.Header = maps.Clone(h.Header)
	h.Header["Content-Type"] = []string{"multipart/form-data; boundary=" + string(boundary)}
	return h
}

// offer bounds a body on the recording's terms.
func (x *exchange) offer(body []byte) (providers.Offer, Verdict, string) {
	r, err := x.Suite.Dialect.Parse(x.op, x.head, body)
	if err != nil {
		if _, ok := errors.AsType[*providers.ParseError](err); !ok {
			x.errorf("parsed with an error of another type: %v", err)
		}
		return nil, Refused, err.Error()
	}
	if f := r.Facts(); f.Dialect != x.Suite.Dialect.Name() || f.Endpoint != x.op.Operation {
		x.errorf("the facts are of %q of the dialect %q, not of %q", f.Endpoint, f.Dialect, x.op.Operation)
	}
	offer, err := r.On(x.terms)
	if err != nil {
		if _, ok := errors.AsType[*providers.Unbounded](err); !ok {
			x.errorf("bounded with an error of another type: %v", err)
		}
		return nil, Unbounded, err.Error()
	}
	return offer, Exact, ""
}

// checkSent: what leaves is what came, but for what must change, and no key is in it.
func (x *exchange) checkSent(offer providers.Offer) {
	asked := slices.Max(append(x.Caps(x.Request.Bytes()), 0))
	head := maps.Clone(x.head.Header)
	for _, limit := range [...]int64{1, 16, offer.Bound().Output.Cap} {
		if limit > offer.Bound().Output.Cap {
			continue
		}
		body := x.sentBody(offer.Send(limit))
		for _, c := range x.Caps(body) {
			if offer.Bound().Output.Fixed == 0 && c > limit || asked > 0 && c > asked {
				x.errorf("a cap of %d was sent; %d was asked for, and %d granted: %s", c, asked, limit, body)
			}
		}
		x.sameMembers(body)
	}
	first, again := offer.Send(0), offer.Send(0)
	if body := x.sentBody(first); !bytes.Equal(body, x.sentBody(again)) || first.Path != again.Path || first.Query != again.Query || !reflect.DeepEqual(first.Header, again.Header) {
		x.errorf("what is sent again is another request")
	} else if offer.Bound().Output.Cap > 0 {
		x.sameMembers(body)
	}
	if !reflect.DeepEqual(x.head.Header, head) {
		x.errorf("the client's headers were %v and are %v", head, x.head.Header)
	}
}

// isForm reports whether a body is a form, which begins with its boundary.
func isForm(body []byte) bool { return bytes.HasPrefix(body, []byte("--")) }

func (x *exchange) sentBody(s providers.Sent) []byte {
	size := s.Body.Size()
	body, err := io.ReadAll(s.Body)
	if err != nil || int64(len(body)) != size {
		x.errorf("%d bytes of %d were sent: %v", len(body), size, err)
	}
	return body
}

// sameMembers: all members of the body but those that may change have the bytes that they
// had. A form stays as it is.
func (x *exchange) sameMembers(sent []byte) {
	if isForm(sent) {
		if !bytes.Equal(sent, x.Request.Bytes()) {
			x.errorf("the form was changed: %s", sent)
		}
		return
	}
	var before, after map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(x.Request.Bytes(), &before), json.Unmarshal(sent, &after)); err != nil {
		x.errorf("not JSON: %v: %s", err, sent)
		return
	}
	for _, name := range x.MayChange {
		delete(before, name)
		delete(after, name)
	}
	if len(before) != len(after) {
		x.errorf("%d members became %d: %s", len(before), len(after), sent)
	}
	for name, value := range before {
		if !bytes.Equal(value, after[name]) {
			x.errorf("%s was %s and is %s", name, value, after[name])
		}
	}
}

// pieces are the sizes, in bytes, of the chunks that a response is cut into; 0 is whole.
var pieces = [...]int{0, 1, 3, 7, 4096}

// checkMeter: however the response is cut, it is read and passed on alike.
func (x *exchange) checkMeter(offer providers.Offer) (first providers.Report) {
	body := x.Response.Bytes()
	sent := offer.Send(offer.Bound().Output.Cap)
	answer := providers.Answer{Status: x.Response.Status, Header: x.Response.Header(), Framed: true}
	var passed []byte
	for i, size := range pieces {
		m := sent.Meter(answer)
		out := feed(m, body, size)
		report := m.Report()
		if i == 0 {
			first, passed = report, out
			if edits, _ := m.Edits(); !edits && !bytes.Equal(out, body) {
				x.errorf("nothing is taken out, but %d bytes became %d", len(body), len(out))
			}
			if !within(out, body) {
				x.errorf("more than taking out was done: %s", out)
			}
			continue
		}
		if !reflect.DeepEqual(report, first) {
			x.errorf("in pieces of %d the report is %+v, whole it is %+v", size, report, first)
		}
		if !bytes.Equal(out, passed) {
			x.errorf("in pieces of %d %d bytes pass, whole %d", size, len(out), len(passed))
		}
	}
	return first
}

// feed passes a body through a meter, in pieces, and returns what comes out.
func feed(m providers.Meter, body []byte, size int) (out []byte) {
	if size == 0 {
		size = max(1, len(body))
	}
	for piece := range slices.Chunk(body, size) {
		out = append(out, m.Feed(slices.Clone(piece))...)
		m.Seen()
	}
	return append(out, m.Close(io.EOF)...)
}

// within reports whether out is whole with some bytes taken out.
func within(out, whole []byte) bool {
	for _, c := range whole {
		if len(out) > 0 && out[0] == c {
			out = out[1:]
		}
	}
	return len(out) == 0
}

// checkUsage holds the report against the answer, read in a second way, and returns what
// that says.
func (x *exchange) checkUsage(report providers.Report) (told Finding, want Usage) {
	want, said := x.Usage(x.Response.Bytes(), x.Stream != "")
	got := totals(report)
	switch {
	case report.HasUsage && !said:
		x.errorf("usage of %+v is made up", got)
	case report.HasUsage && (got.Input < want.Input || got.Output < want.Output):
		x.errorf("usage is read as %+v, the answer says %+v", got, want)
	case report.HasUsage && got != want:
		return Finding{Verdict: Dearer, Why: fmt.Sprintf("%d in and %d out are read as %d and %d", want.Input, want.Output, got.Input, got.Output)}, want
	case report.HasUsage || report.Refused():
	case said && want != (Usage{}):
		return Finding{Verdict: Unknown, Why: fmt.Sprintf("status %d, %d in and %d out", x.Response.Status, want.Input, want.Output)}, want
	case x.Stream != "":
		return Finding{Verdict: Untold, Why: fmt.Sprintf("a stream, status %d", x.Response.Status)}, want
	default:
		return Finding{Verdict: Untold, Why: fmt.Sprintf("status %d", x.Response.Status)}, want
	}
	return Finding{}, want
}

// totals are the tokens of all that ran.
func totals(r providers.Report) (u Usage) {
	for i := range r.Lines {
		u.Input += r.Lines[i].Usage.InputTokens()
		u.Output += r.Lines[i].Usage.OutputTokens()
	}
	return u
}

// checkBound: the usage is within what was bounded before.
func (x *exchange) checkBound(offer providers.Offer, used Usage) {
	b := offer.Bound()
	input := x.input(b)*(1+b.Input.Rereads) + b.Output.Cap*b.Output.Rereads
	output := (b.Output.Cap + b.Output.Fixed + x.count(b.Output.Texts, false)) * b.Output.Choices
	for i := range b.Beside {
		input += b.Beside[i].Usage.InputTokens()
		output += b.Beside[i].Usage.OutputTokens()
	}
	if used.Input > input || used.Output > output {
		x.errorf("the bound was %d in and %d out, used were %d and %d", input, output, used.Input, used.Output)
	}
}

// checkFees: so are the fees.
func (x *exchange) checkFees(offer providers.Offer, report providers.Report) {
	var used, most call.Usage
	for u := range call.Fees.All() {
		for i := range report.Lines {
			used[u] += report.Lines[i].Usage[u]
		}
		for _, l := range offer.Bound().Beside {
			most[u] += l.Usage[u]
		}
		if used[u] > most[u] {
			x.errorf("the bound was %d %s, used were %d", most[u], u, used[u])
		}
	}
}

// count bounds the tokens of texts as the proxy does: exactly where that is possible.
func (x *exchange) count(texts []string, exact bool) (sum int64) {
	encoding, known := tokenizer.ForModel(x.model())
	for _, text := range texts {
		n := tokenizer.UpperBound(text)
		if known && exact {
			var err error
			if n, err = encoding.Count(text); err != nil {
				x.errorf("count: %v", err)
			}
		}
		sum += n
	}
	return sum
}

// model is the one that the request names.
func (x *exchange) model() string {
	r, err := x.Suite.Dialect.Parse(x.op, x.head, x.Request.Bytes())
	if err != nil {
		return ""
	}
	return r.Facts().Model
}
