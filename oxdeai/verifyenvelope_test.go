package oxdeai

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestVerifyEnvelopeOfOurOwn(t *testing.T) {
	t.Parallel()
	_, stateHash := testSnapshot(t)
	r := VerifyEnvelope(testEnvelope(t), testNow, EnvelopeOptions{
		Trust: testTrust(t), ExpectedIssuer: testIssuer, ExpectedPolicyID: testPolicyID,
	})
	if !r.OK() || r.PolicyID != testPolicyID || r.StateHash != stateHash || r.AuditHeadHash != headOf(t, testEvents(stateHash)) {
		t.Errorf("got %s", r.AppendJSON(nil))
	}
}

// TestEnvelopeWorkedExample signs the example of the protocol with the public test key, so that other implementations agree on every byte.
func TestEnvelopeWorkedExample(t *testing.T) {
	t.Parallel()
	key, err := ParsePrivateKey("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBx0hBPi6cIYPo/JZbavNXDDLlfV1vj+IyS+R4oq2Zvx\n-----END PRIVATE KEY-----")
	if err != nil {
		t.Fatal(err)
	}
	event := NewObject(Member{"type", "STATE_CHECKPOINT"}, Member{"stateHash", "ab"}, Member{"timestamp", Int(1)})
	e, err := SignEnvelope(Envelope{Snapshot: []byte("{}"), Events: []Value{event}}, key, "oxdeai.policy-engine", "2026-01")
	if err != nil {
		t.Fatal(err)
	}
	const want = "+/BSsGqwaS2dFFZpZPaUosp7ELe2agK3PqtP5NUQZ5XJHm3B/rS9LNRJevbe+9GW4ZKUpT0po47JqXMKAvBLBA=="
	if e.Signature != want {
		t.Errorf("got %s", e.Signature)
	}
}

func TestVerifyEnvelopeDemands(t *testing.T) {
	t.Parallel()
	snapshot, stateHash := testSnapshot(t)
	unsigned := mustAppendEnvelope(t, &Envelope{Snapshot: snapshot, Events: testEvents(stateHash)})
	sign := func(e Envelope, key ed25519.PrivateKey) []byte {
		signed, err := SignEnvelope(e, key, testIssuer, testKID)
		if err != nil {
			t.Fatal(err)
		}
		return mustAppendEnvelope(t, &signed)
	}
	unbound := sign(Envelope{Snapshot: snapshot, Events: testEvents(testHash('9'))}, testKey(1))
	forged := sign(Envelope{Snapshot: snapshot, Events: testEvents(stateHash)}, testKey(9))
	good, trust := testEnvelope(t), testTrust(t)
	with := func(change func(*Key)) Trust { return testTrust(t, change) }
	past := int64(testNow - 1)
	for _, row := range []struct {
		name  string
		data  []byte
		opts  EnvelopeOptions
		codes string
	}{
		{"good", good, EnvelopeOptions{Trust: trust}, ""},
		{"nobody is trusted", good, EnvelopeOptions{}, "TRUSTED_KEYSETS_REQUIRED"},
		{"nobody is trusted, best effort", good, EnvelopeOptions{Mode: ModeBestEffort}, "ENVELOPE_TRUST_MISSING"},
		{"nobody is trusted, mode unset", good, EnvelopeOptions{Mode: ModeUnset}, "ENVELOPE_TRUST_MISSING"},
		{"unsigned", unsigned, EnvelopeOptions{Trust: trust}, "ENVELOPE_SIGNATURE_MISSING"},
		{"unsigned, accepted", unsigned, EnvelopeOptions{Trust: trust, AcceptUnsigned: true}, ""},
		{"unsigned, accepted, but another issuer is expected", unsigned,
			EnvelopeOptions{Trust: trust, AcceptUnsigned: true, ExpectedIssuer: testIssuer}, "ENVELOPE_SIGNATURE_INVALID"},
		{"forged, though unsigned ones are accepted", forged, EnvelopeOptions{Trust: trust, AcceptUnsigned: true}, "ENVELOPE_SIGNATURE_INVALID"},
		{"checkpoint of another state", unbound, EnvelopeOptions{Trust: trust}, "CHECKPOINT_MISMATCH"},
		{"checkpoint of another state, accepted", unbound, EnvelopeOptions{Trust: trust, AcceptUnboundSnapshot: true}, ""},
		{"retired key", good, EnvelopeOptions{Trust: with(func(k *Key) { k.Status = KeyRetired })}, "ENVELOPE_KEY_INACTIVE"},
		{"revoked key", good, EnvelopeOptions{Trust: with(func(k *Key) { k.Status = KeyRevoked })}, "ENVELOPE_KEY_INACTIVE"},
		{"key of the past", good, EnvelopeOptions{Trust: with(func(k *Key) { k.NotAfter = &past })}, "ENVELOPE_KEY_INACTIVE"},
		{"unknown key", good, EnvelopeOptions{Trust: with(func(k *Key) { k.KID = "k2" })}, "ENVELOPE_KID_UNKNOWN"},
		{"unreadable key", good, EnvelopeOptions{Trust: with(func(k *Key) { k.PublicKey = "no key" })}, "ENVELOPE_SIGNATURE_INVALID"},
		{"another policy", good, EnvelopeOptions{Trust: trust, ExpectedPolicyID: "p"},
			"POLICY_ID_MISMATCH,POLICY_ID_MISMATCH,POLICY_ID_MISMATCH,POLICY_ID_MISMATCH,POLICY_ID_MISMATCH"},
		{"no JSON", []byte("\x01"), EnvelopeOptions{Trust: trust}, "ENVELOPE_MALFORMED"},
		{"a name twice", []byte(strings.Replace(string(good), `{"alg"`, `{"alg":"Ed25519","alg"`, 1)), EnvelopeOptions{Trust: trust}, "ENVELOPE_MALFORMED"},
	} {
		if r := VerifyEnvelope(row.data, testNow, row.opts); r.Reasons() != row.codes || r.OK() != (row.codes == "") {
			t.Errorf("%s: got %s %q, want %q", row.name, r.Status, r.Reasons(), row.codes)
		}
	}
}

func TestDecodeEnvelopeIssues(t *testing.T) {
	t.Parallel()
	const base = `"formatVersion":1,"snapshot":"e30=","events":[]`
	for _, row := range []struct{ name, text, want string }{
		{"good", `{` + base + `}`, ""},
		{"good by value", `{"formatVersion":1.0,"snapshot":"e30=","events":[]}`, ""},
		{"list", `[]`, "$: must be object"},
		{"empty", `{}`, "$: missing events"},
		{"version 2", `{"formatVersion":2,"snapshot":"e30=","events":[]}`, "$.formatVersion: must equal 1"},
		{"version as text", `{"formatVersion":"1","snapshot":"e30=","events":[]}`, "$.formatVersion: must equal 1"},
		{"unknown member", `{"zz":1,` + base + `}`, "$.zz: unknown field"},
		{"snapshot of padding", `{"formatVersion":1,"snapshot":"==","events":[]}`, "$.snapshot: must be base64 string"},
		{"snapshot of the URL alphabet", `{"formatVersion":1,"snapshot":"e3_=","events":[]}`, "$.snapshot: must be base64 string"},
		{"snapshot with three paddings", `{"formatVersion":1,"snapshot":"e===","events":[]}`, "$.snapshot: must be base64 string"},
		{"snapshot with a line break", `{"formatVersion":1,"snapshot":"e3\n0=","events":[]}`, "$.snapshot: must be base64 string"},
		{"events as object", `{"formatVersion":1,"snapshot":"e30=","events":{}}`, "$.events: must be array"},
		{"event 10 sorts before event 2", `{"formatVersion":1,"snapshot":"e30=","events":[` +
			strings.Repeat(`{"type":"STATE_CHECKPOINT","timestamp":1,"stateHash":"x"},`, 2) + strings.Repeat(`5,`, 8) + `5]}`, "$.events[10]: must be object"},
		{"unsigned with an issuer that is no text", `{"issuer":5,` + base + `}`, "$.issuer: must be string"},
		{"other algorithm", `{"alg":"RSA","signature":"",` + base + `}`, "$.alg: must be Ed25519"},
		{"empty signature", `{"signature":"",` + base + `}`, "$.alg: required when signature is present"},
		{"signature without kid", `{"signature":"x","alg":"Ed25519","issuer":"i","kid":"",` + base + `}`, "$.kid: required when signature is present"},
	} {
		_, err := DecodeEnvelope([]byte(row.text))
		got := ""
		var malformed *EnvelopeError
		if errors.As(err, &malformed) {
			got = malformed.Issue.Path + ": " + malformed.Issue.Message
		}
		if got != row.want || (err == nil) != (row.want == "") {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

// A hostile envelope gets the issue that sorts first, however many there are.
func TestDecodeEnvelopeWithManyIssues(t *testing.T) {
	t.Parallel()
	var members, events strings.Builder
	for i := range 3 * MaxEventIssues {
		fmt.Fprintf(&members, `"m%d":1,`, 3*MaxEventIssues-i)
		events.WriteString(`{"type":"X","timestamp":1},`)
	}
	for name, row := range map[string]struct{ text, want string }{
		"members":          {`{` + members.String() + `"formatVersion":1,"snapshot":"e30=","events":[]}`, "$.m1"},
		"events":           {`{"formatVersion":1,"snapshot":"e30=","events":[` + events.String() + `5]}`, "$.events[0].type"},
		"members of event": {`{"formatVersion":1,"snapshot":"e30=","events":[{` + members.String() + `"timestamp":1,"type":5}]}`, "$.events[0].type"},
	} {
		_, err := DecodeEnvelope([]byte(row.text))
		var malformed *EnvelopeError
		if !errors.As(err, &malformed) || malformed.Issue.Path != row.want {
			t.Errorf("%s: got %v, want %s", name, err, row.want)
		}
	}
}

// A snapshot text that only looks like base64 does not stop the checks of the rest.
func TestVerifyEnvelopeSnapshotThatIsNoBase64(t *testing.T) {
	t.Parallel()
	r := VerifyEnvelope([]byte(`{"formatVersion":1,"snapshot":"AAA","events":[]}`), testNow, EnvelopeOptions{Mode: ModeBestEffort, AcceptUnsigned: true})
	if r.Status != StatusInvalid || r.Reasons() != "POLICY_ID_MISSING,SNAPSHOT_CORRUPT" {
		t.Errorf("got %s", r.AppendJSON(nil))
	}
}

func TestSignEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	snapshot, stateHash := testSnapshot(t)
	good := Envelope{Snapshot: snapshot, Events: testEvents(stateHash)}
	for name, sign := range map[string]func() (Envelope, error){
		"no issuer": func() (Envelope, error) { return SignEnvelope(good, testKey(1), "", testKID) },
		"no kid":    func() (Envelope, error) { return SignEnvelope(good, testKey(1), testIssuer, "") },
		"no key":    func() (Envelope, error) { return SignEnvelope(good, nil, testIssuer, testKID) },
		"an event without canonical form": func() (Envelope, error) {
			return SignEnvelope(Envelope{Snapshot: snapshot, Events: []Value{0.5}}, testKey(1), testIssuer, testKID)
		},
	} {
		if e, err := sign(); err == nil || e.Signature != "" {
			t.Errorf("%s: signed, error %v", name, err)
		}
	}
	for name, e := range map[string]Envelope{
		"no snapshot":           {Events: testEvents(stateHash)},
		"event of unknown type": {Snapshot: snapshot, Events: []Value{NewObject(Member{"type", "X"}, Member{"timestamp", Int(1)})}},
		"signature alone":       {Snapshot: snapshot, Signature: "x"},
	} {
		if _, err := AppendEnvelope(nil, &e); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}
