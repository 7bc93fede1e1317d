package oxdeai

import (
	"cmp"
	"slices"
)

const multihopMessage = "parent must be AuthorizationV1 — multi-hop delegation is not permitted"

// DelegationOptions are the demands on a delegation. The zero value is the closed one: a signature by a trusted key.
type DelegationOptions struct {
	Trust             Trust                          // the issuer is the delegating principal, which needs a key set of its own
	ExpectedDelegatee string                         // empty: any
	ExpectedPolicyID  string                         // empty: any
	Consumed          func(delegationID string) bool // nil: the caller keeps no record
	ParentScope       *Object                        // scope of the parent; nil: the scope member of the parent, if it has one
	// AcceptUnverifiedSignature lets a delegation pass if there is no key set to check its signature with.
	AcceptUnverifiedSignature bool
	// AcceptForeignIssuer lets somebody else than the delegator sign, as peers of the protocol do. Then every key in Trust can pass
	// on what was authorized for somebody else.
	AcceptForeignIssuer bool
}

// VerifyDelegation checks a delegation by itself at now, in Unix seconds. It is expired from its expiry on. Violations are sorted
// by code. A nil delegation lacks every field.
func VerifyDelegation(d *Object, now int64, opts DelegationOptions) Result {
	if d == nil {
		d = &Object{}
	}
	c := delegationCheck{d: d, now: now, opts: &opts}
	c.checkFields()
	c.checkExpectations()
	c.checkScope()
	c.checkSignature()
	return delegationResult(&c.found, d)
}

// VerifyDelegationChain checks that a delegation comes from this parent authorization, then the delegation itself. It does not
// check the parent's signature: do that first, with VerifyAuthorization. A parent that is a delegation is refused at once.
func VerifyDelegationChain(d, parent *Object, now int64, opts DelegationOptions) Result {
	if d == nil {
		d = &Object{}
	}
	if parent == nil {
		parent = &Object{}
	}
	if _, found := parent.Get("delegation_id"); found {
		return refused(CodeDelegationMultihopDenied, multihopMessage)
	}
	var found findings
	checkLink(&found, d, parent, now)
	if len(found.list) > 0 {
		return delegationResult(&found, d)
	}
	if v, has := parent.Get("scope"); has && opts.ParentScope == nil {
		scope, ok := v.(*Object)
		if !ok || scope == nil {
			found.add(CodeDelegationScopeViolation, "scope of the parent must be an object")
			return delegationResult(&found, d)
		}
		opts.ParentScope = scope
	}
	return VerifyDelegation(d, now, opts)
}

func delegationResult(found *findings, d *Object) Result {
	r := Result{Status: found.status(), Violations: found.list}
	slices.SortStableFunc(r.Violations, func(a, b Violation) int { return cmp.Compare(a.Code, b.Code) })
	r.PolicyID, _ = d.Text("policy_id")
	return r
}

// checkLink compares the delegation with its parent.
func checkLink(found *findings, d, parent *Object, now int64) {
	if claimed, ok := d.Text("parent_auth_hash"); ok {
		if actual, err := Hash(parent); err != nil || actual != claimed {
			found.add(CodeDelegationParentHash, "parent_auth_hash does not match computed hash of parent authorization")
		}
	}
	parentExpiry, parentEnds := integerMember(parent, "expiry")
	if parentEnds && float64(now) >= parentExpiry {
		found.add(CodeDelegationParentExpired, "parent authorization has expired")
	}
	if differ(d, "delegator", parent, "audience") {
		found.add(CodeDelegationDelegatorMismatch, "delegator does not match parent.audience")
	}
	if differ(d, "policy_id", parent, "policy_id") {
		found.add(CodeDelegationPolicyIDMismatch, "policy_id does not match parent.policy_id")
	}
	if expiry, ends := integerMember(d, "expiry"); ends && parentEnds && expiry > parentExpiry {
		found.add(CodeDelegationExceedsParent, "delegation expiry exceeds parent authorization expiry")
	}
}

// differ says whether both members are text and not the same.
func differ(a *Object, aName string, b *Object, bName string) bool {
	x, xOK := a.Text(aName)
	y, yOK := b.Text(bName)
	return xOK && yOK && x != y
}

type delegationCheck struct {
	d     *Object
	now   int64
	opts  *DelegationOptions
	found findings
}

func (c *delegationCheck) checkFields() {
	for _, name := range [...]string{"delegation_id", "issuer", "audience", "parent_auth_hash", "delegator", "delegatee",
		"policy_id", "alg", "kid", "signature"} {
		if _, ok := c.d.Text(name); !ok {
			c.found.add(CodeDelegationMissingField, name+" is required")
		}
	}
	for _, name := range [...]string{"issued_at", "expiry"} {
		if _, ok := integerMember(c.d, name); !ok {
			c.found.add(CodeDelegationMissingField, name+" must be integer unix seconds")
		}
	}
	if alg, ok := c.d.Text("alg"); ok && alg != AlgEd25519 {
		c.found.add(CodeDelegationAlgUnsupported, "only Ed25519 is supported for DelegationV1")
	}
	if expiry, ok := integerMember(c.d, "expiry"); ok && float64(c.now) >= expiry {
		c.found.add(CodeDelegationExpired, "delegation has expired")
	}
}

func (c *delegationCheck) checkExpectations() {
	if !c.opts.AcceptForeignIssuer && differ(c.d, "issuer", c.d, "delegator") {
		c.found.add(CodeDelegationDelegatorMismatch, "issuer does not match delegator")
	}
	if v, _ := c.d.Get("delegatee"); c.opts.ExpectedDelegatee != "" && v != c.opts.ExpectedDelegatee {
		c.found.add(CodeDelegationAudienceMismatch, "delegatee does not match expectedDelegatee")
	}
	if v, _ := c.d.Get("policy_id"); c.opts.ExpectedPolicyID != "" && v != c.opts.ExpectedPolicyID {
		c.found.add(CodeDelegationPolicyMismatch, "policy_id does not match expectedPolicyId")
	}
	if id, ok := c.d.Text("delegation_id"); ok && usedUp(c.opts.Consumed, id) {
		c.found.add(CodeDelegationReplay, "delegation_id has already been consumed")
	}
}

func (c *delegationCheck) checkScope() {
	if c.opts.ParentScope == nil {
		return
	}
	v, found := c.d.Get("scope")
	if !found {
		return
	}
	for _, message := range scopeExcess(v, c.opts.ParentScope) {
		c.found.add(CodeDelegationScopeViolation, message)
	}
}

func (c *delegationCheck) checkSignature() {
	alg, _ := c.d.Text("alg")
	kid, hasKID := c.d.Text("kid")
	text, signed := c.d.Text("signature")
	if alg != AlgEd25519 || !hasKID || !signed {
		return
	}
	if !c.opts.Trust.given() {
		if !c.opts.AcceptUnverifiedSignature {
			c.found.add(CodeDelegationTrustMissing, trustMissingEd25519Message)
		}
		return
	}
	issuer, _ := c.d.Text("issuer")
	switch key := c.opts.Trust.find(issuer, kid); {
	case key == nil:
		c.found.add(CodeDelegationKIDUnknown, kidUnknownMessage)
	case !key.active(c.now, c.opts.Trust.AcceptRetired):
		c.found.add(CodeDelegationKeyInactive, keyInactiveMessage)
	case !verifyEd25519(key.public(), DomainDelegation, c.d.Without("signature"), text):
		c.found.add(CodeDelegationSignatureInvalid, signatureInvalidMessage)
	}
}
