package oxdeai

import (
	"cmp"
	"slices"
	"strconv"
)

// Status is the outcome of a verification.
type Status string

// The three outcomes. Only StatusOK lets an action go on.
const (
	StatusOK           Status = "ok"
	StatusInvalid      Status = "invalid"
	StatusInconclusive Status = "inconclusive" // nothing is wrong, but an anchor is missing
)

// Code names a violation. The texts are wire constants that verifiers of other languages compare.
type Code string

// Codes of audit, snapshot and envelope verification.
const (
	CodeMalformedEvent         Code = "MALFORMED_EVENT"
	CodePolicyIDMissing        Code = "POLICY_ID_MISSING"
	CodePolicyIDMismatch       Code = "POLICY_ID_MISMATCH"
	CodeMixedPolicyID          Code = "MIXED_POLICY_ID"
	CodeNonMonotonicTimestamp  Code = "NON_MONOTONIC_TIMESTAMP"
	CodeHashChainInvalid       Code = "HASH_CHAIN_INVALID"
	CodeNoStateAnchor          Code = "NO_STATE_ANCHOR"
	CodeSnapshotCorrupt        Code = "SNAPSHOT_CORRUPT"
	CodeEnvelopeMalformed      Code = "ENVELOPE_MALFORMED"
	CodeTrustedKeySetsRequired Code = "TRUSTED_KEYSETS_REQUIRED"
	CodeEnvelopeSigMissing     Code = "ENVELOPE_SIGNATURE_MISSING"
	CodeEnvelopeSigInvalid     Code = "ENVELOPE_SIGNATURE_INVALID"
	CodeEnvelopeKIDUnknown     Code = "ENVELOPE_KID_UNKNOWN"
	CodeEnvelopeTrustMissing   Code = "ENVELOPE_TRUST_MISSING"
	CodeEnvelopeKeyInactive    Code = "ENVELOPE_KEY_INACTIVE"
	CodeReplayStateHashInvalid Code = "INVALID_STATE_HASH"  // ReplayEngine.verify only
	CodeCheckpointMismatch     Code = "CHECKPOINT_MISMATCH" // ours: see EnvelopeOptions.AcceptUnboundSnapshot
	CodeNoHeadAnchor           Code = "NO_HEAD_ANCHOR"      // ours: see AuditOptions.AcceptUnanchoredHead
	CodeAuditHeadMismatch      Code = "AUDIT_HEAD_MISMATCH" // ours: see AuditOptions.ExpectedHead
	CodeTooManyViolations      Code = "TOO_MANY_VIOLATIONS" // ours: the list was cut at MaxViolations
)

// Messages that several verifiers share.
const (
	maxViolationsMessage       = "more violations exist than are listed"
	keySetsRequiredMessage     = "strict mode requires trustedKeySets to be provided"
	kidUnknownMessage          = "kid not found for issuer/alg"
	keyInactiveMessage         = "key is not active at verification time"
	signatureInvalidMessage    = "signature verification failed"
	trustMissingEd25519Message = "trustedKeySets required for Ed25519 verification"
)

// Codes of authorization verification.
const (
	CodeAuthDecisionInvalid  Code = "AUTH_DECISION_INVALID"
	CodeAuthExpired          Code = "AUTH_EXPIRED"
	CodeAuthMissingField     Code = "AUTH_MISSING_FIELD"
	CodeAuthIssuerMismatch   Code = "AUTH_ISSUER_MISMATCH"
	CodeAuthAudienceMismatch Code = "AUTH_AUDIENCE_MISMATCH"
	CodeAuthPolicyIDMismatch Code = "AUTH_POLICY_ID_MISMATCH"
	CodeAuthReplay           Code = "AUTH_REPLAY"
	CodeAuthAlgUnsupported   Code = "AUTH_ALG_UNSUPPORTED"
	CodeAuthKIDUnknown       Code = "AUTH_KID_UNKNOWN"
	CodeAuthSignatureInvalid Code = "AUTH_SIGNATURE_INVALID"
	CodeAuthTrustMissing     Code = "AUTH_TRUST_MISSING"
	CodeAuthKeyInactive      Code = "AUTH_KEY_INACTIVE"
)

// Codes of delegation verification.
const (
	CodeDelegationMissingField      Code = "DELEGATION_MISSING_FIELD"
	CodeDelegationAlgUnsupported    Code = "DELEGATION_ALG_UNSUPPORTED"
	CodeDelegationSignatureInvalid  Code = "DELEGATION_SIGNATURE_INVALID"
	CodeDelegationKIDUnknown        Code = "DELEGATION_KID_UNKNOWN"
	CodeDelegationTrustMissing      Code = "DELEGATION_TRUST_MISSING"
	CodeDelegationKeyInactive       Code = "DELEGATION_KEY_INACTIVE"
	CodeDelegationExpired           Code = "DELEGATION_EXPIRED"
	CodeDelegationParentHash        Code = "DELEGATION_PARENT_HASH_MISMATCH"
	CodeDelegationParentExpired     Code = "DELEGATION_PARENT_EXPIRED"
	CodeDelegationDelegatorMismatch Code = "DELEGATION_DELEGATOR_MISMATCH"
	CodeDelegationPolicyIDMismatch  Code = "DELEGATION_POLICY_ID_MISMATCH" // against the parent
	CodeDelegationExceedsParent     Code = "DELEGATION_EXPIRY_EXCEEDS_PARENT"
	CodeDelegationAudienceMismatch  Code = "DELEGATION_AUDIENCE_MISMATCH"
	CodeDelegationPolicyMismatch    Code = "DELEGATION_POLICY_MISMATCH" // against the caller's expectation
	CodeDelegationScopeViolation    Code = "DELEGATION_SCOPE_VIOLATION"
	CodeDelegationMultihopDenied    Code = "DELEGATION_MULTIHOP_DENIED"
	CodeDelegationReplay            Code = "DELEGATION_REPLAY"
)

// MaxViolations bounds the violations of one result, in entries.
const MaxViolations = 100_000

// Violation is one finding of a verifier.
type Violation struct {
	Code    Code
	Message string
	Index   int  // position of the event, meaningful only if Indexed
	Indexed bool // the finding belongs to one event
}

// Result is what every verifier of sections 14 to 18 returns. Violations stand in a fixed order: by code, then by event
// index, then by discovery. An empty PolicyID, StateHash or AuditHeadHash is unknown, except that EmptyPolicyID says that the
// artifact really names the empty policy.
type Result struct {
	Status        Status
	Violations    []Violation
	PolicyID      string
	EmptyPolicyID bool
	StateHash     string
	AuditHeadHash string
}

// OK reports whether the artifact verified with no finding at all.
func (r Result) OK() bool { return r.Status == StatusOK }

// Reasons joins the violation codes with commas, in order, for denials and logs.
func (r Result) Reasons() string {
	var out []byte
	for i, v := range r.Violations {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, v.Code...)
	}
	return string(out)
}

// AppendJSON appends the result as one JSON object with the member names of the protocol.
func (r Result) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"ok":`...)
	dst = strconv.AppendBool(dst, r.OK())
	dst = append(dst, `,"status":"`...)
	dst = append(dst, r.Status...)
	dst = append(dst, `","violations":[`...)
	for i, v := range r.Violations {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = v.appendJSON(dst)
	}
	dst = append(dst, ']')
	if r.PolicyID != "" || r.EmptyPolicyID {
		dst = appendTextMember(dst, "policyId", r.PolicyID)
	}
	if r.StateHash != "" {
		dst = appendTextMember(dst, "stateHash", r.StateHash)
	}
	if r.AuditHeadHash != "" {
		dst = appendTextMember(dst, "auditHeadHash", r.AuditHeadHash)
	}
	return append(dst, '}')
}

func (v Violation) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"code":"`...)
	dst = append(dst, v.Code...)
	dst = append(dst, '"')
	if v.Message != "" {
		dst = appendTextMember(dst, "message", v.Message)
	}
	if v.Indexed {
		dst = append(dst, `,"index":`...)
		dst = strconv.AppendInt(dst, int64(v.Index), 10)
	}
	return append(dst, '}')
}

// appendTextMember writes a comma, the name and the text as JSON.
func appendTextMember(dst []byte, name, text string) []byte {
	dst = append(dst, ',')
	dst = appendQuoted(dst, name)
	dst = append(dst, ':')
	return appendQuoted(dst, text)
}

// findings collects violations in discovery order, up to MaxViolations.
type findings struct {
	list []Violation
	cut  bool
}

func (f *findings) add(code Code, message string) {
	f.push(Violation{Code: code, Message: message})
}

func (f *findings) addAt(index int, code Code, message string) {
	f.push(Violation{Code: code, Message: message, Index: index, Indexed: true})
}

func (f *findings) addAll(list []Violation) {
	for _, v := range list {
		f.push(v)
	}
}

func (f *findings) push(v Violation) {
	if len(f.list) < MaxViolations {
		f.list = append(f.list, v)
		return
	}
	if !f.cut {
		f.cut = true
		f.list[len(f.list)-1] = Violation{Code: CodeTooManyViolations, Message: maxViolationsMessage}
	}
}

// sorted orders by code, then by index (none counts as 0). The sort is stable: discovery decides ties.
func (f *findings) sorted() []Violation {
	slices.SortStableFunc(f.list, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Index, b.Index))
	})
	return f.list
}

// status is invalid unless there is nothing, or nothing but missing anchors.
func (f *findings) status() Status {
	status := StatusOK
	for _, v := range f.list {
		if v.Code != CodeNoStateAnchor && v.Code != CodeNoHeadAnchor {
			return StatusInvalid
		}
		status = StatusInconclusive
	}
	return status
}

func (f *findings) result() Result {
	return Result{Status: f.status(), Violations: f.sorted()}
}

// refused is the result of a single violation that ends verification at once.
func refused(code Code, message string) Result {
	return Result{Status: StatusInvalid, Violations: []Violation{{Code: code, Message: message}}}
}
