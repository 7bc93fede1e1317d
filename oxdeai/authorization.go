package oxdeai

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// ErrNoPrivateKey: the engine should sign with Ed25519 but has no private key.
var ErrNoPrivateKey = errors.New("no Ed25519 private key: set AuthorizationPrivateKeyPEM")

// Authorization is the permission for one intent. Signature covers the members of AuthorizationV1; PolicyVersion,
// ExpiresAt and StateSnapshotHash are covered by EngineSignature only, which needs the engine's secret to check.
type Authorization struct {
	AuthID            string // also called authorization_id
	Issuer            string
	Audience          string
	IntentHash        string
	StateHash         string // of the state that was decided on
	StateSnapshotHash string // of the state after the action, without this authorization
	PolicyID          string
	PolicyVersion     string
	IssuedAt          int64 // Unix seconds: the intent's timestamp
	Expiry            int64 // Unix seconds; also called expires_at
	Alg               string
	KID               string
	Nonce             string  // decimal
	Capability        *string // the intent's action_type; nil if it has none
	Signature         string  // base64 for Ed25519, hex for HMAC-SHA256
	EngineSignature   string  // hex
}

// Object returns the authorization with the member names of the protocol, in the order of their names.
func (a *Authorization) Object() *Object {
	o := NewObject(
		Member{"alg", a.Alg}, Member{"audience", a.Audience}, Member{"auth_id", a.AuthID},
		Member{"authorization_id", a.AuthID},
	)
	if a.Capability != nil {
		o.Members = append(o.Members, Member{"capability", *a.Capability})
	}
	o.Members = append(o.Members,
		Member{"decision", string(Allow)}, Member{"engine_signature", a.EngineSignature}, Member{"expires_at", Int(a.Expiry)},
		Member{"expiry", Int(a.Expiry)}, Member{"intent_hash", a.IntentHash}, Member{"issued_at", Int(a.IssuedAt)},
		Member{"issuer", a.Issuer}, Member{"kid", a.KID}, Member{"nonce", a.Nonce}, Member{"policy_id", a.PolicyID},
		Member{"policy_version", a.PolicyVersion}, Member{"signature", a.Signature}, Member{"state_hash", a.StateHash},
		Member{"state_snapshot_hash", a.StateSnapshotHash},
	)
	return o
}

// Legacy returns the shape of release 1.0, with its own authorization id. The errors are those of Canonical.
func (a *Authorization) Legacy() (*Object, error) {
	o := NewObject(
		Member{"decision", string(Allow)}, Member{"engine_signature", a.EngineSignature}, Member{"expires_at", Int(a.Expiry)},
		Member{"intent_hash", a.IntentHash}, Member{"policy_version", a.PolicyVersion},
		Member{"state_snapshot_hash", a.StateSnapshotHash},
	)
	id, err := Hash(o)
	if err != nil {
		return nil, err
	}
	return NewObject(append([]Member{{"authorization_id", id}}, o.Members...)...), nil
}

// engineSigned writes what the engine signature covers.
func (e *encoder) engineSigned(expiresAt int64, intentHash, policyVersion, snapshotHash string) {
	e.raw(`{"decision":"ALLOW","expires_at":`)
	e.int(expiresAt)
	e.member(`,"intent_hash":`, intentHash)
	e.member(`,"policy_version":`, policyVersion)
	e.member(`,"state_snapshot_hash":`, snapshotHash)
	e.raw("}")
}

// member writes the syntax before a text, and the text.
func (e *encoder) member(syntax, text string) {
	e.raw(syntax)
	e.text(text)
}

// authorization writes what the signature covers. The preimage of the id has an empty id and the engine signature
// instead; an empty engine signature is left out.
func (e *encoder) authorization(a *Authorization, authID, engineSignature string) {
	e.member(`{"alg":`, a.Alg)
	e.member(`,"audience":`, a.Audience)
	e.member(`,"auth_id":`, authID)
	if a.Capability != nil {
		e.member(`,"capability":`, *a.Capability)
	}
	e.raw(`,"decision":"ALLOW"`)
	if engineSignature != "" {
		e.member(`,"engine_signature":`, engineSignature)
	}
	e.raw(`,"expiry":`)
	e.int(a.Expiry)
	e.member(`,"intent_hash":`, a.IntentHash)
	e.raw(`,"issued_at":`)
	e.int(a.IssuedAt)
	e.member(`,"issuer":`, a.Issuer)
	e.member(`,"kid":`, a.KID)
	e.member(`,"nonce":`, a.Nonce)
	e.member(`,"policy_id":`, a.PolicyID)
	e.member(`,"state_hash":`, a.StateHash)
	e.raw("}")
}

// authorize builds and signs the authorization of an allowed intent.
func (e *Engine) authorize(q *request, intentHash, stateHash, snapshotHash string) (*Authorization, error) {
	capability, named, err := q.intent.optionalText("action_type")
	if err != nil {
		return nil, err
	}
	o := &e.options
	a := &Authorization{
		Issuer: o.AuthorizationIssuer, Audience: o.AuthorizationAudience, IntentHash: intentHash, StateHash: stateHash,
		StateSnapshotHash: snapshotHash, PolicyID: e.policyID, PolicyVersion: o.PolicyVersion, IssuedAt: q.now,
		Expiry: q.now + *o.AuthorizationTTLSeconds, Alg: o.AuthorizationSigningAlg, KID: o.AuthorizationSigningKID,
		Nonce: q.intent.nonce.String(),
	}
	if named {
		a.Capability = &capability
	}
	enc := newEncoder()
	defer enc.release()
	enc.engineSigned(a.Expiry, intentHash, o.PolicyVersion, snapshotHash)
	a.EngineSignature = e.mac.hex(enc.buf)
	enc.buf = enc.buf[:0]
	enc.authorization(a, "", a.EngineSignature)
	a.AuthID = hashBytes(enc.buf)
	enc.buf = enc.buf[:0]
	enc.raw(DomainAuthorization + "\n")
	enc.authorization(a, a.AuthID, "")
	if enc.err != nil {
		return nil, enc.err
	}
	a.Signature, err = e.sign(enc.buf)
	return a, err
}

// sign signs an input that starts with its domain.
func (e *Engine) sign(input []byte) (string, error) {
	if e.options.AuthorizationSigningAlg == AlgHMAC {
		return e.mac.hex(input), nil
	}
	if e.ed25519 == nil {
		return "", ErrNoPrivateKey
	}
	return base64.StdEncoding.EncodeToString(e.ed25519(input)), nil
}

// CheckIssued is the engine's own check of an authorization that comes back to it: that it is for this intent, not
// expired at now (Unix seconds; the last second still counts), of the policy version of the state, and signed with
// the engine's secret. The empty reason means that it is good. A missing now is INTERNAL_ERROR: the engine has no
// clock of its own.
//
// It does not look at Signature and knows nothing about consumption; VerifyAuthorization is the check for everyone
// else.
func (e *Engine) CheckIssued(in Intent, auth *Object, s *State, now *int64) (Reason, error) {
	reason, err := e.checkIssued(in, auth, s, now)
	if err != nil {
		return InternalError, err
	}
	return reason, nil
}

func (e *Engine) checkIssued(in Intent, auth *Object, s *State, now *int64) (Reason, error) {
	if auth == nil || s == nil || now == nil {
		return "", fmt.Errorf("%w: an authorization check needs an authorization, a state and a time", ErrIntentInvalid)
	}
	hash, err := in.Hash()
	if err != nil {
		return "", err
	}
	if claimed, _ := auth.Get("intent_hash"); claimed != hash {
		return AuthIntentMismatch, nil
	}
	expiry, ok := auth.Get("expiry")
	if !ok {
		expiry, _ = auth.Get("expires_at")
	}
	at, ok := SafeInt(expiry)
	if !ok {
		return "", fmt.Errorf("%w: expiry is no integer", ErrIntentInvalid)
	}
	if *now > at || signedExpiryOver(auth, *now) {
		return AuthExpired, nil
	}
	if decision, _ := auth.Get("decision"); decision != string(Allow) {
		return AuthSignatureInvalid, nil
	}
	if version, _ := auth.Get("policy_version"); version != s.PolicyVersion {
		return VersionMismatch, nil
	}
	return e.checkEngineSignature(hash, s.PolicyVersion, auth)
}

// signedExpiryOver tells whether expires_at is over. The engine signature covers that member and not expiry, so a holder
// could write any expiry. One that cannot be read is left to the check of the signature.
func signedExpiryOver(auth *Object, now int64) bool {
	v, _ := auth.Get("expires_at")
	at, ok := SafeInt(v)
	return ok && now > at
}

// checkEngineSignature makes the engine signature again from the members that it covers.
func (e *Engine) checkEngineSignature(intentHash, version string, auth *Object) (Reason, error) {
	snapshot, ok := auth.Text("state_snapshot_hash")
	v, _ := auth.Get("expires_at")
	expires, isInt := SafeInt(v)
	if !ok || !isInt {
		return AuthSignatureInvalid, nil
	}
	enc := newEncoder()
	defer enc.release()
	enc.engineSigned(expires, intentHash, version, snapshot)
	if enc.err != nil {
		return "", enc.err
	}
	claimed, _ := auth.Text("engine_signature")
	if !hmac.Equal([]byte(strings.ToLower(claimed)), []byte(e.mac.hex(enc.buf))) {
		return AuthSignatureInvalid, nil
	}
	return "", nil
}
