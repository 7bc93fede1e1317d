package oxdeai

import (
	"strings"
	"testing"
)

const testHMACSecret = "a secret of the tests"

func hmacAuth(tb testing.TB, changes ...Member) *Object {
	tb.Helper()
	auth := plainAuth(append([]Member{{"alg", AlgHMAC}}, changes...)...)
	text, err := SignHMAC([]byte(testHMACSecret), DomainAuthorization, authPayload(auth, signature{}))
	if err != nil {
		tb.Fatal(err)
	}
	return set(auth, Member{"signature", text})
}

// bareAuth is signed over the canonical bytes alone.
func bareAuth(tb testing.TB) *Object {
	tb.Helper()
	auth := plainAuth()
	input := mustCanonical(tb, authPayload(auth, signature{}))
	return set(auth, Member{"signature", base64Of(signBytes(testKey(1), input))})
}

func TestVerifyAuthorizationDemands(t *testing.T) {
	t.Parallel()
	trust := testTrust(t)
	with := func(change func(*Key)) Trust { return testTrust(t, change) }
	all := AuthorizationOptions{
		Trust: trust, ExpectedIssuer: testIssuer, ExpectedAudience: testAudience, ExpectedPolicyID: testPolicyID,
		Consumed: func(id string) bool { return id == "used" },
	}
	later := int64(testNow + 1)
	for _, row := range []struct {
		name  string
		auth  *Object
		opts  AuthorizationOptions
		codes string
	}{
		{"flat", signedAuth(t), all, ""},
		{"flat with optional members", signedAuth(t, Member{"nonce", "1"}, Member{"capability", "PAYMENT"}), all, ""},
		{"nested", nestedAuth(t), all, ""},
		{"nested, with members of its own", nestedAuth(t, Member{"scope", NewObject()}), all, ""},
		{"companions of the engine are not covered", set(signedAuth(t), Member{"policy_version", "v1"}), all, ""},
		{"nobody is trusted", signedAuth(t), AuthorizationOptions{}, "TRUSTED_KEYSETS_REQUIRED"},
		{"nobody is trusted, best effort", signedAuth(t), AuthorizationOptions{Mode: ModeBestEffort}, "AUTH_TRUST_MISSING"},
		{"nobody is trusted, mode unset", signedAuth(t), AuthorizationOptions{Mode: ModeUnset}, "AUTH_TRUST_MISSING"},
		{"nobody is trusted, unverified accepted, still strict", signedAuth(t), AuthorizationOptions{AcceptUnverifiedSignature: true}, "TRUSTED_KEYSETS_REQUIRED"},
		{"unverified accepted", signedAuth(t), AuthorizationOptions{Mode: ModeBestEffort, AcceptUnverifiedSignature: true}, ""},
		{"unverified accepted, but it can be checked", set(signedAuth(t), Member{"nonce", "2"}),
			AuthorizationOptions{Mode: ModeBestEffort, Trust: trust, AcceptUnverifiedSignature: true}, "AUTH_SIGNATURE_INVALID"},
		{"without the domain", bareAuth(t), all, "AUTH_SIGNATURE_INVALID"},
		{"without the domain, accepted", bareAuth(t), AuthorizationOptions{Trust: trust, AcceptBareSignature: true}, ""},
		{"of another domain", set(plainAuth(), Member{"signature", mustSign(t, testKey(1), DomainEnvelope, authPayload(plainAuth(), signature{}))}), all, "AUTH_SIGNATURE_INVALID"},
		{"retired key", signedAuth(t), AuthorizationOptions{Trust: with(func(k *Key) { k.Status = KeyRetired })}, "AUTH_KEY_INACTIVE"},
		{"retired key, accepted", signedAuth(t), AuthorizationOptions{Trust: retiredTrust(t)}, ""},
		{"key of an unknown status", signedAuth(t), AuthorizationOptions{Trust: with(func(k *Key) { k.Status = "new" })}, "AUTH_KEY_INACTIVE"},
		{"key of the future", signedAuth(t), AuthorizationOptions{Trust: with(func(k *Key) { k.NotBefore = &later })}, "AUTH_KEY_INACTIVE"},
		{"key of another algorithm", signedAuth(t), AuthorizationOptions{Trust: with(func(k *Key) { k.Alg = AlgHMAC })}, "AUTH_KID_UNKNOWN"},
		{"unknown algorithm", signedAuth(t, Member{"alg", "none"}), all, "AUTH_ALG_UNSUPPORTED"},
		{"unknown kid", signedAuth(t, Member{"kid", "constructor"}), all, "AUTH_KID_UNKNOWN"},
		{"used", signedAuth(t, Member{"auth_id", "used"}), all, "AUTH_REPLAY"},
		{"denied", signedAuth(t, Member{"decision", "DENY"}), all, "AUTH_DECISION_INVALID"},
		{"expired this second", signedAuth(t, Member{"expiry", Int(testNow)}), all, "AUTH_EXPIRED"},
		{"expires next second", signedAuth(t, Member{"expiry", Int(testNow + 1)}), all, ""},
		{"expiry as text", plainAuth(Member{"expiry", "9"}, Member{"signature", "x"}), all, "AUTH_MISSING_FIELD,AUTH_SIGNATURE_INVALID"},
		{"another audience", signedAuth(t, Member{"audience", "x"}), all, "AUTH_AUDIENCE_MISMATCH"},
		{"another policy", signedAuth(t, Member{"policy_id", "x"}), all, "AUTH_POLICY_ID_MISMATCH"},
		{"another issuer", signedAuth(t, Member{"issuer", "x"}), all, "AUTH_ISSUER_MISMATCH,AUTH_KID_UNKNOWN"},
		{"nil", nil, AuthorizationOptions{Trust: trust}, "AUTH_DECISION_INVALID" + strings.Repeat(",AUTH_MISSING_FIELD", 11)},
	} {
		r := VerifyAuthorization(row.auth, testNow, row.opts)
		if r.Reasons() != row.codes || r.OK() != (row.codes == "") {
			t.Errorf("%s: got %s %q, want %q", row.name, r.Status, r.Reasons(), row.codes)
		}
	}
}

func TestVerifyAuthorizationHMAC(t *testing.T) {
	t.Parallel()
	trust, secret := testTrust(t), []byte(testHMACSecret)
	for _, row := range []struct {
		name  string
		auth  *Object
		opts  AuthorizationOptions
		codes string
	}{
		{"HMAC in strict mode without a secret", hmacAuth(t), AuthorizationOptions{Trust: trust}, "AUTH_TRUST_MISSING"},
		{"HMAC in strict mode without a secret, unverified accepted", hmacAuth(t),
			AuthorizationOptions{Trust: trust, AcceptUnverifiedSignature: true}, "AUTH_TRUST_MISSING"},
		{"HMAC in best effort, unverified accepted", hmacAuth(t), AuthorizationOptions{Mode: ModeBestEffort, AcceptUnverifiedSignature: true}, ""},
		{"HMAC with its secret", hmacAuth(t), AuthorizationOptions{Trust: trust, LegacyHMACSecret: secret}, ""},
		{"HMAC with another secret", hmacAuth(t), AuthorizationOptions{Trust: trust, LegacyHMACSecret: []byte("x")}, "AUTH_SIGNATURE_INVALID"},
		{"HMAC in uppercase", upperSignature(hmacAuth(t)), AuthorizationOptions{Trust: trust, LegacyHMACSecret: secret}, "AUTH_SIGNATURE_INVALID"},
		{"HMAC called Ed25519", set(hmacAuth(t), Member{"alg", AlgEd25519}), AuthorizationOptions{Trust: trust, LegacyHMACSecret: secret}, "AUTH_SIGNATURE_INVALID"},
	} {
		r := VerifyAuthorization(row.auth, testNow, row.opts)
		if r.Reasons() != row.codes || r.OK() != (row.codes == "") {
			t.Errorf("%s: got %s %q, want %q", row.name, r.Status, r.Reasons(), row.codes)
		}
	}
}

func retiredTrust(tb testing.TB) Trust {
	trust := testTrust(tb, func(k *Key) { k.Status = KeyRetired })
	trust.AcceptRetired = true
	return trust
}

func upperSignature(auth *Object) *Object {
	return set(auth, Member{"signature", strings.ToUpper(textMember(auth, "signature"))})
}

// A base64 signature has one spelling. Each of these decodes to the right bytes in a lenient decoder.
func TestVerifyAuthorizationRefusesOtherSpellings(t *testing.T) {
	t.Parallel()
	auth := signedAuth(t, Member{"nonce", "23"})
	good := textMember(auth, "signature")
	if !strings.HasSuffix(good, "==") {
		t.Fatalf("signature %q has no padding", good)
	}
	spare := good[:len(good)-3] + string(good[len(good)-3]+1) + "=="
	for name, text := range map[string]string{
		"no padding":      strings.TrimRight(good, "="),
		"line break":      good[:40] + "\n" + good[40:],
		"space in front":  " " + good,
		"URL alphabet":    strings.NewReplacer("+", "-", "/", "_").Replace(good),
		"spare bits":      spare,
		"a byte behind":   good + "A",
		"another padding": good[:len(good)-1],
	} {
		if text == good {
			t.Fatalf("%s: the signature of the test has no such letter", name)
		}
		r := VerifyAuthorization(set(auth, Member{"signature", text}), testNow, AuthorizationOptions{Trust: testTrust(t)})
		if r.Reasons() != string(CodeAuthSignatureInvalid) {
			t.Errorf("%s: got %q", name, r.Reasons())
		}
	}
}

// The authorization that an engine builds verifies as it travels.
func TestVerifyAuthorizationOfTheEngine(t *testing.T) {
	t.Parallel()
	out := signingEngine(t).Evaluate(exampleIntent(), exampleState())
	if out.Authorization == nil {
		t.Fatalf("denied: %v", out.Reasons)
	}
	v, err := NewVerifier(testTrust(t), testIssuer)
	if err != nil {
		t.Fatal(err)
	}
	auth := out.Authorization.Object()
	if r := v.VerifyAuthorization(auth, testNow, AuthorizationOptions{ExpectedAudience: testAudience}); !r.OK() {
		t.Errorf("got %s", r.AppendJSON(nil))
	}
	if issues := CheckAuthorization(auth); issues != nil {
		t.Errorf("schema issues %v", issues)
	}
}

func TestVerifier(t *testing.T) {
	t.Parallel()
	if _, err := NewVerifier(Trust{}, ""); err != ErrNoKeySets {
		t.Errorf("no key sets: error %v", err)
	}
	v, err := NewVerifier(testTrust(t), "somebody")
	if err != nil {
		t.Fatal(err)
	}
	loose := AuthorizationOptions{Mode: ModeBestEffort, AcceptUnverifiedSignature: true}
	if r := v.VerifyAuthorization(signedAuth(t), testNow, loose); r.Reasons() != "AUTH_ISSUER_MISMATCH" {
		t.Errorf("bound issuer: got %q", r.Reasons())
	}
	loose.ExpectedIssuer = testIssuer
	if r := v.VerifyAuthorization(signedAuth(t), testNow, loose); !r.OK() {
		t.Errorf("issuer of the call: got %q", r.Reasons())
	}
	if r := v.VerifyAuthorization(hmacAuth(t), testNow, loose); r.Reasons() != "AUTH_TRUST_MISSING" {
		t.Errorf("strict whatever the options say: got %q", r.Reasons())
	}
	if r := v.VerifyEnvelope(testEnvelope(t), testNow, EnvelopeOptions{Mode: ModeBestEffort}); r.Reasons() != "ENVELOPE_SIGNATURE_INVALID" {
		t.Errorf("envelope, bound issuer: got %q", r.Reasons())
	}
	if r := v.VerifyEnvelope(testEnvelope(t), testNow, EnvelopeOptions{ExpectedIssuer: testIssuer}); !r.OK() {
		t.Errorf("envelope, issuer of the call: got %q", r.Reasons())
	}
}

func TestAuthorizationSchema(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		auth *Object
		want string
	}{
		{"good", signedAuth(t), ""},
		{"version is not in the schema", signedAuth(t, Member{"version", "AuthorizationV1"}), "$.version ADDITIONAL"},
		{"hash in uppercase", signedAuth(t, Member{"intent_hash", testHash('A')}), "$.intent_hash FORMAT"},
		{"nothing", NewObject(), strings.TrimPrefix(strings.Repeat("|$ REQUIRED", 12), "|")},
		{"times and nested signature", set(nestedAuth(t), Member{"expiry", Int(-1)}, Member{"expires_at", 0.5}),
			"$.expires_at TYPE|$.expiry TYPE|$.signature TYPE"},
	} {
		var got []string
		for _, i := range CheckAuthorization(row.auth) {
			got = append(got, i.Path+" "+i.Code)
		}
		if s := strings.Join(got, "|"); s != row.want {
			t.Errorf("%s: got %s, want %s", row.name, s, row.want)
		}
	}
}
