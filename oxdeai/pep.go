package oxdeai

import (
	"errors"
	"math/big"
)

// ConsumeFunc marks an id as used, atomically, and keeps it at least until expiry. It gives false if the id was used before. Times
// are Unix seconds. An error denies.
type ConsumeFunc func(id string, expiry, now int64) (fresh bool, err error)

// PEPConfig says what an enforcement point lets through. Audience, Trust and Consume must be set.
type PEPConfig struct {
	Audience string // the name under which authorizations are made out to this point
	Issuer   string // empty: any issuer that Trust has a key of
	Trust    Trust  // who may authorize
	Consume  ConsumeFunc
	// Delegators says who may pass on an authorization that is made out to them. They may not authorize: keep them out of Trust.
	// Without any, delegated calls are denied.
	Delegators Trust
	// AcceptBareSignature also takes signatures without a domain; see AuthorizationOptions.
	AcceptBareSignature bool
}

// PEP is a policy enforcement point: it decides whether one action may run now. It makes no network call and knows no clock. Every
// doubt is a denial. Hashes and signatures cover the NFC form of a text, so a holder could spell an id, a target or a tool in
// another way: what is not in NFC is denied.
type PEP struct{ config PEPConfig }

// NewPEP checks the configuration. The error names what is missing.
func NewPEP(c PEPConfig) (*PEP, error) {
	switch {
	case c.Audience == "":
		return nil, errors.New("enforcement point needs an audience")
	case !c.Trust.given():
		return nil, errors.New("enforcement point needs at least one trusted key set")
	case c.Consume == nil:
		return nil, errors.New("enforcement point needs a record of used ids")
	}
	return &PEP{config: c}, nil
}

// Reasons of denials that are not violation codes.
const (
	ReasonInvalidJSON         = "INVALID_JSON"
	ReasonInvalidRequest      = "INVALID_REQUEST"
	ReasonIntentHashMismatch  = "INTENT_HASH_MISMATCH"
	ReasonStateHashMissing    = "STATE_HASH_MISSING"
	ReasonStateHashMismatch   = "STATE_HASH_MISMATCH"
	ReasonActionNotCanonical  = "ACTION_CANONICALIZATION_FAILED"
	ReasonReplayUnavailable   = "REPLAY_STORE_UNAVAILABLE"
	ReasonUpstreamError       = "UPSTREAM_ERROR"
	ReasonUpstreamTimeout     = "UPSTREAM_TIMEOUT"
	ReasonGatewayError        = "GATEWAY_ERROR"
	ReasonScopeExceeded       = "DELEGATION_SCOPE_EXCEEDED"
	ReasonDelegateeNotNamed   = "DELEGATEE_REQUIRED"
	reasonReplayedID          = string(CodeAuthReplay)
	reasonReplayedDelegation  = string(CodeDelegationReplay)
	reasonCodeNotProtocolText = "INVALID_VALUE"
	reasonNotNFC              = "NOT_NFC"
)

// Verdict says whether an action may run. The id of an allowed one is used up already, whatever happens next.
type Verdict struct {
	Allowed    bool
	Reason     string // empty if allowed; otherwise codes joined with commas
	AuthID     string
	IntentHash string
}

func denial(reason string) Verdict { return Verdict{Reason: reason} }

// Binding is what the enforcement point knows itself and the authorization must name: hashes of 64 lowercase hex digits. An empty
// one never matches.
type Binding struct {
	IntentHash string // of the action that will run
	StateHash  string // of the state that the action runs on
}

// Execute decides on the body of an execute request: {action, authorization, state_snapshot}. The intent hash is that of the whole
// action, the state hash that of the plain snapshot object. now is in Unix seconds.
func (p *PEP) Execute(body []byte, now int64) Verdict {
	v, err := Parse(body)
	if err != nil {
		return denial(ReasonInvalidJSON)
	}
	request, ok := v.(*Object)
	if !ok {
		return denial(ReasonInvalidRequest)
	}
	action, hasAction := request.Get("action")
	a, _ := request.Get("authorization")
	auth, ok := a.(*Object)
	if !hasAction || action == nil || !ok {
		return denial(ReasonInvalidRequest)
	}
	intentHash, err := Hash(action)
	if err != nil {
		return denial(ReasonActionNotCanonical + ":" + canonicalCode(err))
	}
	if !inNFC(action) {
		return denial(ReasonActionNotCanonical + ":" + reasonNotNFC)
	}
	return p.Authorize(auth, Binding{IntentHash: intentHash, StateHash: snapshotHash(request)}, now)
}

// snapshotHash gives the hash of the snapshot of a request, empty if there is none or it has no canonical form.
func snapshotHash(request *Object) string {
	v, _ := request.Get("state_snapshot")
	if v == nil {
		return ""
	}
	hash, err := Hash(v)
	if err != nil {
		return ""
	}
	return hash
}

// canonicalCode gives the protocol constant of an error of Canonical.
func canonicalCode(err error) string {
	for _, code := range []error{ErrFloatNotAllowed, ErrUnsafeInteger, ErrInvalidTimestamp, ErrDuplicateKey, ErrUnsupportedType} {
		if errors.Is(err, code) {
			return code.Error()
		}
	}
	return reasonCodeNotProtocolText
}

// Authorize decides on an action whose hashes the caller computed. It verifies the authorization in strict mode, compares the
// hashes and, last of all, uses up the id. now is in Unix seconds.
func (p *PEP) Authorize(auth *Object, b Binding, now int64) Verdict {
	if !inNFC(auth) {
		return denial(ReasonInvalidRequest)
	}
	if reason := p.refusal(auth, p.config.Audience, now); reason != "" {
		return denial(reason)
	}
	if hash, _ := auth.Text("intent_hash"); b.IntentHash == "" || hash != b.IntentHash {
		return denial(ReasonIntentHashMismatch)
	}
	if b.StateHash == "" {
		return denial(ReasonStateHashMissing)
	}
	if hash, _ := auth.Text("state_hash"); hash != b.StateHash {
		return denial(ReasonStateHashMismatch)
	}
	id, _ := auth.Text("auth_id")
	if reason := p.consume(id, auth, reasonReplayedID, now); reason != "" {
		return denial(reason)
	}
	return Verdict{Allowed: true, AuthID: id, IntentHash: b.IntentHash}
}

// refusal gives the violations of an authorization, joined, or nothing.
func (p *PEP) refusal(auth *Object, audience string, now int64) string {
	return VerifyAuthorization(auth, now, AuthorizationOptions{
		Trust: p.config.Trust, ExpectedIssuer: p.config.Issuer, ExpectedAudience: audience,
		AcceptBareSignature: p.config.AcceptBareSignature,
	}).Reasons()
}

func (p *PEP) consume(id string, artifact *Object, replayed string, now int64) string {
	v, _ := artifact.Get("expiry")
	expiry, ok := SafeInt(v)
	if !ok || id == "" {
		return ReasonInvalidRequest
	}
	fresh, err := p.config.Consume(id, expiry, now)
	if err != nil {
		return ReasonReplayUnavailable
	}
	if !fresh {
		return replayed
	}
	return ""
}

// DelegatedCall is the call that a delegatee wants to make.
type DelegatedCall struct {
	Delegatee string   // who calls; must not be empty
	Tool      string   // name of the tool
	Amount    *big.Int // in the unit of the intent's amount; nil is refused where a scope bounds it
	Depth     int64    // levels of recursion
}

// AuthorizeDelegated decides on a call under a delegation. The parent must be made out to the delegator, who must have signed the
// delegation itself. Both signatures are verified, the call is held against the delegation's scope, which must be there, and the
// parent's, and, last of all, both ids are used up. The signature of a flat parent does not cover its scope: there the delegator
// can widen that one, and only the issuer's choice of delegators bounds him. The state is not compared, nor is the intent: an
// authorization that can be delegated is good for any call within the scope. now is in Unix seconds.
func (p *PEP) AuthorizeDelegated(d, parent *Object, call DelegatedCall, now int64) Verdict {
	if call.Delegatee == "" {
		return denial(ReasonDelegateeNotNamed)
	}
	if d == nil || parent == nil || !inNFC(d) || !inNFC(parent) {
		return denial(ReasonInvalidRequest)
	}
	delegator, ok := d.Text("delegator")
	if !ok {
		return denial(ReasonInvalidRequest)
	}
	if reason := p.refusal(parent, delegator, now); reason != "" {
		return denial(reason)
	}
	r := VerifyDelegationChain(d, parent, now, DelegationOptions{Trust: p.config.Delegators, ExpectedDelegatee: call.Delegatee})
	if !r.OK() {
		return denial(r.Reasons())
	}
	if _, bounded := d.Get("scope"); !bounded || !scopeAllows(d, call) || !scopeAllows(parent, call) {
		return denial(ReasonScopeExceeded)
	}
	return p.consumeBoth(d, parent, now)
}

func (p *PEP) consumeBoth(d, parent *Object, now int64) Verdict {
	delegationID, _ := d.Text("delegation_id")
	if reason := p.consume(delegationID, d, reasonReplayedDelegation, now); reason != "" {
		return denial(reason)
	}
	authID, _ := parent.Text("auth_id")
	if reason := p.consume(authID, parent, reasonReplayedID, now); reason != "" {
		return denial(reason)
	}
	intentHash, _ := parent.Text("intent_hash")
	return Verdict{Allowed: true, AuthID: authID, IntentHash: intentHash}
}
