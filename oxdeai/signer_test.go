package oxdeai

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"testing"
)

// What the tests of the verifiers sign and trust. The keys are made from fixed seeds, for tests only.
const (
	testIssuer   = "issuer"
	testAudience = "gateway"
	testKID      = "k1"
	testNow      = 1730000010 // Unix seconds
	testPolicyID = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicPEM(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func privatePEM(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// testTrust trusts the key of seed 1 for the test issuer, changed as told.
func testTrust(tb testing.TB, changes ...func(*Key)) Trust {
	tb.Helper()
	key := Key{KID: testKID, Alg: AlgEd25519, PublicKey: publicPEM(tb, testKey(1).Public())}
	for _, change := range changes {
		change(&key)
	}
	return Trust{KeySets: []KeySet{{Issuer: testIssuer, Version: "1", Keys: []Key{key}}}}
}

// set returns a copy of the object with the members replaced or added.
func set(o *Object, changes ...Member) *Object {
	for _, c := range changes {
		o = o.Without(c.Name)
		o.Members = append(o.Members, c)
	}
	return o
}

func testHash(c byte) string { return string(bytes.Repeat([]byte{c}, 64)) }

// plainAuth is an authorization without signature, with members replaced or added.
func plainAuth(changes ...Member) *Object {
	return set(NewObject(
		Member{"auth_id", testHash('f')}, Member{"issuer", testIssuer}, Member{"audience", testAudience},
		Member{"intent_hash", testHash('a')}, Member{"state_hash", testHash('b')}, Member{"policy_id", testPolicyID},
		Member{"decision", "ALLOW"}, Member{"issued_at", Int(1730000000)}, Member{"expiry", Int(1730000060)},
		Member{"alg", AlgEd25519}, Member{"kid", testKID},
	), changes...)
}

// signedAuth is plainAuth with a flat signature of seed 1.
func signedAuth(tb testing.TB, changes ...Member) *Object {
	tb.Helper()
	auth := plainAuth(changes...)
	return set(auth, Member{"signature", mustSign(tb, testKey(1), DomainAuthorization, authPayload(auth, signature{}))})
}

// nestedAuth is plainAuth with a signature object of seed 1.
func nestedAuth(tb testing.TB, changes ...Member) *Object {
	tb.Helper()
	auth := plainAuth(changes...)
	sig := signature{alg: AlgEd25519, kid: testKID, nested: true}
	text := mustSign(tb, testKey(1), DomainAuthorization, nestedPayload(auth, sig))
	return set(auth, Member{"signature", NewObject(Member{"alg", sig.alg}, Member{"kid", sig.kid}, Member{"sig", text})})
}

func mustSign(tb testing.TB, key ed25519.PrivateKey, domain string, payload *Object) string {
	tb.Helper()
	text, err := SignEd25519(key, domain, payload)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func testEvents(stateHash string) []Value {
	at := func(e Event) Value {
		e.Timestamp, e.PolicyID = 1730000000, testPolicyID
		return e.Object()
	}
	return []Value{
		at(Event{Type: IntentReceived, IntentHash: testHash('a'), AgentID: "agent-1"}),
		at(Event{Type: DecisionMade, IntentHash: testHash('a'), Decision: Allow, PolicyVersion: "v1"}),
		at(Event{Type: AuthEmitted, AuthorizationID: testHash('f'), IntentHash: testHash('a'), ExpiresAt: 1730000060}),
		at(Event{Type: StateCheckpoint, StateHash: stateHash}),
	}
}

// testSnapshot is a small snapshot and its state hash.
func testSnapshot(tb testing.TB) (data []byte, stateHash string) {
	tb.Helper()
	s := &Snapshot{EngineVersion: "unknown", PolicyID: testPolicyID, Modules: NewObject(
		Member{"KillSwitchModule", NewObject(Member{"agents", NewObject()}, Member{"global", false})},
	)}
	data, err := s.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	if stateHash, err = ModulesHash(s); err != nil {
		tb.Fatal(err)
	}
	return data, stateHash
}

// testEnvelope is a signed envelope whose checkpoint names its snapshot.
func testEnvelope(tb testing.TB) []byte {
	tb.Helper()
	snapshot, stateHash := testSnapshot(tb)
	e, err := SignEnvelope(Envelope{Snapshot: snapshot, Events: testEvents(stateHash)}, testKey(1), testIssuer, testKID)
	if err != nil {
		tb.Fatal(err)
	}
	return mustAppendEnvelope(tb, &e)
}

func mustAppendEnvelope(tb testing.TB, e *Envelope) []byte {
	tb.Helper()
	data, err := AppendEnvelope(nil, e)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// testChain is a parent authorization and a delegation of a part of it, both signed, and the trust for them. The delegator has the
// key of seed 2.
func testChain(tb testing.TB, r DelegationRequest) (d, parent *Object, trust Trust) {
	tb.Helper()
	parent = nestedAuth(tb, Member{"scope", NewObject(Member{"tools", Strings([]string{"pay", "refund"})}, Member{"max_amount", "1000"})})
	if r.Delegatee == "" {
		r.Delegatee = "child"
	}
	if r.Expiry == 0 {
		r.Expiry = 1730000050
	}
	r.KID, r.IssuedAt = testKID, 1730000005
	d, err := CreateDelegation(parent, r, testKey(2))
	if err != nil {
		tb.Fatal(err)
	}
	trust = testTrust(tb)
	trust.KeySets = append(trust.KeySets, KeySet{Issuer: testAudience, Keys: []Key{
		{KID: testKID, Alg: AlgEd25519, PublicKey: publicPEM(tb, testKey(2).Public())},
	}})
	return d, parent, trust
}

func signBytes(key ed25519.PrivateKey, input []byte) []byte { return ed25519.Sign(key, input) }

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }
