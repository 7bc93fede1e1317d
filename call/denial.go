package call

// Denial is a call that is not served, and what its caller needs to know. Rules, ledger and
// gate make it, or whoever reads the request; a dialect writes it in the way of its API.
type Denial struct {
	Reason  Reason // by which it was decided; "" where nobody decided about it
	Class   Class
	Code    string // says exactly what it is, for programs: "model_not_allowed"
	Message string // for people, without the "aegis: " in front
	Param   string // path of the member that is at fault, if any
	Retry   Retry
	After   int64 // seconds until a retry may help, 1 to 60; 0: as Retry has it

	// Of a limit that denies:
	Budget     string             // its name
	Limit      int64              // nano-USD; a plain count of requests, slots, tool calls or nonces
	Spent      int64              // alike
	Held       int64              // alike
	Needed     int64              // alike: what the call would have claimed
	Format     func(int64) string // writes an amount, as USD or as a count
	ResetsAt   int64              // ledger milliseconds; 0: never
	LargestCap int64              // the largest output cap, in tokens, that would have fit; 0: none
	Redact     bool               // amounts are not for the client

	// Decision and Receipt go into headers of their own.
	Decision string // "error" where the call was allowed; "": it was denied
	Receipt  string // the id of the receipt that tells of it, alone or with others; "" without
}

// Error returns the message.
func (d *Denial) Error() string { return "aegis: " + d.Message }

// Reason is why a call was denied, as receipts and metrics have it.
type Reason string

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
	Down                          // what decides cannot be asked: the ledger, or the receipt log
	Unavailable                   // this proxy has no room now; another may
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
	case Down, Unavailable:
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
	// RetrySoon: after RetryAfter.
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
