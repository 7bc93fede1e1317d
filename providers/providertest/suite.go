// Package providertest is the suite that every dialect must pass: what the proxy relies
// on, checked on recorded exchanges with real APIs.
//
//   - However a response is cut into chunks, the report is the same, and so is what is
//     passed on. Where nothing was asked for that is, byte for byte, what came; else only
//     bytes are missing.
//   - What the report says of usage is what the recorded answer says, or more, never less.
//   - An answer that is written otherwise is read alike: its members in another order, with
//     white space, unknown members, other ends of lines and comments between them. So is a
//     request bounded, but for its white space.
//   - A body leaves as it came but for the members that the dialect may change, and no
//     output cap is above what the client asked for or the proxy grants.
//   - The recorded usage is within the bound of the recorded request.
//   - No credential of the client leaves, wherever its clients may put it, but in the headers that say
//     who pays, which are what the client sent and nothing beside.
//   - Each route is in the table once, and found by its own path.
//   - Each class of denial has an answer that the API's own clients can read.
//
// Recordings that are read otherwise than exactly have a Verdict, and a page of the docs
// lists them.
package providertest

import (
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Suite is what the tests of a dialect tell of it.
type Suite struct {
	Dialect providers.Dialect

	// Vendor is who serves the API first, by the price table's name.
	Vendor string

	// Header is what every client of the API sends, where that tells it from other APIs.
	Header map[string][]string

	// Place says how a recording's request would come to the proxy, and on what terms it
	// would be sent; ok is false for one of another dialect.
	Place func(*Recording) (h providers.Head, t providers.Terms, ok bool)

	// StandIn is a body that is sure to be bounded, for recordings whose own is missing
	// or has no bound.
	StandIn func(op providers.Operation, stream bool) []byte

	// Usage reads an answer's usage as it is told, in a second way, without a thought:
	// tokens in and out. ok is false if it tells none.
	Usage func(answer []byte, stream bool) (u Usage, ok bool)

	// Caps are the output caps in a body, in tokens of one choice.
	Caps func(body []byte) []int64

	// MayChange are the members of a body that the dialect adds or changes.
	MayChange []string

	// Credentials are the places where clients of the dialect put a key.
	Credentials []func(h *providers.Head, key string)

	// ErrorMessage reads the message of an answer to a denial as the official client
	// does; "" if it would find none.
	ErrorMessage func(providers.Reply) string
}

// Usage is tokens in and out.
type Usage struct{ Input, Output int64 }

// Verdict says why a recording is not read exactly. The empty one says that it is.
type Verdict string

// Verdicts.
const (
	Exact Verdict = ""
	// Refused: the request is one that the proxy does not take.
	Refused Verdict = "refused"
	// Unbounded: it takes it for one whose cost has no bound.
	Unbounded Verdict = "unbounded"
	// Dearer: usage was read as more than a plain reading has.
	Dearer Verdict = "dearer"
	// Unknown: the answer tells usage, but its cost is taken for unknown.
	Unknown Verdict = "unknown"
	// Untold: the answer tells no usage, and its cost is unknown.
	Untold Verdict = "untold"
)

// Finding is one recording that was not read exactly.
type Finding struct {
	ID      string
	Verdict Verdict
	Why     string
}

// Run checks every recording of the dialect, and returns those that were not read
// exactly. Without any recording of the dialect it fails.
func (s *Suite) Run(t *testing.T, recordings []*Recording) (findings []Finding) {
	t.Helper()
	seen := 0
	for _, r := range recordings {
		head, terms, ok := s.Place(r)
		if !ok {
			continue
		}
		op, ok := s.Dialect.Match(head)
		if !ok || op.Kind != providers.Governed {
			t.Errorf("%s: %s %s is no governed operation", r.ID, head.Method, head.Path)
			continue
		}
		seen++
		x := &exchange{Suite: s, t: t, Recording: r, head: head, op: op, terms: terms}
		if verdict, why := x.check(); verdict != Exact {
			findings = append(findings, Finding{r.ID, verdict, why})
		}
	}
	if seen == 0 {
		t.Errorf("no recording of %s among %d", s.Dialect.Name(), len(recordings))
	}
	return findings
}

// Rules checks what holds without any recording.
func (s *Suite) Rules(t *testing.T) {
	t.Run("routes", s.routes)
	t.Run("credentials", s.credentials)
	t.Run("denials", s.denials)
}
