package oxdeai

import (
	"bytes"
	"testing"
)

// checkResult fails on a result that contradicts itself.
func checkResult(t *testing.T, r Result) {
	t.Helper()
	if r.OK() != (len(r.Violations) == 0) {
		t.Fatalf("status %s with %d violations", r.Status, len(r.Violations))
	}
	if _, err := Parse(r.AppendJSON(nil)); err != nil {
		t.Fatalf("result is no JSON: %v", err)
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add(testEnvelope(f))
	f.Add([]byte(`{"formatVersion":1,"snapshot":"AAA","events":[{"type":"STATE_CHECKPOINT"}],"signature":""}`))
	trust := testTrust(f)
	good := testEnvelope(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEnvelope(data)
		r := VerifyEnvelope(data, testNow, EnvelopeOptions{Trust: trust})
		checkResult(t, r)
		if r.OK() != bytes.Equal(data, good) && r.OK() && string(mustAppendEnvelope(t, e)) != string(good) {
			t.Fatalf("verified something that nobody signed: %q", data)
		}
		if err != nil || e.Snapshot == nil {
			return
		}
		out, err := AppendEnvelope(nil, e)
		if err != nil {
			return // a number that only the canonical form refuses
		}
		if _, err := DecodeEnvelope(out); err != nil {
			t.Fatalf("does not read what it wrote: %q: %v", out, err)
		}
	})
}

func FuzzDecodeEvents(f *testing.F) {
	f.Add(mustCanonical(f, testEvents(testHash('1'))))
	f.Add([]byte("{\"type\":\"DECISION\",\"timestamp\":1}\n{\"type\":5}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		events, err := DecodeEvents(data)
		if err != nil {
			return
		}
		r := VerifyAuditEvents(events, AuditOptions{ExpectedPolicyID: testPolicyID})
		checkResult(t, r)
		if r.OK() || !isHashText(r.AuditHeadHash) {
			t.Fatalf("without an expected head: %s", r.AppendJSON(nil))
		}
		if replay, err := VerifyReplay(events, ReplayOptions{}); err == nil {
			if _, err := Parse(replay.AppendJSON(nil)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzDecodeAuthorization(f *testing.F) {
	f.Add(mustCanonical(f, signedAuth(f)))
	f.Add(mustCanonical(f, nestedAuth(f)))
	trust := testTrust(f)
	signed := [2]string{string(mustCanonical(f, authPayload(signedAuth(f), signature{}))), string(mustCanonical(f, nestedAuth(f).Without("signature")))}
	f.Fuzz(func(t *testing.T, data []byte) {
		auth, err := DecodeAuthorization(data)
		if err != nil {
			return
		}
		CheckAuthorization(auth)
		r := VerifyAuthorization(auth, testNow, AuthorizationOptions{Trust: trust})
		checkResult(t, r)
		if !r.OK() {
			return
		}
		if got := string(mustCanonical(t, authPayload(auth, signatureOf(auth)))); got != signed[0] && got != signed[1] {
			t.Fatalf("verified something that nobody signed: %q", data)
		}
	})
}

func FuzzDecodeDelegation(f *testing.F) {
	d, parent, trust := testChain(f, DelegationRequest{ID: "d-1", Scope: Scope{Tools: []string{"pay"}}})
	f.Add(mustCanonical(f, d))
	f.Add([]byte(`{"scope":{"tools":5,"max_amount":"x"},"alg":"Ed25519"}`))
	want := string(mustCanonical(f, d))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeDelegation(data)
		if err != nil {
			return
		}
		checkResult(t, VerifyDelegation(got, testNow, DelegationOptions{ParentScope: objectMember(parent, "scope")}))
		r := VerifyDelegationChain(got, parent, testNow, DelegationOptions{Trust: trust})
		checkResult(t, r)
		if r.OK() && string(mustCanonical(t, got)) != want {
			t.Fatalf("verified something that nobody signed: %q", data)
		}
	})
}

func FuzzParseKeySets(f *testing.F) {
	f.Add([]byte(keySetText(f, testIssuer, "")))
	f.Add([]byte(`[` + keySetText(f, testIssuer, `,"status":"retired","not_after":1`) + `]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		sets, err := ParseKeySets(data)
		if err != nil {
			return
		}
		for _, s := range sets {
			if s.Issuer == "" || len(s.Keys) == 0 {
				t.Fatalf("a set without issuer or keys: %+v", s)
			}
			for i := range s.Keys {
				if s.Keys[i].Alg == AlgEd25519 && s.Keys[i].public() == nil {
					t.Fatalf("an Ed25519 key that is none: %+v", s.Keys[i])
				}
			}
		}
	})
}

func FuzzParseKeyText(f *testing.F) {
	f.Add(publicPEM(f, testKey(1).Public()))
	f.Add(privatePEM(f, testKey(1)))
	f.Add(base64Of([]byte(publicPEM(f, testKey(1).Public()))))
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := ParsePublicKey(text); err == nil {
			if again, err := ParsePublicKey(publicPEM(t, key)); err != nil || !key.Equal(again) {
				t.Fatalf("key changes when it is written: %v", err)
			}
		}
		if key, err := ParsePrivateKey(text); err == nil {
			if again, err := ParsePrivateKey(privatePEM(t, key)); err != nil || !key.Equal(again) {
				t.Fatalf("key changes when it is written: %v", err)
			}
		}
	})
}

func FuzzPEPExecute(f *testing.F) {
	f.Add([]byte(`{"action":{"type":"X"},"authorization":` + string(mustCanonical(f, boundAuth(f))) + `,"state_snapshot":{"s":1}}`))
	f.Add([]byte(`{"action":{"a":0.5},"authorization":{}}`))
	trust := testTrust(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		v := testPEP(t, trust, new(ledger)).Execute(body, testNow)
		if v.Allowed != (v.Reason == "") {
			t.Fatalf("%+v", v)
		}
		if _, err := Parse(v.Reply(UpstreamDone).AppendJSON(nil, nil)); err != nil {
			t.Fatal(err)
		}
	})
}
