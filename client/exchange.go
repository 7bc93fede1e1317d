package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// exchange is one call. It runs in a goroutine of its own, which alone asks leave, sends,
// meters and settles, since it may outlive the program's interest. The program has the
// other end of a channel for the response, and of a pipe for its body.
type exchange struct {
	transport *Transport
	in        *http.Request // the program's
	header    http.Header   // the program's, by the names that HTTP has
	head      providers.Head
	dialect   providers.Dialect
	operation providers.Operation
	baseURL   string // of the upstreams that it reaches
	origin    admission.Origin
	request   providers.Request
	known     gate.Bid        // the one that was made last, less its bound
	offer     providers.Offer // of that

	answered  chan answered
	delivered bool // the response was
	body      *io.PipeReader
	to        *io.PipeWriter

	payer  map[string][]string           // what the program says of who pays, for an upstream that takes it
	key    *policy.Key                   // whose the call is, by the rules of the last bid
	life   context.Context               // the call's
	cancel context.CancelCauseFunc       // cuts it
	tenant atomic.Pointer[policy.Tenant] // nil before anything may be sent
	left   sync.Once                     // the program has lost interest
}

// answered is what the program waits for.
type answered struct {
	response *http.Response
	err      error
}

// panicked is a panic below, on its way to the program's own goroutine.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprint("panic: ", p.value) }

// run starts the call and waits for its response.
func (x *exchange) run() (*http.Response, error) {
	caller := x.in.Context()
	x.life, x.cancel = context.WithCancelCause(context.WithoutCancel(caller))
	stop := context.AfterFunc(caller, func() { x.leave(context.Cause(caller)) })
	go func() {
		defer x.cancel(nil)
		defer stop()
		x.call()
	}()
	select {
	case a := <-x.answered:
		if p, ok := a.err.(*panicked); ok {
			panic(p.value)
		}
		if caller.Err() == nil {
			return a.response, a.err
		}
	case <-caller.Done():
	}
	return nil, context.Cause(caller)
}

// call is the whole call. Its grant has ended when gate.Call returns; what is left of the
// answer is passed on then.
func (x *exchange) call() {
	defer func() {
		if p := recover(); p != nil {
			x.fail(&panicked{p})
		}
	}()
	result, err := gate.Call(x.life, x.transport.Gate, x, x.send)
	if err != nil {
		x.fail(err)
		return
	}
	result.Value.finish()
}

// Bid bounds the call on the upstream that the program has called.
func (x *exchange) Bid(rules *gate.Rules) (gate.Bid, *call.Denial, error) {
	key, err := rules.Key(x.transport.Tenant, x.transport.Key)
	if err != nil {
		return gate.Bid{}, nil, err
	}
	x.key, x.payer = key, admission.PayerOf(x.dialect, x.head, rules.Policy)
	x.known, err = admission.NewBid(rules, key, x.request, x.origin, x.header)
	if err != nil {
		return gate.Bid{}, nil, err
	}
	bid, denial := x.bound()
	return bid, denial, nil
}

// Instead is the call of another model, where the policy has one for an exhausted budget.
func (x *exchange) Instead(_ gate.Bid, err error) (bid gate.Bid, denial *call.Denial, ok bool) {
	if x.known, ok = admission.Instead(x.known, x.request, err); ok {
		bid, denial = x.bound()
	}
	return bid, denial, ok
}

// bound bounds what is known of the call.
func (x *exchange) bound() (gate.Bid, *call.Denial) {
	bids, offers, denial := admission.Door{Chains: &x.transport.chains, BaseURL: x.baseURL, ClientPays: len(x.payer) > 0}.Bound(x.known, x.request)
	if denial == nil {
		x.offer = offers[0]
	}
	return bids[0], denial
}

// deliver gives the program the response.
func (x *exchange) deliver(r *http.Response) {
	x.delivered = true
	x.answered <- answered{response: r}
}

// fail tells the program that there is no answer, or no more of one.
func (x *exchange) fail(err error) {
	if x.delivered {
		x.to.CloseWithError(err)
		return
	}
	if _, ok := errors.AsType[*call.Denial](err); ok {
		x.deliver(x.denial(admission.DenialOf(err)))
		return
	}
	x.answered <- answered{err: err}
}

// told answers what costs nothing and asks for no more than the policy tells: nothing is
// sent.
func (x *exchange) told() (*http.Response, error) {
	rules := x.transport.Gate.Rules()
	key, err := rules.Key(x.transport.Tenant, x.transport.Key)
	if err != nil {
		return nil, err
	}
	if x.operation.Kind == providers.Probed {
		r := x.response(providers.Reply{Status: http.StatusOK}) // there is a server
		r.Header.Set(admission.DecisionHeader, admission.Allowed)
		return r, nil
	}
	h := http.Header{}
	reply, err := x.listed(rules, key, h)
	if errors.Is(err, gate.ErrClosed) {
		return nil, err
	}
	if err != nil {
		return x.denial(admission.DenialOf(err)), nil
	}
	r := x.response(reply)
	maps.Copy(r.Header, h)
	return r, nil
}

// listed is what the policy tells of models, with leave of the gate, which marks the header.
func (x *exchange) listed(rules *gate.Rules, key *policy.Key, h http.Header) (providers.Reply, error) {
	var err error
	if x.origin.Run, err = admission.RunOf(x.header, ""); err != nil {
		return providers.Reply{}, err
	}
	listing := admission.Listing{Rules: rules, Key: key, Dialect: x.dialect, Operation: x.operation, Origin: x.origin, Header: x.header}
	return listing.Answer(x.in.Context(), x.transport.Gate, h)
}

// denial is the response that says no, in the shape of the API.
func (x *exchange) denial(d *call.Denial) *http.Response {
	r := x.response(x.dialect.Deny(x.operation, x.head, d))
	admission.MarkDenied(r.Header, d)
	return r
}

// response is one of our own.
func (x *exchange) response(reply providers.Reply) *http.Response {
	h := http.Header{}
	maps.Copy(h, reply.Header)
	h.Set("Content-Length", strconv.Itoa(len(reply.Body)))
	r := &http.Response{
		Status: fmt.Sprintf("%d %s", reply.Status, http.StatusText(reply.Status)), StatusCode: reply.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(bytes.NewReader(reply.Body)), ContentLength: int64(len(reply.Body)), Request: x.in,
	}
	if x.in.Method == http.MethodHead {
		r.Body = http.NoBody
	}
	return r
}

// errUnread cuts a call whose rest was not over in time.
var errUnread = errors.New("the rest of the answer was not over within drain_limit")

// leave says that the program waits for no more of the call. One that may have been sent
// goes on, for its usage, as far as the policy says.
func (x *exchange) leave(why error) {
	x.left.Do(func() {
		x.to.CloseWithError(why)
		tenant := x.tenant.Load()
		if tenant == nil || tenant.Disconnect == policy.Cancel {
			x.cancel(why)
			return
		}
		timer := time.AfterFunc(tenant.DrainLimit, func() { x.cancel(errUnread) })
		context.AfterFunc(x.life, func() { timer.Stop() })
	})
}
