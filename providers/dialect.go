package providers

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Head is a request as it was received, less its body. Header has canonical names, as
// net/http has them, and none of those that only the proxy may set or read.
type Head struct {
	Method string
	Path   string // still escaped, without the run that may stand in front
	Query  string // still escaped, without the question mark
	Header map[string][]string
}

// Dialect is one API as its clients and servers speak it. It holds nothing of any
// request, and serves many at once.
//
// A Request is a call as its client sent it, shared by all attempts; an Offer is that
// call on one upstream; Sent is what leaves, with the Meter that knows what was added
// to it. The upstream's own key is no dialect's business: it is put in at the very end,
// over the final bytes.
type Dialect interface {
	// Name is what policies and receipts call it: "openai".
	Name() string

	// Routes are all operations that the API is known to have.
	Routes() []Route

	// Match finds the operation that a request is for. Where APIs share a path their
	// headers decide.
	Match(Head) (Operation, bool)

	// Credential returns the tenant's key, from wherever the API's clients put it; an
	// empty one counts as absent. The error is a *call.Denial: none, or two that differ.
	Credential(Head) (string, error)

	// Payer returns the headers by which a request says who pays for it: where the API takes
	// a credential, and by which account it may be billed. They travel on to an upstream that
	// takes the client's own, and to no other.
	Payer(Head) map[string][]string

	// Parse reads a body, and whatever of the head can cost money. The error is a
	// *ParseError. The body must not change while the Request is in use.
	Parse(Operation, Head, []byte) (Request, error)

	// Models is the answer to an operation of the kind Listed: these models, or where its
	// path names a {model} the one.
	Models(Operation, []Model) Reply

	// Deny is how the API says no, for an operation and a client; the zero Operation
	// is none that is known.
	Deny(Operation, Head, *call.Denial) Reply
}

// Request is a call as its client sent it. It refers to the body.
type Request interface {
	// Facts are what the request says of them: Dialect and Endpoint, by the names of both,
	// Model as the client names it, Stream, what it needs beside its operation's own, tools and results of tools, of
	// each at most MaxTools. They have memory of their own, and may outlive the body. What
	// they refer to must not be changed.
	Facts() call.Facts

	// Field returns the string at a path of the body, such as "user" or
	// "metadata.customer"; ok is false if there is none.
	Field(path string) (value string, ok bool)

	// Rename has what is bounded and sent ask for this model: one that the model it names is an alias of, or that is
	// called in its place. Facts go on telling the one that it names, since newer rules may decide otherwise.
	Rename(model string)

	// Copied is how much memory it takes beside the body, in bytes.
	Copied() int64

	// On is the call on one upstream. The error is an *Unbounded where its cost has no
	// bound there.
	On(Terms) (Offer, error)
}

// Limits of a request, for every dialect.
const (
	// MaxTexts is how many texts a request may carry in all.
	MaxTexts = 1 << 16
	// MaxTools is how many tools a request may offer, and how many results it may
	// bring.
	MaxTools = 1 << 12
	// MaxCap bounds an output cap, in tokens.
	MaxCap = wire.MaxInteger
	// MaxModelBytes bounds the model's name.
	MaxModelBytes = 256
	// MaxTierBytes bounds the name of a service tier.
	MaxTierBytes = 64
)

// ToolResult is the result of one tool call that a request brings, as its body has it.
type ToolResult struct {
	CallID string // as the model gave it; "" where the API has none
	Name   string // of the tool; "" if the request does not tell
}

// Results are results of tools as facts have them. Those that have no id are told apart
// by the body that brings them and their place.
func Results(results []ToolResult, body []byte) (list []call.ToolResult) {
	if len(results) == 0 {
		return nil
	}
	digest := sync.OnceValue(func() string { return fmt.Sprintf("%x", sha256.Sum256(body)) })
	for i, r := range results {
		id := r.CallID
		if id == "" {
			id = fmt.Sprintf("%s/%d", digest(), i)
		}
		list = append(list, call.ToolResult{ID: call.HashName(id), Tool: r.Name})
	}
	return list
}

// Terms are what holds for a call on one upstream. Tokens that are not known are 0.
type Terms struct {
	Provider string // who serves it, by the price table's name
	Obeys    Obeys
	// Allow is what the operator admits there beyond the dialect's lists for the
	// provider; nil for nothing. Priced says that the operator's own price holds for the
	// model.
	Allow  *call.Allow
	Priced bool
	// Tools is what becomes of tools that run at the provider. Those that are priced need
	// a cap of their calls in what is sent; a tool that the request's history or its
	// choice of tools names cannot be stripped, and is denied.
	Tools call.HostedTools

	DefaultOutput int64 // the policy's output cap where the client sent none, in tokens
	MaxOutput     int64 // the most that the model writes, in tokens
	Context       int64 // the most that it reads and writes, in tokens
	// Earlier says what is known of an answer that the provider keeps, by its id; nil:
	// nobody remembers any.
	Earlier func(id string) Earlier
	// DenyUnknown says that a request which names an answer of which nothing is known is
	// denied, where else the context bounds what it brings.
	DenyUnknown bool

	MaxImage int64 // the policy's bound of one image where no published rule gives it, in tokens
	// MaxDocument is the policy's bound of one document whose pages the body does not show,
	// in tokens; 0: it may fill the context.
	MaxDocument int64
}

// Earlier is what is known of an earlier answer. The zero Earlier is nothing.
type Earlier struct {
	Own     bool  // it is this tenant's
	Foreign bool  // it is another tenant's
	Tokens  int64 // of input, at most, that a request has from it; 0: nobody knows
	// Reader is the LeftBy of the report: who has counted them. Kinds is its LeftKinds.
	Reader string
	Kinds  call.Kinds
}

// EarlierOf is what is known of an earlier answer.
func (t *Terms) EarlierOf(id string) Earlier {
	if t.Earlier == nil {
		return Earlier{}
	}
	return t.Earlier(id)
}

// Obeys is what an upstream is known to do with a dialect's requests.
type Obeys struct {
	CapField    string // the member whose output cap it obeys, where the dialect has several
	StreamUsage bool   // it tells the usage of a stream where it is asked to
}

// OutputCap is an output cap that the model can fill: the one asked for, at most the
// model's own maximum, or that where none (0) is asked for; 0 if neither is known.
func (t *Terms) OutputCap(asked int64) int64 {
	if asked == 0 || t.MaxOutput > 0 && asked > t.MaxOutput {
		return t.MaxOutput
	}
	return asked
}

// Offer is a call on one upstream.
type Offer interface {
	// Bound is the most that it can use.
	Bound() *Bound

	// Send makes what leaves, with this output cap, in tokens of one choice, which is at
	// most the bound's; 0 leaves the request's own caps alone.
	Send(outputCap int64) Sent
}

// Sent is a request that leaves.
type Sent struct {
	Path  string // behind the upstream's base URL, escaped, made anew from what was matched
	Query string // escaped
	// Header are the client's headers less those that are not for the upstream, its
	// credentials first, and with those that the dialect sets.
	Header map[string][]string
	// Removed is what was taken out of it.
	Removed Removed
	// Body refers to the request's body until it was read.
	Body *Edited
	// Meter returns the meter of the response. It does not refer to the request's body.
	Meter func(Answer) Meter
}

// Removed is what was taken out of a request and would have changed its answer, so that the
// client is told.
type Removed struct {
	Betas []string // values of beta headers
	Tools []string // that run at the provider, by their types or as the body's member is called
}

// Answer is how a response begins.
type Answer struct {
	Status int
	Header map[string][]string
	// Framed says that its length or its chunks tell where it ends. Else its connection
	// does, which may break anywhere.
	Framed bool
}

// Stream reports whether the response is announced as server-sent events.
func (a *Answer) Stream() bool {
	types := a.Header["Content-Type"]
	if len(types) == 0 {
		return false
	}
	kind, _, _ := strings.Cut(types[0], ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// Coding is the response's content coding, "" if it is plain.
func (a *Answer) Coding() string {
	coding := strings.Join(a.Header["Content-Encoding"], ",")
	if strings.EqualFold(coding, "identity") {
		return ""
	}
	return coding
}

// Meter reads a response as it passes and finds what it used, in bounded memory. How
// the response is cut into chunks changes nothing. It is not safe for concurrent use.
type Meter interface {
	// Feed takes the next bytes, without any content coding, and returns those to pass
	// on: chunk itself, or what is valid until the next call.
	Feed(chunk []byte) []byte

	// Close returns what is still to pass on when the response has ended. err is what it
	// ended with: io.EOF if its sender ended it.
	Close(err error) []byte

	// Edits reports whether bytes of the response are, or may be, taken out of it; sure
	// is false while too little was seen to know.
	Edits() (edits, sure bool)

	// Seen is what was seen so far: output in tokens, at most, and whether the answer
	// was complete. It is asked at every read.
	Seen() (output int64, complete bool)

	// Report is what was found so far; it is final after Close.
	Report() Report

	// Stop returns what ends a stream in the way of this API, so that its client learns
	// why and does not try again; nil where nothing can be said any more. whole says that
	// the stream is then one that has come to its end, so that its connection may too. It
	// never completes a tool call that has begun.
	Stop(*call.Denial) (words []byte, whole bool)
}

// Model is one that a tenant may use.
type Model struct {
	ID    string
	Owner string // the upstream that serves it
}
