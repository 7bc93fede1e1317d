package oxdeai

import (
	"math"
	"strconv"
)

// AnchorRule says whether a log without a state checkpoint is inconclusive.
type AnchorRule uint8

const (
	// AnchorsByMode demands a checkpoint unless the mode is best effort.
	AnchorsByMode AnchorRule = iota
	// AnchorsRequired demands a checkpoint in every mode.
	AnchorsRequired
	// AnchorsOptional demands none in any mode.
	AnchorsOptional
)

// AuditOptions are the demands on an audit log. The zero value is the closed one.
type AuditOptions struct {
	Mode             Mode
	ExpectedPolicyID string // empty: any, as long as there is only one
	Anchors          AnchorRule
	// ExpectedHead is the head hash that the caller keeps elsewhere, 64 lowercase hex digits. Events carry no hashes, so only
	// this comparison finds an event that was edited, moved or cut off.
	ExpectedHead string
	// AcceptUnanchoredHead lets a log verify without ExpectedHead, as peers of the protocol do. The caller must then compare
	// Result.AuditHeadHash itself. Without it the result is at best inconclusive, with NO_HEAD_ANCHOR.
	AcceptUnanchoredHead bool
}

// VerifyAuditEvents checks every event of a log, recomputes the hash chain and looks for a state checkpoint. It never panics and
// takes any value; one that is not a list is invalid.
func VerifyAuditEvents(events Value, opts AuditOptions) Result {
	list, ok := events.([]Value)
	if !ok {
		return refused(CodeMalformedEvent, "events must be an array")
	}
	a := newAuditRun(opts)
	a.run(list)
	a.checkHead()
	return a.result()
}

// auditRun is one pass over a log.
type auditRun struct {
	opts      AuditOptions
	found     findings
	head      chainHead
	buf       []byte  // scratch space of the chain
	prev      float64 // timestamp of the last accepted event
	policyID  string  // first policy id that is not empty
	mixed     bool    // a second one was seen
	anchored  bool
	lastState string // stateHash of the last checkpoint
}

func newAuditRun(opts AuditOptions) *auditRun {
	return &auditRun{opts: opts, head: genesis(), prev: math.Inf(-1)}
}

func (a *auditRun) run(events []Value) {
	for i, v := range events {
		event, ok := v.(*Object)
		if !ok || event == nil {
			a.found.addAt(i, CodeMalformedEvent, "event must be an object")
			continue
		}
		if issues := CheckEvent(event); len(issues) > 0 {
			for _, issue := range issues {
				a.found.addAt(i, CodeMalformedEvent, issue.Path+": "+issue.Message)
			}
			continue
		}
		a.accept(i, event)
	}
	if a.mixed {
		a.found.add(CodeMixedPolicyID, "multiple distinct policyId values observed")
	}
	if a.wantsAnchor() && !a.anchored {
		a.found.add(CodeNoStateAnchor, "no STATE_CHECKPOINT event with stateHash found")
	}
}

// accept takes an event that passed the schema.
func (a *auditRun) accept(i int, event *Object) {
	a.checkTime(i, event)
	policyID, _ := event.Text("policyId")
	a.checkPolicy(i, policyID)
	if hash, ok := checkpointHash(event); ok {
		a.anchored, a.lastState = true, hash
	}
	var err error
	if a.buf, err = a.head.advance(a.buf, event); err != nil {
		a.found.add(CodeHashChainInvalid, "failed to recompute hash chain")
	}
}

func (a *auditRun) checkTime(i int, event *Object) {
	now, _ := integerMember(event, "timestamp")
	if now < a.prev {
		a.found.addAt(i, CodeNonMonotonicTimestamp,
			"event timestamps must be non-decreasing (prev="+numberText(a.prev)+", next="+numberText(now)+")")
	}
	a.prev = now
}

func (a *auditRun) checkPolicy(i int, policyID string) {
	switch want := a.opts.ExpectedPolicyID; {
	case want == "":
	case policyID == "":
		a.found.addAt(i, CodePolicyIDMissing, "event.policyId is required when expectedPolicyId is provided")
	case policyID != want:
		a.found.addAt(i, CodePolicyIDMismatch, "event.policyId mismatch (expected="+want+", got="+policyID+")")
	}
	if a.policyID == "" {
		a.policyID = policyID
	} else if policyID != "" && policyID != a.policyID {
		a.mixed = true
	}
}

func (a *auditRun) wantsAnchor() bool {
	if a.opts.Anchors == AnchorsByMode {
		return a.opts.Mode != ModeBestEffort
	}
	return a.opts.Anchors == AnchorsRequired
}

func (a *auditRun) checkHead() {
	switch want := a.opts.ExpectedHead; {
	case want == "" && !a.opts.AcceptUnanchoredHead:
		a.found.add(CodeNoHeadAnchor, "no expected head hash was given to compare the log with")
	case want != "" && want != a.head.String():
		a.found.add(CodeAuditHeadMismatch, "audit head does not match the expected head")
	}
}

func (a *auditRun) result() Result {
	r := a.found.result()
	r.AuditHeadHash = a.head.String()
	if !a.mixed {
		r.PolicyID = a.policyID
	}
	return r
}

// checkpointHash gives the state hash of a checkpoint event.
func checkpointHash(event *Object) (string, bool) {
	if t, _ := event.Get("type"); t != string(StateCheckpoint) {
		return "", false
	}
	v, _ := event.Get("stateHash")
	s, _ := v.(string)
	return s, true
}

// numberText writes a number as JSON serializers do: plain digits below 10^21, an exponent above.
func numberText(f float64) string {
	if math.Abs(f) < 1e21 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'e', -1, 64)
}
