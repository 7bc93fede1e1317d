package oxdeai

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// TestAForgedExpiryDoesNotProlong: the engine signature covers expires_at only, so a holder can write any expiry.
func TestAForgedExpiryDoesNotProlong(t *testing.T) {
	t.Parallel()
	e := exampleEngine(t)
	s := exampleState()
	out := e.EvaluatePure(exampleIntent(), s, FailFast)
	auth := set(out.Authorization.Object(), Member{"expiry", Int(out.Authorization.Expiry + 1000)})
	for _, row := range []struct {
		after int64 // seconds behind the true expiry
		want  Reason
	}{{0, ""}, {1, AuthExpired}, {999, AuthExpired}, {1001, AuthExpired}} {
		now := out.Authorization.Expiry + row.after
		if got, err := e.CheckIssued(exampleIntent(), auth, s, &now); got != row.want || err != nil {
			t.Errorf("%d s late: %q (%v), want %q", row.after, got, err, row.want)
		}
	}
}

// TestSecretsAreNotPrinted: no verb and no log shows the secret or the private key.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	pem := privatePEM(t, testKey(1))
	o := exampleOptions()
	o.AuthorizationSigningAlg, o.AuthorizationPrivateKeyPEM = AlgEd25519, pem
	e := engineOf(t, o)
	demands := AuthorizationOptions{LegacyHMACSecret: []byte(testSecret)}
	key := testKey(1)
	secrets := []string{testSecret, fmt.Sprintf("%x", testSecret), fmt.Sprint([]byte(testSecret))[1:20], pem[40:60], fmt.Sprint([]byte(key))[1:20]}
	for _, v := range []any{o, &o, e, demands, &demands} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		printed := log.String()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			printed += fmt.Sprintf(verb, v)
		}
		for i, secret := range secrets {
			if strings.Contains(strings.ToLower(printed), strings.ToLower(secret)) {
				t.Errorf("%T shows secret %d: %.300s", v, i, printed)
			}
		}
	}
}

// TestNothingGivenIsRefused: a missing object is refused like an empty one, without a panic.
func TestNothingGivenIsRefused(t *testing.T) {
	t.Parallel()
	e := exampleEngine(t)
	for name, refuses := range map[string]func() bool{
		"Import": func() bool { return e.Import(exampleState(), &Snapshot{PolicyID: e.PolicyID()}) != nil },
		"ModulesHash": func() bool {
			_, err := ModulesHash(&Snapshot{PolicyID: "p"})
			return err != nil
		},
		"CheckIntent":        func() bool { return len(CheckIntent(nil)) > 0 },
		"CheckAuthorization": func() bool { return len(CheckAuthorization(nil)) > 0 },
		"CheckEvent":         func() bool { return len(CheckEvent(nil)) > 0 },
		"ReadState":          func() bool { return ReadState((*Object)(nil)).Check() != nil },
		"StateHash": func() bool {
			_, err := e.StateHash(nil)
			return err != nil
		},
		"Export": func() bool {
			_, err := e.Export(nil)
			return err != nil
		},
		"ChainStep": func() bool {
			_, err := ChainStep(GenesisHash, nil)
			return err != nil
		},
		"NewIntent": func() bool {
			in, _ := NewIntent(nil)
			return e.EvaluatePure(in, exampleState(), FailFast).Decision == Deny
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Error("panic:", p)
				}
			}()
			if !refuses() {
				t.Error("not refused")
			}
		})
	}
}

// keeper is a state store that keeps the slices it gets.
type keeper struct{ saved Saved }

func (k *keeper) Save(s Saved) error         { k.saved = s; return nil }
func (k *keeper) Load() (Saved, bool, error) { return k.saved, true, nil }

// TestAStoreMayKeepWhatItGets: a later evaluation does not write into what the store got.
func TestAStoreMayKeepWhatItGets(t *testing.T) {
	t.Parallel()
	o := exampleOptions()
	var k keeper
	o.StateStore = &k
	e := engineOf(t, o)
	s := exampleState()
	s.released = map[string]map[string]bool{"agent-1": {testHash('a'): true}}
	if err := e.Commit(s); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(k.saved.Released)
	for range 100 {
		e.EvaluatePure(exampleIntent(), exampleState(), FailFast)
	}
	if !bytes.Equal(before, k.saved.Released) {
		t.Errorf("the store now holds %.80q", k.saved.Released)
	}
}

// TestReleasedBeyondTheLimitAreNotSaved: what could not be read back is not written.
func TestReleasedBeyondTheLimitAreNotSaved(t *testing.T) {
	t.Parallel()
	o := exampleOptions()
	o.StateStore = &keeper{}
	ids := map[string]bool{}
	for i := range MaxDocumentBytes/(1<<10) + 1 {
		ids[fmt.Sprintf("%01024d", i)] = true
	}
	s := exampleState()
	s.released = map[string]map[string]bool{"agent-1": ids}
	if err := engineOf(t, o).Commit(s); err == nil {
		t.Error("saved")
	}
}

// TestEventsAreCopies: what a caller does to an event changes neither the log nor its chain.
func TestEventsAreCopies(t *testing.T) {
	t.Parallel()
	log := NewAuditLog(nil)
	reasons := []Reason{BudgetExceeded}
	if err := log.Append(Event{Type: DecisionMade, Decision: Deny, Reasons: reasons}); err != nil {
		t.Fatal(err)
	}
	reasons[0] = NonceReplayed
	log.Events()[0].Reasons[0] = KillSwitchOn
	if err := log.Verify(); err != nil || !slices.Equal(log.Events()[0].Reasons, []Reason{BudgetExceeded}) {
		t.Errorf("the log holds %v (%v)", log.Events()[0].Reasons, err)
	}
}

// TestAParentScopeOfTheWrongTypeIsRefused: a bound that cannot be read is not left out.
func TestAParentScopeOfTheWrongTypeIsRefused(t *testing.T) {
	t.Parallel()
	for _, scope := range []Value{nil, "none", []Value{}, true} {
		parent := plainAuth(Member{"scope", scope})
		d, err := CreateDelegation(parent, DelegationRequest{Delegatee: "agent", KID: testKID, Expiry: 1730000050}, testKey(1))
		if err != nil {
			t.Fatal(err)
		}
		trust := Trust{KeySets: []KeySet{{Issuer: testAudience, Keys: testTrust(t).KeySets[0].Keys}}}
		if r := VerifyDelegationChain(d, parent, testNow, DelegationOptions{Trust: trust}); r.Reasons() != "DELEGATION_SCOPE_VIOLATION" {
			t.Errorf("parent scope %v: %+v", scope, r)
		}
	}
}

// TestAKeyThatWasReplacedVerifiesNothing: the text of a key counts, not what an older text held.
func TestAKeyThatWasReplacedVerifiesNothing(t *testing.T) {
	t.Parallel()
	sets, err := ParseKeySets([]byte(keySetText(t, testIssuer, "")))
	if err != nil {
		t.Fatal(err)
	}
	sets[0].Keys[0].PublicKey = publicPEM(t, testKey(9).Public())
	r := VerifyAuthorization(signedAuth(t), testNow, AuthorizationOptions{Trust: Trust{KeySets: sets}})
	if r.Reasons() != "AUTH_SIGNATURE_INVALID" {
		t.Errorf("got %+v", r)
	}
}

// TestIntentTextIsBounded: an agent's text enters the state, so it has a limit.
func TestIntentTextIsBounded(t *testing.T) {
	t.Parallel()
	text := func(n int) []byte {
		head := `{"agent_id":"a","tool":"`
		return []byte(head + strings.Repeat("x", n-len(head)-2) + `"}`)
	}
	if _, err := DecodeIntent(text(MaxArtifactBytes)); err != nil {
		t.Error(err)
	}
	if _, err := DecodeIntent(text(MaxArtifactBytes + 1)); err == nil {
		t.Error("a longer one was read")
	}
}

// TestADelegationWithoutScopeAllowsNothing: a delegation that bounds nothing would hand over every tool.
func TestADelegationWithoutScopeAllowsNothing(t *testing.T) {
	t.Parallel()
	parent := signedAuth(t, Member{"audience", "boss"})
	d, err := CreateDelegation(parent, DelegationRequest{Delegatee: "agent", KID: testKID, Expiry: 1730000050}, testKey(2))
	if err != nil {
		t.Fatal(err)
	}
	d = d.Without("scope").Without("signature")
	d = set(d, Member{"signature", mustSign(t, testKey(2), DomainDelegation, d)})
	trust := testTrust(t)
	boss := Key{KID: testKID, Alg: AlgEd25519, PublicKey: publicPEM(t, testKey(2).Public())}
	trust.KeySets = append(trust.KeySets, KeySet{Issuer: "boss", Keys: []Key{boss}})
	var l ledger
	v := delegatedPEP(t, trust, &l).AuthorizeDelegated(d, parent, DelegatedCall{Delegatee: "agent", Tool: "any"}, testNow)
	if v.Allowed || v.Reason != ReasonScopeExceeded || l.asked != nil {
		t.Errorf("got %+v, asked %v", v, l.asked)
	}
}

// TestManyToolsTakeLinearTime compares lists so long that comparing all pairs would take minutes.
func TestManyToolsTakeLinearTime(t *testing.T) {
	t.Parallel()
	const n = 200_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("tool-", i)
	}
	child := Scope{Tools: names}.Object()
	slices.Reverse(names)
	if m := scopeExcess(child, Scope{Tools: names}.Object()); m != nil {
		t.Errorf("%.80q", m)
	}
}

// TestImportDoesNotHealWhatItDoesNotReplace: a snapshot carries no released authorizations, so a state whose own cannot be
// read stays denied.
func TestImportDoesNotHealWhatItDoesNotReplace(t *testing.T) {
	t.Parallel()
	e := exampleEngine(t)
	snap, err := e.Export(exampleState())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Member{{"released_auths", "x"}, {"released_auths", nil}, {"policy_version", Int(1)}} {
		s := ReadState(set(mustObject(t, []byte(exampleStateJSON)), m))
		if err := e.Import(s, snap); err == nil || e.EvaluatePure(exampleIntent(), s, FailFast).Decision != Deny {
			t.Errorf("%s: imported (%v)", m.Name, err)
		}
	}
}

// TestStateErrorsAreTheSame: the error of a state with several faults does not depend on the order of a map.
func TestStateErrorsAreTheSame(t *testing.T) {
	t.Parallel()
	lists := NewObject(Member{"targets", 1.0}, Member{"assets", 1.0}, Member{"action_types", 1.0})
	o := set(mustObject(t, []byte(exampleStateJSON)), Member{"allowlists", lists})
	for range 50 {
		if err := ReadState(o).Check(); err == nil || !strings.HasSuffix(err.Error(), "allowlists.action_types") {
			t.Fatal(err)
		}
	}
}

// TestAnIDHasOneSpelling: the signature covers an id in NFC, where U+212A is the letter K. So a holder can spell an id in
// another way under the same signature, and a record of used ids would not know it.
func TestAnIDHasOneSpelling(t *testing.T) {
	t.Parallel()
	respelled := Member{"auth_id", "AUTH-\u212a1"}
	auth := signedAuth(t, Member{"auth_id", "AUTH-K1"})
	binding := Binding{IntentHash: testHash('a'), StateHash: testHash('b')}
	var l ledger
	p := testPEP(t, testTrust(t), &l)
	if v := p.Authorize(auth, binding, testNow); !v.Allowed {
		t.Fatalf("%+v", v)
	}
	if v := p.Authorize(set(auth, respelled), binding, testNow); v.Allowed || v.Reason != ReasonInvalidRequest {
		t.Errorf("the same authorization again: %+v", v)
	}
	opts := AuthorizationOptions{Trust: testTrust(t), Consumed: func(id string) bool { return id == "AUTH-K1" }}
	if r := VerifyAuthorization(set(auth, respelled), testNow, opts); r.Reasons() != "AUTH_REPLAY" {
		t.Errorf("authorization: %+v", r)
	}
	d, parent, trust := testChain(t, DelegationRequest{ID: "D-K1"})
	chain := DelegationOptions{Trust: trust, Consumed: func(id string) bool { return id == "D-K1" }}
	if r := VerifyDelegationChain(set(d, Member{"delegation_id", "D-\u212a1"}), parent, testNow, chain); r.Reasons() != "DELEGATION_REPLAY" {
		t.Errorf("delegation: %+v", r)
	}
}

// TestAPEPTakesOneSpellingOnly: the hash of an action is that of its NFC form, so an action in another spelling would run
// under the authorization of the one that was decided on, and a delegated tool under another name.
func TestAPEPTakesOneSpellingOnly(t *testing.T) {
	t.Parallel()
	decided := NewObject(Member{"target", "K"})
	hash, err := Hash(decided)
	if err != nil {
		t.Fatal(err)
	}
	auth := string(mustCanonical(t, boundAuth(t, Member{"intent_hash", hash})))
	for action, want := range map[string]string{
		`{"target":"K"}`:      "",
		`{"target":"\u212a"}`: "ACTION_CANONICALIZATION_FAILED:NOT_NFC",
		`{"\u212a":1,"K":2}`:  "ACTION_CANONICALIZATION_FAILED:DUPLICATE_KEY",
	} {
		body := `{"action":` + action + `,"authorization":` + auth + `,"state_snapshot":{"s":1}}`
		if v := testPEP(t, testTrust(t), new(ledger)).Execute([]byte(body), testNow); v.Reason != want {
			t.Errorf("%s: %+v, want %q", action, v, want)
		}
	}
	_, _, trust := testChain(t, DelegationRequest{})
	parent := nestedAuth(t)
	d, err := CreateDelegation(parent, DelegationRequest{Delegatee: "child", KID: testKID, Expiry: 1730000050, Scope: Scope{Tools: []string{"K"}}}, testKey(2))
	if err != nil {
		t.Fatal(err)
	}
	respelled := set(d, Member{"scope", Scope{Tools: []string{"\u212a"}}.Object()})
	call := DelegatedCall{Delegatee: "child", Tool: "\u212a"}
	if v := delegatedPEP(t, trust, new(ledger)).AuthorizeDelegated(respelled, parent, call, testNow); v.Allowed {
		t.Errorf("another tool: %+v", v)
	}
}
