package oxdeai

import (
	"errors"
	"fmt"
	"strconv"
)

// ReplayStatus is the outcome of VerifyReplay.
type ReplayStatus string

// The three outcomes of VerifyReplay.
const (
	ReplayOK           ReplayStatus = "ok"
	ReplayViolation    ReplayStatus = "violation"
	ReplayInconclusive ReplayStatus = "inconclusive"
)

// ReplayFinding is one violation, in order of discovery.
type ReplayFinding struct {
	Code   Code
	At     int    // position of the event, meaningful only if HasAt
	HasAt  bool   // the finding belongs to one event
	Detail string // empty: none
}

// ReplayResult is what VerifyReplay returns.
type ReplayResult struct {
	Status           ReplayStatus
	Violations       []ReplayFinding
	ExpectedPolicyID string // as given
	ObservedPolicyID string // first policy id that is a string
	Observed         bool   // there was one; it may be the empty string
	AuditHeadHash    string // head of the chain from GenesisHash, 64 lowercase hex digits
}

// OK reports whether nothing was found and nothing is missing.
func (r ReplayResult) OK() bool { return r.Status == ReplayOK }

// ReplayOptions are the demands of VerifyReplay. The zero value is the closed one.
type ReplayOptions struct {
	PolicyID string // empty: any
	Mode     Mode   // only best effort goes without a checkpoint
}

// VerifyReplay is the short check of a log before it is replayed: time never goes back, there is one policy, and checkpoints
// carry hashes. It checks no schema; VerifyAuditEvents does. An event that is no object, or that has no canonical form, is an
// error, which names its position. An event whose timestamp is no number counts as going back.
func VerifyReplay(events []Value, opts ReplayOptions) (ReplayResult, error) {
	r := replayRun{result: ReplayResult{ExpectedPolicyID: opts.PolicyID}, head: genesis()}
	for i, v := range events {
		event, ok := v.(*Object)
		if !ok || event == nil {
			return ReplayResult{}, fmt.Errorf("replay event %d: %w", i, errNoObject)
		}
		if err := r.take(i, event); err != nil {
			return ReplayResult{}, fmt.Errorf("replay event %d: %w", i, err)
		}
	}
	r.comparePolicies(opts.PolicyID)
	r.result.AuditHeadHash = r.head.String()
	r.result.Status = r.status(opts.Mode)
	return r.result, nil
}

var errNoObject = errors.New("must be an object")

type replayRun struct {
	result   ReplayResult
	head     chainHead
	buf      []byte
	prev     float64
	mixed    bool
	anchored bool
}

func (r *replayRun) take(i int, event *Object) error {
	v, _ := event.Get("timestamp")
	now, ok := v.(float64)
	if !ok || i > 0 && now < r.prev {
		r.addAt(i, CodeNonMonotonicTimestamp)
	}
	r.prev = now
	if hash, ok := checkpointHash(event); ok {
		r.anchored = true
		if !isHashText(hash) {
			r.addAt(i, CodeReplayStateHashInvalid)
		}
	}
	r.seePolicy(event)
	var err error
	r.buf, err = r.head.advance(r.buf, event)
	return err
}

func (r *replayRun) seePolicy(event *Object) {
	v, _ := event.Get("policyId")
	id, ok := v.(string)
	switch {
	case !ok:
	case !r.result.Observed:
		r.result.Observed, r.result.ObservedPolicyID = true, id
	case id != r.result.ObservedPolicyID:
		r.mixed = true
	}
}

func (r *replayRun) comparePolicies(want string) {
	if r.mixed {
		r.add(CodeMixedPolicyID, "observed multiple policyId values")
	}
	if got := r.result.ObservedPolicyID; want != "" && got != "" && got != want {
		r.add(CodePolicyIDMismatch, "expected="+want+", observed="+got)
	}
}

func (r *replayRun) status(mode Mode) ReplayStatus {
	if len(r.result.Violations) > 0 {
		return ReplayViolation
	}
	if mode != ModeBestEffort && !r.anchored {
		r.add(CodeNoStateAnchor, "")
		return ReplayInconclusive
	}
	return ReplayOK
}

func (r *replayRun) add(code Code, detail string) {
	r.result.Violations = append(r.result.Violations, ReplayFinding{Code: code, Detail: detail})
}

func (r *replayRun) addAt(i int, code Code) {
	if len(r.result.Violations) < MaxViolations {
		r.result.Violations = append(r.result.Violations, ReplayFinding{Code: code, At: i, HasAt: true})
	}
}

// isHashText says whether s is 64 lowercase hex digits.
func isHashText(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == len(GenesisHash)
}

// AppendJSON appends the result as one JSON object with the member names of the protocol.
func (r ReplayResult) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"ok":`...)
	dst = strconv.AppendBool(dst, r.OK())
	dst = appendTextMember(dst, "status", string(r.Status))
	dst = append(dst, `,"violations":[`...)
	for i, v := range r.Violations {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = v.appendJSON(dst)
	}
	dst = append(dst, ']')
	if r.ExpectedPolicyID != "" {
		dst = appendTextMember(dst, "expectedPolicyId", r.ExpectedPolicyID)
	}
	if r.Observed {
		dst = appendTextMember(dst, "observedPolicyId", r.ObservedPolicyID)
	}
	dst = appendTextMember(dst, "auditHeadHash", r.AuditHeadHash)
	return append(dst, '}')
}

func (f ReplayFinding) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"code":"`...)
	dst = append(dst, f.Code...)
	dst = append(dst, '"')
	if f.HasAt {
		dst = append(dst, `,"at":`...)
		dst = strconv.AppendInt(dst, int64(f.At), 10)
	}
	if f.Detail != "" {
		dst = appendTextMember(dst, "detail", f.Detail)
	}
	return append(dst, '}')
}
