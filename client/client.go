// Package client governs a Go program's own calls to LLM APIs, in the program itself. A
// Transport is an http.RoundTripper; an SDK that takes an *http.Client needs two lines:
//
//	governed := &http.Client{Transport: &client.Transport{Gate: g, Tenant: "me"}}
//	ai := openai.NewClient(option.WithHTTPClient(governed))
//
// It promises what the proxy promises. What a call can cost at most is held before it is
// sent, with the output cap that this needs in the body; what does not fit is not sent,
// and the program gets a denial in the shape of the API, which its SDK raises as it does
// any error of the API and does not send again. The answer is metered as it is read, streamed or
// not, and charged once: before the program can see its end, or however else the call
// ends. Bounds, denials and receipts are those of the proxy, from the same code.
//
// The program's own URL says where a call goes: to the upstream of the policy that has
// that base URL and serves the model. Any other URL is refused, and there are no
// fallbacks. The upstream's key is the policy's, or where that names none the program's
// own, with the headers of its account where the policy says credential: client. Run, nonce and depth are told by the proxy's headers, which do not leave the
// program. Lists of models are answered from the policy, as the proxy answers them.
package client

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
)

// MaxBodyBytes bounds a request's body: as much as any API was found to take for one
// request with images.
const MaxBodyBytes = 50 << 20

// DefaultIdleTimeout is twice as long as the proxy waits for an upstream that says nothing
// (idle_timeout), since a program may think about what it has read.
const DefaultIdleTimeout = 10 * time.Minute

// ErrIdle says that an answer stood still for longer than the Transport's IdleTimeout.
var ErrIdle = errors.New("client: the answer stood still for longer than IdleTimeout")

// Transport sends what its gate gives leave for. It is safe for concurrent use, and must
// not be changed once it is used. Gate and Tenant are required.
type Transport struct {
	Gate   *gate.Gate
	Tenant string // whose budgets, as the policy names it
	Key    string // the id of one of its keys; "": the tenant itself, whom no limit of a key concerns

	// Base sends what has leave; nil: http.DefaultTransport. It sends a request once: a
	// second time would not be held. Timeouts are its own, or those of the program's
	// contexts; the policy's of an upstream are the proxy's.
	Base http.RoundTripper

	// IdleTimeout is how long an answer may stand still, because nothing of it comes or
	// because the program leaves what has come unread. Then the call ends as if the program
	// had closed the answer, and reading on returns ErrIdle: one that is dropped without
	// that would hold its budget for ever. 0: DefaultIdleTimeout.
	IdleTimeout time.Duration

	// Dialects that are spoken; nil: all.
	Dialects providers.Registry

	chains admission.Chains
}

// RoundTrip governs one call. A denial is a response. An error is what Base returned, why
// the request's context ended, or one of package gate: ErrClosed, ErrUnknownTenant,
// ErrUnknownKey.
//
// When the program closes the answer early, or its context ends, the rest is read
// for its usage, or the call is cut and charged what it held, as the policy says
// (on_disconnect). Gate.Close waits for that.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := &exchange{transport: t, in: r, header: canonical(r.Header), answered: make(chan answered, 1)}
	x.body, x.to = io.Pipe()
	err := x.locate(t.Gate.Rules().Policy)
	asks := x.operation.Kind == providers.Listed || x.operation.Kind == providers.Probed
	if err == nil && !asks {
		err = x.read()
	}
	if r.Body != nil {
		r.Body.Close()
	}
	switch {
	case err != nil:
		return x.denial(admission.DenialOf(err)), nil
	case asks:
		return x.told()
	}
	return x.run()
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

func (t *Transport) idleTimeout() time.Duration { return cmp.Or(t.IdleTimeout, DefaultIdleTimeout) }

func (t *Transport) dialects() providers.Registry {
	if t.Dialects == nil {
		return dialects.All()
	}
	return t.Dialects
}
