package oxdeai

import (
	"bytes"
	"fmt"
)

// eventRules lists the members of every event type besides type, timestamp and policyId, which all types have.
var eventRules = map[EventType][]fieldRule{
	IntentReceived: {textRule("intent_hash"), stringRule("agent_id")},
	DecisionMade: {
		textRule("intent_hash"),
		enumRule("decision", "must be ALLOW or DENY", string(Allow), string(Deny)),
		{"reasons", isStringList, issueType, "must be string array"},
		stringRule("policy_version"),
	},
	AuthEmitted: {
		textRule("authorization_id"), textRule("intent_hash"),
		timeRule("expires_at"),
	},
	ExecutionAttested: {textRule("intent_hash"), stringRule("execution_ref")},
	StateCheckpoint:   {textRule("stateHash")},
}

// MaxEventIssues bounds the issues that are listed for one event, in entries.
const MaxEventIssues = 1000

// CheckEvent lists what keeps an audit event from being one, sorted by path, code and message. A good event gives nil. Unknown members
// beyond MaxEventIssues are not listed.
func CheckEvent(event *Object) []Issue {
	issues := checkEventAt("$", event, nil)
	sortIssues(issues)
	return issues
}

// checkEventAt appends the issues of an event whose place is path. They are not sorted.
func checkEventAt(path string, event *Object, issues []Issue) []Issue {
	t, _ := event.Get("type")
	kind, ok := t.(string)
	if !ok {
		return append(issues, Issue{Path: path + ".type", Code: issueRequired, Message: "missing type"})
	}
	if v, _ := event.Get("timestamp"); !isTime(v) {
		issues = append(issues, Issue{Path: path + ".timestamp", Code: issueType, Message: "timestamp must be non-negative integer"})
	}
	if v, found := event.Get("policyId"); found && !isString(v) {
		issues = append(issues, Issue{Path: path + ".policyId", Code: issueType, Message: "policyId must be string"})
	}
	rules, known := eventRules[EventType(kind)]
	if !known {
		return append(issues, Issue{Path: path + ".type", Code: issueEnum, Message: "unsupported event type"})
	}
	return checkUnknown(path, event, rules, checkRules(path, event, rules, issues))
}

// checkRules checks the members that the rules name; an absent one counts as null.
func checkRules(path string, o *Object, rules []fieldRule, issues []Issue) []Issue {
	for i := range rules {
		if v, _ := o.Get(rules[i].name); !rules[i].valid(v) {
			issues = append(issues, Issue{Path: path + "." + rules[i].name, Code: rules[i].code, Message: rules[i].message})
		}
	}
	return issues
}

func checkUnknown(path string, event *Object, rules []fieldRule, issues []Issue) []Issue {
	for _, m := range event.Members {
		if len(issues) >= MaxEventIssues {
			break
		}
		if m.Name == "type" || m.Name == "timestamp" || m.Name == "policyId" || findRule(rules, m.Name) != nil {
			continue
		}
		issues = append(issues, Issue{Path: path + "." + m.Name, Code: issueAdditional, Message: "unknown field"})
	}
	return issues
}

// MaxEvents bounds the events of one log that is decoded, in entries.
const MaxEvents = 200_000

// DecodeEvents reads an audit log: one JSON array of events, or one event per line. It checks the JSON and the limits
// (MaxDocumentBytes, MaxEvents), not the events: VerifyAuditEvents does.
func DecodeEvents(data []byte) ([]Value, error) {
	if len(data) > MaxDocumentBytes {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(data), MaxDocumentBytes)
	}
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("[")) {
		return decodeEventArray(data)
	}
	var events []Value
	line := 0
	for l := range bytes.Lines(data) {
		line++
		if len(bytes.TrimSpace(l)) == 0 {
			continue
		}
		v, err := Parse(l)
		if err != nil {
			return nil, fmt.Errorf("line %d of the audit log: %w", line, err)
		}
		if events = append(events, v); len(events) > MaxEvents {
			return nil, fmt.Errorf("%w: more than %d events", ErrTooLarge, MaxEvents)
		}
	}
	return events, nil
}

func decodeEventArray(data []byte) ([]Value, error) {
	v, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	events, _ := v.([]Value)
	if len(events) > MaxEvents {
		return nil, fmt.Errorf("%w: %d events, limit %d", ErrTooLarge, len(events), MaxEvents)
	}
	return events, nil
}
