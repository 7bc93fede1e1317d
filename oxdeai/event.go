package oxdeai

import "fmt"

// EventType names what an audit event says.
type EventType string

// The five events of the protocol.
const (
	IntentReceived    EventType = "INTENT_RECEIVED"
	DecisionMade      EventType = "DECISION"
	AuthEmitted       EventType = "AUTH_EMITTED"
	ExecutionAttested EventType = "EXECUTION_ATTESTED" // appended by the host, never by the engine
	StateCheckpoint   EventType = "STATE_CHECKPOINT"
)

// Event is one entry of the audit log. Which members are written depends on the type; Timestamp and PolicyID always
// are.
type Event struct {
	Type            EventType
	Timestamp       int64 // Unix seconds; the timestamp of the intent in events of the engine
	PolicyID        string
	IntentHash      string // all but STATE_CHECKPOINT
	AgentID         string // INTENT_RECEIVED
	Decision        Decision
	Reasons         []Reason // DECISION
	PolicyVersion   string   // DECISION
	AuthorizationID string   // AUTH_EMITTED
	ExpiresAt       int64    // AUTH_EMITTED, Unix seconds
	ExecutionRef    string   // EXECUTION_ATTESTED
	StateHash       string   // STATE_CHECKPOINT
}

// Object returns the event with the member names of the protocol, in the order of their names. It is nil for an event
// that has no canonical form, and Canonical refuses nil.
func (e Event) Object() *Object {
	enc := newEncoder()
	defer enc.release()
	enc.event(&e)
	if enc.err != nil {
		return nil
	}
	v, _ := Parse(enc.buf)
	o, _ := v.(*Object)
	return o
}

// event writes the members of an event: those of its type before policyId, and those behind.
func (e *encoder) event(ev *Event) {
	switch ev.Type {
	case IntentReceived:
		e.member(`{"agent_id":`, ev.AgentID)
		e.member(`,"intent_hash":`, ev.IntentHash)
		e.member(`,"policyId":`, ev.PolicyID)
	case DecisionMade:
		e.member(`{"decision":`, string(ev.Decision))
		e.member(`,"intent_hash":`, ev.IntentHash)
		e.member(`,"policyId":`, ev.PolicyID)
		e.member(`,"policy_version":`, ev.PolicyVersion)
		e.raw(`,"reasons":`)
		encodeList(e, ev.Reasons, func(e *encoder, r Reason) { e.text(string(r)) })
	case AuthEmitted:
		e.member(`{"authorization_id":`, ev.AuthorizationID)
		e.raw(`,"expires_at":`)
		e.int(ev.ExpiresAt)
		e.member(`,"intent_hash":`, ev.IntentHash)
		e.member(`,"policyId":`, ev.PolicyID)
	case ExecutionAttested:
		e.member(`{"execution_ref":`, ev.ExecutionRef)
		e.member(`,"intent_hash":`, ev.IntentHash)
		e.member(`,"policyId":`, ev.PolicyID)
	case StateCheckpoint:
		e.member(`{"policyId":`, ev.PolicyID)
		e.member(`,"stateHash":`, ev.StateHash)
	default:
		e.fail(fmt.Errorf("%w: event type %.40q", ErrUnsupportedType, ev.Type))
		return
	}
	e.raw(`,"timestamp":`)
	e.int(ev.Timestamp)
	e.member(`,"type":`, string(ev.Type))
	e.raw("}")
}
