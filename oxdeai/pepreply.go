package oxdeai

// Upstream says how the call to the upstream of an enforcement point ended.
type Upstream uint8

const (
	// UpstreamFault: the enforcement point itself failed.
	UpstreamFault Upstream = iota
	// UpstreamDone: the upstream executed the action.
	UpstreamDone
	// UpstreamFailed: the upstream answered with a status of 400 or more, or with something that cannot be read.
	UpstreamFailed
	// UpstreamTimedOut: there was no answer in time.
	UpstreamTimedOut
)

// Reply is what an enforcement point answers. Executed is true only with Status 200.
type Reply struct {
	Status     int // HTTP status code
	Reason     string
	AuthID     string
	IntentHash string
}

// Executed reports whether the action ran.
func (r Reply) Executed() bool { return r.Status == 200 }

// Decision is ALLOW if the action ran, else DENY.
func (r Reply) Decision() string {
	if r.Executed() {
		return "ALLOW"
	}
	return "DENY"
}

// Reply turns a verdict and the end of the upstream call into an answer. The outcome counts only for an allowed verdict.
func (v Verdict) Reply(outcome Upstream) Reply {
	if !v.Allowed {
		return Reply{Status: 403, Reason: v.Reason}
	}
	switch outcome {
	case UpstreamDone:
		return Reply{Status: 200, AuthID: v.AuthID, IntentHash: v.IntentHash}
	case UpstreamFailed:
		return Reply{Status: 502, Reason: ReasonUpstreamError}
	case UpstreamTimedOut:
		return Reply{Status: 504, Reason: ReasonUpstreamTimeout}
	}
	return Reply{Status: 500, Reason: ReasonGatewayError}
}

// AppendJSON appends the answer as one JSON object. upstreamResult must be JSON; it stands in the answer only if the action ran, and
// is null if it is empty.
func (r Reply) AppendJSON(dst, upstreamResult []byte) []byte {
	if !r.Executed() {
		dst = append(dst, `{"ok":false,"decision":"DENY","executed":false`...)
		return append(appendTextMember(dst, "reason", r.Reason), '}')
	}
	dst = append(dst, `{"ok":true,"decision":"ALLOW","executed":true`...)
	dst = appendTextMember(dst, "auth_id", r.AuthID)
	dst = appendTextMember(dst, "intent_hash", r.IntentHash)
	dst = append(dst, `,"upstream_result":`...)
	if len(upstreamResult) == 0 {
		upstreamResult = []byte("null")
	}
	return append(append(dst, upstreamResult...), '}')
}
