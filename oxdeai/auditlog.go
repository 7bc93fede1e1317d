package oxdeai

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// GenesisHash is the head of an empty audit log: the SHA-256 of the text OxDeAI::GENESIS::v1, in hex.
const GenesisHash = "db393af6a9cf189c2b250a0a7dea0c776a3d446c9f51999426f933c53416238b"

// MaxAuditEvents is how many events an AuditLog holds at once. A full log takes no more until Drain, and an engine
// with a full log denies.
const MaxAuditEvents = 1 << 20

// Errors of the audit log.
var (
	// ErrAuditLogFull: the log holds MaxAuditEvents events.
	ErrAuditLogFull = errors.New("audit log is full: drain it")
	// ErrChainBroken: the events of a log do not lead to its head.
	ErrChainBroken = errors.New("audit chain does not lead to its head")
)

// chainHead is a head of the chain.
type chainHead hexSum

func (h chainHead) String() string { return string(h[:]) }

func genesis() (h chainHead) {
	copy(h[:], GenesisHash)
	return h
}

// ChainStep returns the head after an event: the SHA-256 of the head's hex text, one LF, and the canonical bytes of
// the event. An event without policyId is hashed with policyId null. The errors are those of Canonical.
func ChainStep(head string, event *Object) (string, error) {
	var h chainHead
	if len(head) != len(h) {
		return "", fmt.Errorf("chain head has %d characters, want %d", len(head), len(h))
	}
	copy(h[:], head)
	_, err := h.advance(nil, event)
	return h.String(), err
}

// advance moves the head over an event. It uses buf as scratch space and returns it for the next call; after an error
// the head is what it was.
func (h *chainHead) advance(buf []byte, event *Object) ([]byte, error) {
	if _, ok := event.Get("policyId"); !ok && event != nil {
		event = NewObject(append([]Member{{Name: "policyId"}}, event.Members...)...)
	}
	buf, err := AppendCanonical(h.start(buf), event)
	if err == nil {
		h.finish(buf)
	}
	return buf, err
}

// start begins the text that the next head is the hash of; the canonical bytes of the event follow.
func (h *chainHead) start(buf []byte) []byte { return append(append(buf[:0], h[:]...), '\n') }

func (h *chainHead) finish(text []byte) { *h = chainHead(hexDigest(text)) }

// advanceEvent is advance for an event of this package. The encoder is empty.
func (h *chainHead) advanceEvent(e *encoder, event *Event) error {
	e.buf = h.start(e.buf)
	if e.event(event); e.err != nil {
		return e.err
	}
	h.finish(e.buf)
	return nil
}

// AuditLog is the chain of events in memory. It is safe for concurrent use.
type AuditLog struct {
	mu     sync.Mutex
	sink   AuditSink
	events []Event
	limit  int // MaxAuditEvents
	head   chainHead
}

// NewAuditLog returns an empty log. A sink that is not nil gets every event before the log does. The chain starts at
// GenesisHash each time, so every log needs a sink of its own: one file that two of them filled verifies against the head
// of neither.
func NewAuditLog(sink AuditSink) *AuditLog {
	return &AuditLog{head: genesis(), sink: sink, limit: MaxAuditEvents}
}

// Append adds an event. If the event has no canonical form, if the sink refuses it, or if the log is full, the log is
// unchanged.
func (l *AuditLog) Append(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) >= l.limit {
		return ErrAuditLogFull
	}
	enc := newEncoder()
	defer enc.release()
	next := l.head
	if err := next.advanceEvent(enc, &e); err != nil {
		return fmt.Errorf("audit event %s: %w", e.Type, err)
	}
	if l.sink != nil {
		if err := l.sink.Append(enc.buf[len(next)+1:]); err != nil {
			return fmt.Errorf("audit sink: %w", err)
		}
	}
	l.head = next
	e.Reasons = slices.Clone(e.Reasons)
	l.events = append(l.events, e)
	return nil
}

// HeadHash returns the current head in hex; GenesisHash for an empty log.
func (l *AuditLog) HeadHash() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.String()
}

// Events returns a copy of the events that the log holds.
func (l *AuditLog) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.events)
	for i := range out {
		out[i].Reasons = slices.Clone(out[i].Reasons)
	}
	return out
}

// Drain returns the events and forgets them. The head stays, so Verify fails from then on: the caller has to check
// the chain over all the events it drained.
func (l *AuditLog) Drain() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.events
	l.events = nil
	return out
}

// Verify computes the chain again from the genesis hash. The error is ErrChainBroken if it does not lead to the head.
func (l *AuditLog) Verify() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	enc := newEncoder()
	defer enc.release()
	head := genesis()
	for i := range l.events {
		if err := head.advanceEvent(enc, &l.events[i]); err != nil {
			return err
		}
	}
	if head != l.head {
		return ErrChainBroken
	}
	return nil
}
