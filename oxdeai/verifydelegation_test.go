package oxdeai

import (
	"math/big"
	"strings"
	"testing"
)

// TestDelegationWorkedExample signs the example of the protocol with the public test key.
func TestDelegationWorkedExample(t *testing.T) {
	t.Parallel()
	key, err := ParsePrivateKey("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBx0hBPi6cIYPo/JZbavNXDDLlfV1vj+IyS+R4oq2Zvx\n-----END PRIVATE KEY-----")
	if err != nil {
		t.Fatal(err)
	}
	parent := NewObject(
		Member{"auth_id", testHash('f')}, Member{"issuer", "oxdeai.policy-engine"}, Member{"audience", "parent-agent"},
		Member{"intent_hash", testHash('a')}, Member{"state_hash", testHash('b')}, Member{"policy_id", testPolicyID},
		Member{"decision", "ALLOW"}, Member{"issued_at", Int(1000000)}, Member{"expiry", Int(1003000)}, Member{"kid", "2026-01"},
		Member{"alg", AlgEd25519},
		Member{"signature", "J4dE0PDdlUEYQWD8TqPxNM6PeroJx4ZpW5MrfLke/8bzFbX7FNRTADSfI4O/vY47BqyNXGw2srOk2hab57bLAA=="},
	)
	d, err := CreateDelegation(parent, DelegationRequest{
		ID: "d1d1d1d1-0000-0000-0000-c0nf0rm4nce", Delegatee: "child-agent", KID: "2026-01",
		Scope: Scope{Tools: []string{"provision_gpu"}}, IssuedAt: 1000000, Expiry: 1002000,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	const want = "wMxxXxCUu1my+MiL3hjT6HlGfemDGRwzeJvOlrSMqtBgkpQ4Sm0WcghPnURpJrwb/kV6bGyIeiAVGQAdD/yfAg=="
	if got := textMember(d, "signature"); got != want {
		t.Errorf("got %s for %s", got, mustCanonical(t, d))
	}
}

func TestVerifyDelegationDemands(t *testing.T) {
	t.Parallel()
	d, parent, trust := testChain(t, DelegationRequest{ID: "d-1", Scope: Scope{Tools: []string{"pay"}, MaxAmount: big.NewInt(1000)}})
	wide, wideParent, _ := testChain(t, DelegationRequest{ID: "d-2", Scope: Scope{Tools: []string{"pay", "wipe"}, MaxAmount: big.NewInt(1001)}})
	foreign, foreignParent, _ := testChain(t, DelegationRequest{ID: "d-3", Issuer: "somebody"})
	trustForeign := DelegationOptions{Trust: Trust{KeySets: []KeySet{{Issuer: "somebody", Keys: trust.KeySets[1].Keys}}}}
	acceptForeign := trustForeign
	acceptForeign.AcceptForeignIssuer = true
	closed := DelegationOptions{Trust: trust, ExpectedDelegatee: "child", ExpectedPolicyID: testPolicyID}
	for _, row := range []struct {
		name      string
		d, parent *Object
		now       int64
		opts      DelegationOptions
		codes     string
	}{
		{"good", d, parent, testNow, closed, ""},
		{"nobody is trusted", d, parent, testNow, DelegationOptions{}, "DELEGATION_TRUST_MISSING"},
		{"nobody is trusted, unverified accepted", d, parent, testNow, DelegationOptions{AcceptUnverifiedSignature: true}, ""},
		{"only the parent's issuer is trusted", d, parent, testNow, DelegationOptions{Trust: testTrust(t)}, "DELEGATION_KID_UNKNOWN"},
		{"expired this second", d, parent, 1730000050, closed, "DELEGATION_EXPIRED"},
		{"parent expired", d, parent, 1730000060, closed, "DELEGATION_PARENT_EXPIRED"},
		{"parent of other content", d, set(parent, Member{"zz", true}), testNow, closed, "DELEGATION_PARENT_HASH_MISMATCH"},
		{"parent without a hash", d, set(parent, Member{"zz", 0.5}), testNow, closed, "DELEGATION_PARENT_HASH_MISMATCH"},
		{"parent is a delegation", d, set(parent, Member{"delegation_id", nil}), testNow, closed, "DELEGATION_MULTIHOP_DENIED"},
		{"scope beyond the parent's own", wide, wideParent, testNow, closed, "DELEGATION_SCOPE_VIOLATION,DELEGATION_SCOPE_VIOLATION"},
		{"used", d, parent, testNow, DelegationOptions{Trust: trust, Consumed: func(string) bool { return true }}, "DELEGATION_REPLAY"},
		{"another delegatee", d, parent, testNow, DelegationOptions{Trust: trust, ExpectedDelegatee: "x"}, "DELEGATION_AUDIENCE_MISMATCH"},
		{"another policy", d, parent, testNow, DelegationOptions{Trust: trust, ExpectedPolicyID: "x"}, "DELEGATION_POLICY_MISMATCH"},
		{"changed", set(d, Member{"scope", NewObject()}), parent, testNow, closed, "DELEGATION_SIGNATURE_INVALID"},
		{"one more member", set(d, Member{"zz", nil}), parent, testNow, closed, "DELEGATION_SIGNATURE_INVALID"},
		{"signed by somebody else than the delegator", foreign, foreignParent, testNow, trustForeign, "DELEGATION_DELEGATOR_MISMATCH"},
		{"signed by somebody else, accepted", foreign, foreignParent, testNow, acceptForeign, ""},
		{"other algorithm", set(d, Member{"alg", AlgHMAC}), parent, testNow, closed, "DELEGATION_ALG_UNSUPPORTED"},
		{"lives longer than its parent", set(d, Member{"expiry", Int(1730000061)}), parent, testNow, closed, "DELEGATION_EXPIRY_EXCEEDS_PARENT"},
		{"of somebody else, for another policy", set(d, Member{"delegator", "x"}, Member{"policy_id", "y"}), parent, testNow, closed,
			"DELEGATION_DELEGATOR_MISMATCH,DELEGATION_POLICY_ID_MISMATCH"},
		{"nil", nil, nil, testNow, DelegationOptions{Trust: trust}, strings.TrimPrefix(strings.Repeat(",DELEGATION_MISSING_FIELD", 12), ",")},
	} {
		if r := VerifyDelegationChain(row.d, row.parent, row.now, row.opts); r.Reasons() != row.codes || r.OK() != (row.codes == "") {
			t.Errorf("%s: got %s %q, want %q", row.name, r.Status, r.Reasons(), row.codes)
		}
	}
}

func TestScopeExcess(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, child, parent, want string }{
		{"nothing", `{}`, `{}`, ""},
		{"a side that lacks a bound", `{"tools":["a"],"max_depth":9}`, `{"max_actions":1}`, ""},
		{"equal", `{"tools":["a"],"max_amount":"5","max_depth":0}`, `{"tools":["b","a"],"max_amount":5,"max_depth":0}`, ""},
		{"all beyond", `{"tools":["c","a","b"],"max_amount":"500","max_actions":2,"max_depth":1}`,
			`{"tools":["a"],"max_amount":"300","max_actions":1,"max_depth":0}`,
			"scope.tools contains tools not in parent: c, b|scope.max_amount 500 exceeds parent max_amount 300|" +
				"scope.max_actions 2 exceeds parent max_actions 1|scope.max_depth 1 exceeds parent max_depth 0"},
		{"beyond 64 bits", `{"max_amount":"60000000000000000000000"}`, `{"max_amount":"36"}`,
			"scope.max_amount 60000000000000000000000 exceeds parent max_amount 36"},
		{"no object", `[]`, `{}`, "scope must be an object"},
		{"no list of names", `{"tools":[1]}`, `{"tools":["a"]}`, "scope.tools must be a list of names"},
		{"no number", `{"max_amount":"many"}`, `{"max_amount":"1"}`, "scope.max_amount must be an integer"},
		{"a fraction", `{"max_actions":0.5}`, `{"max_actions":1}`, "scope.max_actions must be an integer"},
		{"no number in the parent", `{"max_depth":1}`, `{"max_depth":null}`, "scope.max_depth must be an integer"},
		{"names of every object", `{"tools":["constructor"]}`, `{"tools":[]}`, "scope.tools contains tools not in parent: constructor"},
	} {
		got := strings.Join(scopeExcess(mustParse(t, []byte(row.child)), mustObject(t, []byte(row.parent))), "|")
		if got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestCreateDelegationDefaults(t *testing.T) {
	t.Parallel()
	d, _, _ := testChain(t, DelegationRequest{})
	other, _, _ := testChain(t, DelegationRequest{})
	if a, b := textMember(d, "delegation_id"), textMember(other, "delegation_id"); len(a) != 36 || a == b {
		t.Errorf("ids %q and %q", a, b)
	}
	for name, want := range map[string]string{"issuer": testAudience, "delegator": testAudience, "audience": "child", "policy_id": testPolicyID} {
		if got := textMember(d, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	three := int64(3)
	scope := Scope{Tools: []string{}, MaxAmount: big.NewInt(7), MaxActions: &three, MaxDepth: &three}
	if got := string(mustCanonical(t, scope.Object())); got != `{"max_actions":3,"max_amount":"7","max_depth":3,"tools":[]}` {
		t.Errorf("scope %s", got)
	}
}

func TestCreateDelegationRefuses(t *testing.T) {
	t.Parallel()
	good := DelegationRequest{Delegatee: "child", KID: testKID, IssuedAt: 1730000000, Expiry: 1730000060}
	change := func(f func(*DelegationRequest)) DelegationRequest { r := good; f(&r); return r }
	parent := signedAuth(t)
	for _, row := range []struct {
		name   string
		parent *Object
		r      DelegationRequest
	}{
		{"no parent", nil, good},
		{"parent is a delegation", set(parent, Member{"delegation_id", "d"}), good},
		{"parent without audience", parent.Without("audience"), good},
		{"parent without expiry", parent.Without("expiry"), good},
		{"parent without canonical form", set(parent, Member{"zz", 0.5}), good},
		{"one second longer than its parent", parent, change(func(r *DelegationRequest) { r.Expiry++ })},
		{"no delegatee", parent, change(func(r *DelegationRequest) { r.Delegatee = "" })},
		{"no kid", parent, change(func(r *DelegationRequest) { r.KID = "" })},
	} {
		if d, err := CreateDelegation(row.parent, row.r, testKey(2)); err == nil {
			t.Errorf("%s: made %s", row.name, mustCanonical(t, d))
		}
	}
	if _, err := CreateDelegation(parent, good, nil); err == nil {
		t.Error("made without a key")
	}
}
