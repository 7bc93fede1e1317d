package providers

import (
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Denial is an answer that the proxy gives in place of the upstream. A dialect writes it
// in the way of its API, as a Reply.
type Denial struct {
	Class   Class
	Code    string // says exactly what it is, for programs: "model_not_allowed"
	Message string // for people, with "aegis: " in front
	Param   string // path of the member that is at fault, if any
	Retry   Retry
	After   int64 // seconds until a retry may help, 1 to 60; 0: as the class has it
	Details Details

	// Decision and Receipt go into headers of their own.
	Decision string // "deny", or "error" where the call was allowed
	Receipt  string // the receipt's id; "" without
}

// Error returns the message.
func (d *Denial) Error() string { return d.Message }

// Details are what a budget denial adds. Amounts are decimal strings; an empty field is
// left out.
type Details struct {
	Budget     string // name of the budget that denied
	Limit      string
	Spent      string
	Held       string
	Needed     string // what this request would have claimed
	ResetsAt   string // RFC 3339
	LargestCap string // largest output cap, in tokens, that would have fit
}

// Append appends the details as a JSON object.
func (d *Details) Append(dst []byte) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for _, m := range [...]struct{ name, value string }{
		{"budget", d.Budget},
		{"limit", d.Limit},
		{"spent", d.Spent},
		{"held", d.Held},
		{"needed", d.Needed},
		{"resets_at", d.ResetsAt},
		{"largest_cap", d.LargestCap},
	} {
		if m.value == "" {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = wire.AppendString(dst, m.name)
		dst = append(dst, ':')
		dst = wire.AppendString(dst, m.value)
	}
	return append(dst, '}')
}

// Class is what a client must know of a denial to go on.
type Class uint8

// Classes of denials.
const (
	Malformed    Class = iota + 1 // the request cannot be read, or not as one request
	Unidentified                  // no key, or none that is known
	Exhausted                     // a budget is used up: no use before it resets
	Forbidden                     // a rule forbids it
	NotFound                      // there is no such thing
	Conflict                      // it was made already
	TooLarge                      // the body is
	Unreadable                    // the body's coding is
	Held                          // what others hold is to come free: soon
	TooMany                       // a rate is used up
	Gone                          // the client has left
	Broken                        // the proxy has failed
	Unanswered                    // the upstream gave no answer
	Late                          // nor did it in time
	Unavailable                   // the proxy cannot decide now
)

// Status is the HTTP status of a class, where the dialect has no other.
func (c Class) Status() int {
	switch c {
	case Malformed:
		return 400
	case Unidentified:
		return 401
	case Exhausted:
		return 402
	case Forbidden:
		return 403
	case NotFound:
		return 404
	case Conflict:
		return 409
	case TooLarge:
		return 413
	case Unreadable:
		return 415
	case Held, TooMany:
		return 429
	case Gone:
		return statusGone
	case Unanswered:
		return 502
	case Unavailable:
		return 503
	case Late:
		return 504
	}
	return 500
}

// statusGone is what servers log of a request whose client has gone: no standard has a
// status for it, and nobody reads it.
const statusGone = 499

// Retry says whether to send a request again.
type Retry uint8

const (
	// RetryUnsaid: the status says enough.
	RetryUnsaid Retry = iota
	// RetryNever: of no use before something changes.
	RetryNever
	// RetrySoon: after RetryAfter, or after what the denial says.
	RetrySoon
)

// soon is after how many seconds a retry helps where nothing better is known.
const soon = 1

// RetryAfter is after how many seconds a client is asked to try again; 0: it is not.
func (d *Denial) RetryAfter() int64 {
	switch {
	case d.Retry == RetryNever: // some clients sleep it out before they give up
		return 0
	case d.After == 0 && d.Retry == RetrySoon:
		return soon
	}
	return d.After
}

// AddRetry adds what the official SDKs obey first: X-Should-Retry, and Retry-After.
func (d *Denial) AddRetry(h map[string][]string) {
	switch d.Retry {
	case RetryNever:
		h["X-Should-Retry"] = []string{"false"}
	case RetrySoon:
		h["X-Should-Retry"] = []string{"true"}
	}
	if after := d.RetryAfter(); after > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(after, 10)}
	}
}

// Reply is an answer of the proxy, in the way of an API.
type Reply struct {
	Status int
	Header map[string][]string
	Body   []byte
}
