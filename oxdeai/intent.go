package oxdeai

import (
	"errors"
	"fmt"
	"math/big"
)

// ErrIntentInvalid: an intent cannot be read. The message names the member.
var ErrIntentInvalid = errors.New("invalid intent")

// The two types of intent.
const (
	TypeExecute = "EXECUTE"
	TypeRelease = "RELEASE"
)

// Intent is what an agent asks for. It keeps its members as they came, because the hash covers them as they came: an
// absent type and an explicit EXECUTE are two different intents. The zero Intent is denied.
//
// Its timestamp is the only clock of an evaluation: whoever writes it decides which window an action falls into. So the
// host writes timestamp, amount and tool_call itself and takes none of them from the agent.
type Intent struct {
	bound   *Object // the members that the hash covers, sorted by name
	agentID string
	amount  *big.Int // nil if absent or null
	nonce   *big.Int // nil if absent or null
}

// bindingMembers are the members that the intent hash covers, sorted by name.
var bindingMembers = [...]string{
	"action_type", "agent_id", "amount", "asset", "authorization_id", "depth", "intent_id", "metadata_hash", "nonce",
	"target", "timestamp", "tool", "tool_call", "type",
}

// NewIntent reads an intent from its members: signature and unknown members are ignored, amount and nonce may be an
// integer or a decimal text with an optional trailing n. It does not require any member; the engine denies what it
// cannot evaluate.
func NewIntent(o *Object) (Intent, error) {
	in := Intent{bound: &Object{Members: make([]Member, 0, len(bindingMembers))}}
	for _, name := range bindingMembers {
		v, ok := o.Get(name)
		if !ok {
			continue
		}
		if (name == "amount" || name == "nonce") && v != nil {
			n, err := readBig(v)
			if err != nil {
				return Intent{}, fmt.Errorf("%w: %s: %w", ErrIntentInvalid, name, err)
			}
			v = n
		}
		in.bound.Members = append(in.bound.Members, Member{name, v})
	}
	in.agentID, _ = in.text("agent_id")
	in.amount, _ = in.get("amount").(*big.Int)
	in.nonce, _ = in.get("nonce").(*big.Int)
	return in, nil
}

// DecodeIntent reads an intent from JSON of at most MaxArtifactBytes: parts of it enter the state. The errors are
// ErrTooLarge and those of Parse and NewIntent.
func DecodeIntent(text []byte) (Intent, error) {
	if len(text) > MaxArtifactBytes {
		return Intent{}, fmt.Errorf("%w: intent of %d bytes, limit %d", ErrTooLarge, len(text), MaxArtifactBytes)
	}
	v, err := Parse(text)
	if err != nil {
		return Intent{}, err
	}
	o, ok := v.(*Object)
	if !ok {
		return Intent{}, fmt.Errorf("%w: it is a JSON %s, not an object", ErrIntentInvalid, kindOf(v))
	}
	return NewIntent(o)
}

// Hash returns the intent hash. The errors are those of Canonical.
func (in Intent) Hash() (string, error) {
	if in.bound == nil {
		return "", ErrIntentInvalid
	}
	return Hash(in.bound)
}

// AgentID returns the agent, or the empty string if the intent names none.
func (in Intent) AgentID() string { return in.agentID }

func (in Intent) get(name string) Value {
	if in.bound == nil {
		return nil
	}
	v, _ := in.bound.Get(name)
	return v
}

func (in Intent) text(name string) (string, bool) {
	s, ok := in.get(name).(string)
	return s, ok
}

// optionalText returns a member that may be absent or null, and whether it is there. Any other type is an error.
func (in Intent) optionalText(name string) (string, bool, error) {
	switch v := in.get(name).(type) {
	case nil:
		return "", false, nil
	case string:
		return v, true, nil
	default:
		return "", false, fmt.Errorf("%w: %s is a JSON %s", ErrIntentInvalid, name, kindOf(v))
	}
}

// timestamp returns the only clock of an evaluation, in Unix seconds.
func (in Intent) timestamp() (int64, bool) { return SafeInt(in.get("timestamp")) }

// kind returns the type of the intent; an absent one is EXECUTE.
func (in Intent) kind() (kind string, known bool) {
	if in.bound == nil {
		return "", false
	}
	v, ok := in.bound.Get("type")
	if !ok {
		return TypeExecute, true
	}
	s, _ := v.(string)
	return s, s == TypeExecute || s == TypeRelease
}

// depth returns how deep the action is nested, in calls; an absent or null depth is 0.
func (in Intent) depth() (int64, error) {
	v := in.get("depth")
	if v == nil {
		return 0, nil
	}
	n, ok := SafeInt(v)
	if !ok {
		return 0, fmt.Errorf("%w: depth is no integer", ErrIntentInvalid)
	}
	return n, nil
}
