package oxdeai

import (
	"errors"
	"fmt"
)

// AuthorizationOptions are the demands on an authorization. The zero value is the closed one: key sets, a signature that verifies,
// and the domain prefix.
type AuthorizationOptions struct {
	Mode             Mode
	Trust            Trust
	ExpectedIssuer   string // empty: any
	ExpectedAudience string // empty: any; an enforcement point must name itself here
	ExpectedPolicyID string // empty: any
	// Consumed says whether an authorization id was used before. Nil means that the caller keeps no such record, so the same
	// authorization verifies again and again. An id that is not in NFC counts as used.
	Consumed func(authID string) bool
	// LegacyHMACSecret verifies HMAC-SHA256 authorizations. Without it they are refused, in strict mode always.
	LegacyHMACSecret []byte
	// AcceptUnverifiedSignature lets an authorization pass whose signature nobody can check: one that is signed with Ed25519 if
	// there are no key sets, and, outside strict mode, one with HMAC if there is no secret.
	AcceptUnverifiedSignature bool
	// AcceptBareSignature also takes an Ed25519 signature over the canonical bytes without a domain. Such a signature may have
	// been made for something else.
	AcceptBareSignature bool
}

// DecodeAuthorization reads the JSON object of an authorization. It checks no member: VerifyAuthorization does.
func DecodeAuthorization(data []byte) (*Object, error) { return decodeArtifact("authorization", data) }

// MaxArtifactBytes bounds the JSON text of one intent, authorization or delegation, in bytes (64 KiB). All have about 1 KB.
const MaxArtifactBytes = 64 << 10

func decodeArtifact(what string, data []byte) (*Object, error) {
	if len(data) > MaxArtifactBytes {
		return nil, fmt.Errorf("read %s: %w: %d bytes, limit %d", what, ErrTooLarge, len(data), MaxArtifactBytes)
	}
	v, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	o, ok := v.(*Object)
	if !ok {
		return nil, fmt.Errorf("read %s: must be a JSON object", what)
	}
	return o, nil
}

// VerifyAuthorization checks an authorization at now, in Unix seconds, without any engine. An authorization is expired from its
// expiry on. It reports all violations, not only the first; a nil auth lacks every field. Members of a flat authorization that the
// signature does not cover (expires_at, policy_version, engine_signature, unknown ones) are not looked at: do not act on them.
func VerifyAuthorization(auth *Object, now int64, opts AuthorizationOptions) Result {
	if opts.Mode == ModeStrict && !opts.Trust.given() {
		return refused(CodeTrustedKeySetsRequired, keySetsRequiredMessage)
	}
	if auth == nil {
		auth = &Object{}
	}
	a := authCheck{auth: auth, sig: signatureOf(auth), now: now, opts: &opts}
	a.checkFields()
	a.checkExpiry()
	a.checkExpectations()
	a.checkSignature()
	r := a.found.result()
	r.PolicyID, _ = auth.Text("policy_id")
	r.StateHash, _ = auth.Text("state_hash")
	return r
}

// signature is what an artifact says about its own signature. Fields that are not text are empty.
type signature struct {
	alg, kid, text string
	nested         bool // the three stand in an object of their own
}

func signatureOf(o *Object) signature {
	v, _ := o.Get("signature")
	nested, ok := v.(*Object)
	var s signature
	if s.nested = ok && nested != nil; s.nested {
		s.text, _ = nested.Text("sig")
		o = nested
	} else {
		s.text, _ = v.(string)
	}
	s.alg, _ = o.Text("alg")
	s.kid, _ = o.Text("kid")
	return s
}

// complete says whether there is enough to check the signature at all.
func (s signature) complete() bool { return s.alg != "" && s.kid != "" && s.text != "" }

type authCheck struct {
	auth  *Object
	sig   signature
	now   int64
	opts  *AuthorizationOptions
	found findings
}

func (a *authCheck) missing(name string) { a.found.add(CodeAuthMissingField, name+" is required") }

func (a *authCheck) checkFields() {
	if d, _ := a.auth.Get("decision"); d != "ALLOW" {
		a.found.add(CodeAuthDecisionInvalid, "authorization decision must be ALLOW")
	}
	for _, name := range [...]string{"intent_hash", "state_hash", "policy_id", "issuer", "audience", "auth_id"} {
		if _, ok := a.auth.Text(name); !ok {
			a.missing(name)
		}
	}
	if _, ok := integerMember(a.auth, "issued_at"); !ok {
		a.found.add(CodeAuthMissingField, "issued_at must be integer unix seconds")
	}
	if a.sig.alg == "" {
		a.missing("alg")
	}
	if a.sig.kid == "" {
		a.missing("kid")
	}
	if a.sig.text == "" {
		a.missing("signature")
	}
}

func (a *authCheck) checkExpiry() {
	switch expiry, ok := integerMember(a.auth, "expiry"); {
	case !ok:
		a.found.add(CodeAuthMissingField, "expiry must be integer unix seconds")
	case float64(a.now) >= expiry:
		a.found.add(CodeAuthExpired, "authorization has expired")
	}
}

func (a *authCheck) checkExpectations() {
	a.expect("issuer", a.opts.ExpectedIssuer, CodeAuthIssuerMismatch, "issuer does not match expectedIssuer")
	a.expect("audience", a.opts.ExpectedAudience, CodeAuthAudienceMismatch, "audience does not match expectedAudience")
	a.expect("policy_id", a.opts.ExpectedPolicyID, CodeAuthPolicyIDMismatch, "policy_id does not match expectedPolicyId")
	if id, ok := a.auth.Text("auth_id"); ok && usedUp(a.opts.Consumed, id) {
		a.found.add(CodeAuthReplay, "auth_id has already been consumed")
	}
}

// usedUp says whether a record, if there is one, knows the id or could miss it: a signature covers the NFC form, so an id
// that is not in NFC is another spelling of one that may be there.
func usedUp(consumed func(string) bool, id string) bool {
	return consumed != nil && (!isNFC(id) || consumed(id))
}

func (a *authCheck) expect(name, want string, code Code, message string) {
	if got, _ := a.auth.Get(name); want != "" && got != want {
		a.found.add(code, message)
	}
}

func (a *authCheck) checkSignature() {
	if !a.sig.complete() {
		return
	}
	switch a.sig.alg {
	case AlgEd25519:
		a.checkEd25519()
	case AlgHMAC:
		a.checkHMAC()
	default:
		a.found.add(CodeAuthAlgUnsupported, "unsupported signature algorithm")
	}
}

func (a *authCheck) checkEd25519() {
	if !a.opts.Trust.given() {
		if !a.opts.AcceptUnverifiedSignature {
			a.found.add(CodeAuthTrustMissing, trustMissingEd25519Message)
		}
		return
	}
	issuer, _ := a.auth.Text("issuer")
	switch key := a.opts.Trust.find(issuer, a.sig.kid); {
	case key == nil:
		a.found.add(CodeAuthKIDUnknown, kidUnknownMessage)
	case !key.active(a.now, a.opts.Trust.AcceptRetired):
		a.found.add(CodeAuthKeyInactive, keyInactiveMessage)
	case !a.verifies(key):
		a.found.add(CodeAuthSignatureInvalid, signatureInvalidMessage)
	}
}

// verifies takes a bare signature only with a key that is given as PEM itself, not as base64 of it: peers do the same.
func (a *authCheck) verifies(key *Key) bool {
	payload := authPayload(a.auth, a.sig)
	return verifyEd25519(key.public(), DomainAuthorization, payload, a.sig.text) ||
		a.opts.AcceptBareSignature && isPEM(key.PublicKey) && verifyBare(key.public(), payload, a.sig.text)
}

func (a *authCheck) checkHMAC() {
	if len(a.opts.LegacyHMACSecret) == 0 {
		if a.opts.Mode == ModeStrict || !a.opts.AcceptUnverifiedSignature {
			a.found.add(CodeAuthTrustMissing, "legacyHmacSecret required for HMAC verification")
		}
		return
	}
	if !verifyHMAC(a.opts.LegacyHMACSecret, DomainAuthorization, authPayload(a.auth, a.sig), a.sig.text) {
		a.found.add(CodeAuthSignatureInvalid, "legacy HMAC signature verification failed")
	}
}

// authPayload gives what the signature of an authorization covers, or nil if a member that it must cover is absent.
func authPayload(auth *Object, s signature) *Object {
	if s.nested {
		return nestedPayload(auth, s)
	}
	payload := &Object{Members: make([]Member, 0, len(authMembers))}
	for _, m := range authMembers {
		v, found := auth.Get(m.name)
		if found {
			payload.Members = append(payload.Members, Member{Name: m.name, Value: v})
		} else if m.required {
			return nil
		}
	}
	return payload
}

// authMembers are the members of a flat authorization that its signature covers, in canonical order.
var authMembers = [...]struct {
	name     string
	required bool
}{
	{"alg", true}, {"audience", true}, {"auth_id", true}, {"capability", false}, {"decision", true}, {"expiry", true},
	{"intent_hash", true}, {"issued_at", true}, {"issuer", true}, {"kid", true}, {"nonce", false}, {"policy_id", true},
	{"state_hash", true}, {"version", false},
}

// nestedPayload is every member but the signature. Its alg and kid are covered too, unless the top level names them.
func nestedPayload(o *Object, s signature) *Object {
	payload := o.Without("signature")
	_, alg := o.Text("alg")
	_, kid := o.Text("kid")
	if !alg || !kid {
		inner := NewObject(Member{Name: "alg", Value: s.alg}, Member{Name: "kid", Value: s.kid})
		payload.Members = append(payload.Members, Member{Name: "signature", Value: inner})
	}
	return payload
}

// Verifier checks authorizations and envelopes in strict mode with one fixed trust.
type Verifier struct {
	trust  Trust
	issuer string
}

// ErrNoKeySets: a Verifier needs at least one key set.
var ErrNoKeySets = errors.New("verifier needs at least one trusted key set")

// NewVerifier binds the trust. expectedIssuer may be empty for any issuer; options of a call that name an issuer come first.
func NewVerifier(trust Trust, expectedIssuer string) (*Verifier, error) {
	if !trust.given() {
		return nil, ErrNoKeySets
	}
	return &Verifier{trust: trust, issuer: expectedIssuer}, nil
}

// VerifyAuthorization is the function of this name with the trust of the verifier. It ignores Mode and Trust of opts.
func (v *Verifier) VerifyAuthorization(auth *Object, now int64, opts AuthorizationOptions) Result {
	opts.Mode, opts.Trust = ModeStrict, v.trust
	if opts.ExpectedIssuer == "" {
		opts.ExpectedIssuer = v.issuer
	}
	return VerifyAuthorization(auth, now, opts)
}

// VerifyEnvelope is the function of this name with the trust of the verifier. It ignores Mode and Trust of opts.
func (v *Verifier) VerifyEnvelope(data []byte, now int64, opts EnvelopeOptions) Result {
	opts.Mode, opts.Trust = ModeStrict, v.trust
	if opts.ExpectedIssuer == "" {
		opts.ExpectedIssuer = v.issuer
	}
	return VerifyEnvelope(data, now, opts)
}
