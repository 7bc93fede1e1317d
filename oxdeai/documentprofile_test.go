package oxdeai

import (
	"crypto/ed25519"
	"errors"
	"math/big"
)

// documentTrust are the keys of the document profile, by key id. That profile is what the published documents of the protocol
// describe: signatures in an object of their own and without a domain, one reason instead of a list. No artifact of this package
// follows it, so it lives among the tests, to run their vectors.
type documentTrust map[string]ed25519.PublicKey

// Reasons of the document profile that exist nowhere else.
const (
	documentUnsupported       = "UNSUPPORTED_VERSION"
	documentNotAllowed        = "DECISION_NOT_ALLOW"
	documentExpired           = "EXPIRED"
	documentInvalidSignature  = "INVALID_SIGNATURE"
	documentTrustFailure      = "DELEGATION_TRUST_FAILURE"
	documentDelegateeMismatch = "DELEGATION_DELEGATEE_MISMATCH"
	documentScopeWidening     = "DELEGATION_SCOPE_WIDENING"
	documentAuthorized        = "AUTHORIZED"
)

// verifies checks a nested signature over the artifact without its signature and parent_hash.
func (k documentTrust) verifies(artifact *Object) bool {
	s := signatureOf(artifact)
	if !s.nested || s.alg != AlgEd25519 {
		return false
	}
	return verifyBare(k[s.kid], artifact.Without("signature").Without("parent_hash"), s.text)
}

// Authorize gives the reason why an authorization of the document profile is refused, empty if it is allowed. intentHash is that
// of the action; a snapshot that is not nil must match state_hash. now is in Unix seconds.
func (k documentTrust) Authorize(auth *Object, intentHash string, snapshot *Object, now int64) string {
	if v, _ := auth.Get("version"); v != "AuthorizationV1" {
		return documentUnsupported
	}
	if v, _ := auth.Get("decision"); v != "ALLOW" {
		return documentNotAllowed
	}
	if ended(auth, now) {
		return documentExpired
	}
	if v, _ := auth.Get("intent_hash"); v != intentHash {
		return ReasonIntentHashMismatch
	}
	if snapshot != nil {
		claimed, ok := auth.Text("state_hash")
		if !ok {
			return ReasonStateHashMissing
		}
		if actual, err := Hash(snapshot); err != nil || actual != claimed {
			return ReasonStateHashMismatch
		}
	}
	if !k.verifies(auth) {
		return documentInvalidSignature
	}
	return ""
}

// ended says whether the artifact's expiry is reached. One without a readable expiry has ended.
func ended(artifact *Object, now int64) bool {
	expiry, ok := integerMember(artifact, "expiry")
	return !ok || expiry <= float64(now)
}

// documentDelegation is one delegated call of the document profile.
type documentDelegation struct {
	Parent, Delegation, Action *Object
	Delegatee                  string // who calls
	ConsumedID                 string // a delegation id that was used before; empty: none
}

// Delegate gives the reason of the decision, documentAuthorized if the call is allowed. The first failure wins. now is in Unix seconds.
func (k documentTrust) Delegate(c documentDelegation, now int64) string {
	if reason := k.checkDocumentChain(c, now); reason != "" {
		return reason
	}
	if v, _ := c.Delegation.Get("delegatee"); v != c.Delegatee {
		return documentDelegateeMismatch
	}
	if ended(c.Delegation, now) {
		return string(CodeDelegationExpired)
	}
	if widens(c.Delegation, c.Parent) {
		return documentScopeWidening
	}
	call, err := documentCall(c.Action)
	if err != nil || !scopeAllows(c.Delegation, call) {
		return string(CodeDelegationScopeViolation)
	}
	if id, ok := c.Delegation.Text("delegation_id"); !ok || id == c.ConsumedID {
		return string(CodeDelegationReplay)
	}
	return documentAuthorized
}

func (k documentTrust) checkDocumentChain(c documentDelegation, now int64) string {
	if v, _ := c.Parent.Get("version"); v == "DelegationV1" {
		return string(CodeDelegationMultihopDenied)
	}
	if !k.verifies(c.Parent) {
		return documentTrustFailure
	}
	claimed, _ := c.Delegation.Text("parent_auth_hash")
	if actual, err := Hash(c.Parent); err != nil || actual != claimed {
		return string(CodeDelegationParentHash)
	}
	if ended(c.Parent, now) {
		return string(CodeDelegationParentExpired)
	}
	if !k.verifies(c.Delegation) {
		return string(CodeDelegationSignatureInvalid)
	}
	return ""
}

// widens says whether a delegation lives longer or allows more than its parent.
func widens(d, parent *Object) bool {
	expiry, _ := integerMember(d, "expiry")
	if limit, ok := integerMember(parent, "expiry"); !ok || expiry > limit {
		return true
	}
	v, found := parent.Get("scope")
	if !found {
		return false
	}
	theirs, ok := v.(*Object)
	if !ok {
		return true
	}
	mine, _ := d.Get("scope")
	return len(scopeExcess(mine, theirs)) > 0
}

// documentCall reads the tool and the amount of an action. An amount that is there must be a number in digits.
func documentCall(action *Object) (DelegatedCall, error) {
	var call DelegatedCall
	call.Tool, _ = action.Text("tool")
	v, _ := action.Get("params")
	params, ok := v.(*Object)
	if !ok {
		return call, nil
	}
	text, ok := params.Text("amount")
	if !ok {
		return call, nil
	}
	if !isDigits(text) || len(text) > MaxAmountDigits {
		return call, errors.New("amount is not a number in digits")
	}
	call.Amount, _ = new(big.Int).SetString(text, 10)
	return call, nil
}
