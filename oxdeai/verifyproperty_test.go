package oxdeai

import (
	"testing"

	"pgregory.net/rapid"
)

// A signed artifact with one byte changed, anywhere, never verifies. Every artifact here is canonical and has only members that its
// signature covers.
func TestPropertyFlippedByteNeverVerifies(t *testing.T) {
	t.Parallel()
	auth := func(opts AuthorizationOptions) func([]byte) bool {
		return func(data []byte) bool {
			o, err := DecodeAuthorization(data)
			return err == nil && VerifyAuthorization(o, testNow, opts).OK()
		}
	}
	strict := AuthorizationOptions{Trust: testTrust(t)}
	d, parent, trust := testChain(t, DelegationRequest{ID: "d-1", Scope: Scope{Tools: []string{"pay"}}})
	for _, kind := range []struct {
		name     string
		data     []byte
		verifies func([]byte) bool
	}{
		{"flat authorization", mustCanonical(t, signedAuth(t, Member{"nonce", "1"}, Member{"capability", "PAYMENT"})), auth(strict)},
		{"nested authorization", mustCanonical(t, nestedAuth(t)), auth(strict)},
		{"bare signature", mustCanonical(t, bareAuth(t)), auth(AuthorizationOptions{Trust: testTrust(t), AcceptBareSignature: true})},
		{"HMAC authorization", mustCanonical(t, hmacAuth(t)), auth(AuthorizationOptions{Trust: testTrust(t), LegacyHMACSecret: []byte(testHMACSecret)})},
		{"envelope", testEnvelope(t), func(data []byte) bool {
			return VerifyEnvelope(data, testNow, EnvelopeOptions{Trust: testTrust(t)}).OK()
		}},
		{"delegation", mustCanonical(t, d), func(data []byte) bool {
			o, err := DecodeDelegation(data)
			return err == nil && VerifyDelegationChain(o, parent, testNow, DelegationOptions{Trust: trust}).OK()
		}},
		{"parent of a delegation", mustCanonical(t, parent), func(data []byte) bool {
			o, err := DecodeAuthorization(data)
			return err == nil && VerifyDelegationChain(d, o, testNow, DelegationOptions{Trust: trust}).OK()
		}},
	} {
		if !kind.verifies(kind.data) {
			t.Fatalf("%s does not verify unchanged", kind.name)
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			everyBit(t, kind.data, kind.verifies)
			rapid.Check(t, func(t *rapid.T) { anyByte(t, kind.data, kind.verifies) })
		})
	}
}

// everyBit flips each byte in the bit that the position picks, so that all bits have their turn.
func everyBit(t *testing.T, data []byte, verifies func([]byte) bool) {
	t.Helper()
	for i := range data {
		changed := append([]byte(nil), data...)
		changed[i] ^= 1 << (i % 8)
		if verifies(changed) {
			t.Errorf("byte %d of %d: %q verifies", i, len(data), changed)
		}
	}
}

// anyByte puts any other byte at any place.
func anyByte(t *rapid.T, data []byte, verifies func([]byte) bool) {
	changed := append([]byte(nil), data...)
	i := rapid.IntRange(0, len(data)-1).Draw(t, "place")
	changed[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
	if verifies(changed) {
		t.Fatalf("byte %d of %d: %q verifies", i, len(data), changed)
	}
}

// A log whose events changed in one byte has another head, unless it is refused.
func TestPropertyFlippedByteChangesTheHead(t *testing.T) {
	t.Parallel()
	events := testEvents(testHash('1'))
	opts := AuditOptions{ExpectedHead: headOf(t, events)}
	data := mustCanonical(t, events)
	verifies := func(data []byte) bool {
		list, err := DecodeEvents(data)
		return err == nil && VerifyAuditEvents(list, opts).OK()
	}
	if !verifies(data) {
		t.Fatal("the log does not verify unchanged")
	}
	everyBit(t, data, verifies)
	rapid.Check(t, func(t *rapid.T) { anyByte(t, data, verifies) })
}

// What DecodeEnvelope reads, AppendEnvelope writes again, and the signature still verifies.
func TestPropertyEnvelopeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		e := Envelope{Snapshot: rapid.SliceOfN(rapid.Byte(), 1, 99).Draw(r, "snapshot")}
		for range rapid.IntRange(0, 5).Draw(r, "events") {
			at := rapid.Int64Range(0, MaxSafeInteger).Draw(r, "timestamp")
			e.Events = append(e.Events, Event{Type: IntentReceived, Timestamp: at, IntentHash: "x", AgentID: rapid.String().Draw(r, "agent")}.Object())
		}
		e, err := SignEnvelope(e, testKey(1), testIssuer, testKID)
		if err != nil {
			r.Fatal(err)
		}
		data := mustAppendEnvelope(t, &e)
		back, err := DecodeEnvelope(data)
		if err != nil {
			r.Fatal(err)
		}
		if again := mustAppendEnvelope(t, back); string(again) != string(data) {
			r.Fatalf("wrote %q, then %q", data, again)
		}
		if !verifyEd25519(testTrust(t).find(testIssuer, testKID).public(), DomainEnvelope, back.signed(), back.Signature) {
			r.Fatal("the signature does not verify")
		}
	})
}
