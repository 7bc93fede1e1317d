package oxdeai

import (
	"errors"
	"math/big"
	"testing"
)

// ledger is a ConsumeFunc that remembers what was asked.
type ledger struct {
	ConsumedIDs
	asked []string
	err   error
}

func (l *ledger) consume(id string, expiry, now int64) (bool, error) {
	l.asked = append(l.asked, id)
	if l.err != nil {
		return false, l.err
	}
	return l.Consume(id, expiry, now)
}

func testPEP(tb testing.TB, trust Trust, l *ledger) *PEP {
	tb.Helper()
	p, err := NewPEP(PEPConfig{Audience: testAudience, Issuer: testIssuer, Trust: trust, Consume: l.consume})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// delegatedPEP trusts the first key set to authorize and the second to delegate.
func delegatedPEP(tb testing.TB, trust Trust, l *ledger) *PEP {
	tb.Helper()
	p, err := NewPEP(PEPConfig{
		Audience: "tool server", Trust: Trust{KeySets: trust.KeySets[:1]}, Delegators: Trust{KeySets: trust.KeySets[1:]}, Consume: l.consume,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestNewPEPRefuses(t *testing.T) {
	t.Parallel()
	consume := new(ConsumedIDs).Consume
	for name, c := range map[string]PEPConfig{
		"no audience": {Trust: testTrust(t), Consume: consume},
		"no trust":    {Audience: "a", Consume: consume},
		"no record":   {Audience: "a", Trust: testTrust(t)},
	} {
		if p, err := NewPEP(c); err == nil || p != nil {
			t.Errorf("%s: made", name)
		}
	}
}

// boundAuth is an authorization for the action {"type":"X"} on the state {"s":1}.
func boundAuth(tb testing.TB, changes ...Member) *Object {
	tb.Helper()
	intent, err := Hash(NewObject(Member{"type", "X"}))
	if err != nil {
		tb.Fatal(err)
	}
	state, err := Hash(NewObject(Member{"s", Int(1)}))
	if err != nil {
		tb.Fatal(err)
	}
	return signedAuth(tb, append([]Member{{"intent_hash", intent}, {"state_hash", state}}, changes...)...)
}

func TestPEPExecute(t *testing.T) {
	t.Parallel()
	good := string(mustCanonical(t, boundAuth(t)))
	expired := string(mustCanonical(t, boundAuth(t, Member{"expiry", Int(testNow)})))
	body := func(action, auth, state string) string {
		return `{"action":` + action + `,"authorization":` + auth + `,"state_snapshot":` + state + `}`
	}
	for _, row := range []struct {
		name, body, reason string
		asked              int // how often an id was to be used up
	}{
		{"good", body(`{"type":"X"}`, good, `{"s":1}`), "", 1},
		{"no JSON", `{`, ReasonInvalidJSON, 0},
		{"a name twice", `{"action":1,"action":2}`, ReasonInvalidJSON, 0},
		{"no object", `[]`, ReasonInvalidRequest, 0},
		{"no action", `{"authorization":` + good + `}`, ReasonInvalidRequest, 0},
		{"action is null", body(`null`, good, `{"s":1}`), ReasonInvalidRequest, 0},
		{"no authorization", `{"action":{}}`, ReasonInvalidRequest, 0},
		{"authorization is text", body(`{}`, `"x"`, `{}`), ReasonInvalidRequest, 0},
		{"action with a fraction", body(`{"a":0.5}`, good, `{"s":1}`), "ACTION_CANONICALIZATION_FAILED:FLOAT_NOT_ALLOWED", 0},
		{"action with a large number", body(`{"a":1e300}`, good, `{"s":1}`), "ACTION_CANONICALIZATION_FAILED:UNSAFE_INTEGER_NUMBER", 0},
		{"another action", body(`{"type":"Y"}`, good, `{"s":1}`), ReasonIntentHashMismatch, 0},
		{"another state", body(`{"type":"X"}`, good, `{"s":2}`), ReasonStateHashMismatch, 0},
		{"no state", `{"action":{"type":"X"},"authorization":` + good + `}`, ReasonStateHashMissing, 0},
		{"state is null", body(`{"type":"X"}`, good, `null`), ReasonStateHashMissing, 0},
		{"state without canonical form", body(`{"type":"X"}`, good, `{"s":0.5}`), ReasonStateHashMissing, 0},
		{"expired", body(`{"type":"X"}`, expired, `{"s":1}`), "AUTH_EXPIRED", 0},
		{"empty authorization", body(`{"type":"X"}`, `{}`, `{"s":1}`),
			"AUTH_AUDIENCE_MISMATCH,AUTH_DECISION_INVALID,AUTH_ISSUER_MISMATCH,AUTH_MISSING_FIELD,AUTH_MISSING_FIELD,AUTH_MISSING_FIELD," +
				"AUTH_MISSING_FIELD,AUTH_MISSING_FIELD,AUTH_MISSING_FIELD,AUTH_MISSING_FIELD,AUTH_MISSING_FIELD,AUTH_MISSING_FIELD,AUTH_MISSING_FIELD," +
				"AUTH_MISSING_FIELD", 0},
	} {
		var l ledger
		v := testPEP(t, testTrust(t), &l).Execute([]byte(row.body), testNow)
		if v.Reason != row.reason || v.Allowed != (row.reason == "") || len(l.asked) != row.asked {
			t.Errorf("%s: got %+v, asked %v", row.name, v, l.asked)
		}
	}
}

func TestPEPUsesAnAuthorizationOnce(t *testing.T) {
	t.Parallel()
	var l ledger
	p, auth := testPEP(t, testTrust(t), &l), signedAuth(t)
	binding := Binding{IntentHash: testHash('a'), StateHash: testHash('b')}
	if v := p.Authorize(auth, binding, testNow); !v.Allowed || v.AuthID != testHash('f') || v.IntentHash != testHash('a') {
		t.Errorf("first: %+v", v)
	}
	if v := p.Authorize(auth, binding, testNow); v.Allowed || v.Reason != "AUTH_REPLAY" {
		t.Errorf("second: %+v", v)
	}
	l.err = errors.New("down")
	if v := p.Authorize(signedAuth(t, Member{"auth_id", "x"}), binding, testNow); v.Allowed || v.Reason != ReasonReplayUnavailable {
		t.Errorf("without its record: %+v", v)
	}
}

func TestPEPNeedsBothHashes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		b      Binding
		reason string
	}{
		{Binding{}, ReasonIntentHashMismatch},
		{Binding{StateHash: testHash('b')}, ReasonIntentHashMismatch},
		{Binding{IntentHash: testHash('a')}, ReasonStateHashMissing},
		{Binding{IntentHash: testHash('a'), StateHash: testHash('a')}, ReasonStateHashMismatch},
	} {
		var l ledger
		if v := testPEP(t, testTrust(t), &l).Authorize(signedAuth(t), row.b, testNow); v.Allowed || v.Reason != row.reason || l.asked != nil {
			t.Errorf("%+v: got %+v, asked %v", row.b, v, l.asked)
		}
	}
}

func TestPEPAuthorizeDelegated(t *testing.T) {
	t.Parallel()
	two := int64(2)
	d, parent, trust := testChain(t, DelegationRequest{ID: "d-1", Scope: Scope{Tools: []string{"pay"}, MaxAmount: big.NewInt(500), MaxDepth: &two}})
	open, openParent, _ := testChain(t, DelegationRequest{ID: "d-2"})
	good := DelegatedCall{Delegatee: "child", Tool: "pay", Amount: big.NewInt(500), Depth: 2}
	change := func(f func(*DelegatedCall)) DelegatedCall { c := good; f(&c); return c }
	for _, row := range []struct {
		name      string
		d, parent *Object
		call      DelegatedCall
		reason    string
		asked     int
	}{
		{"good", d, parent, good, "", 2},
		{"nobody", d, parent, DelegatedCall{Tool: "pay", Amount: big.NewInt(1)}, ReasonDelegateeNotNamed, 0},
		{"somebody else", d, parent, change(func(c *DelegatedCall) { c.Delegatee = "x" }), "DELEGATION_AUDIENCE_MISMATCH", 0},
		{"a tool of the parent only", d, parent, change(func(c *DelegatedCall) { c.Tool = "refund" }), ReasonScopeExceeded, 0},
		{"one unit too much", d, parent, change(func(c *DelegatedCall) { c.Amount = big.NewInt(501) }), ReasonScopeExceeded, 0},
		{"a negative amount", d, parent, change(func(c *DelegatedCall) { c.Amount = big.NewInt(-1) }), ReasonScopeExceeded, 0},
		{"no amount", d, parent, change(func(c *DelegatedCall) { c.Amount = nil }), ReasonScopeExceeded, 0},
		{"one level too deep", d, parent, change(func(c *DelegatedCall) { c.Depth = 3 }), ReasonScopeExceeded, 0},
		{"no scope of its own: the parent's holds, within", open, openParent, change(func(c *DelegatedCall) { c.Amount = big.NewInt(1000) }), "", 2},
		{"no scope of its own: the parent's holds, beyond", open, openParent, change(func(c *DelegatedCall) { c.Amount = big.NewInt(1001) }), ReasonScopeExceeded, 0},
		{"parent not signed", d, set(parent, Member{"zz", true}), good, "AUTH_SIGNATURE_INVALID", 0},
		{"delegation of another parent", open, set(signedAuth(t)), good, "DELEGATION_PARENT_HASH_MISMATCH", 0},
		{"parent made out to somebody else", d, signedAuth(t, Member{"audience", "x"}), good, "AUTH_AUDIENCE_MISMATCH", 0},
		{"parent authorized by a delegator", d, set(parent, Member{"issuer", testAudience}), good, "AUTH_KID_UNKNOWN", 0},
		{"delegation without delegator", d.Without("delegator"), parent, good, ReasonInvalidRequest, 0},
		{"no delegation", nil, parent, good, ReasonInvalidRequest, 0},
	} {
		var l ledger
		v := delegatedPEP(t, trust, &l).AuthorizeDelegated(row.d, row.parent, row.call, testNow)
		if v.Reason != row.reason || v.Allowed != (row.reason == "") || len(l.asked) != row.asked {
			t.Errorf("%s: got %+v, asked %v", row.name, v, l.asked)
		}
	}
}

func TestPEPWithoutDelegatorsDeniesDelegation(t *testing.T) {
	t.Parallel()
	d, parent, trust := testChain(t, DelegationRequest{ID: "d-1"})
	call := DelegatedCall{Delegatee: "child", Tool: "pay", Amount: big.NewInt(1)}
	if v := testPEP(t, trust, new(ledger)).AuthorizeDelegated(d, parent, call, testNow); v.Reason != "DELEGATION_TRUST_MISSING" {
		t.Errorf("got %+v", v)
	}
}

func TestPEPDelegationIsUsedOnce(t *testing.T) {
	t.Parallel()
	d, parent, trust := testChain(t, DelegationRequest{ID: "d-1"})
	other, otherParent, _ := testChain(t, DelegationRequest{ID: "d-2"})
	call := DelegatedCall{Delegatee: "child", Tool: "pay", Amount: big.NewInt(1)}
	var l ledger
	p := delegatedPEP(t, trust, &l)
	if v := p.AuthorizeDelegated(d, parent, call, testNow); !v.Allowed {
		t.Errorf("first: %+v", v)
	}
	if v := p.AuthorizeDelegated(d, parent, call, testNow); v.Reason != "DELEGATION_REPLAY" {
		t.Errorf("same delegation: %+v", v)
	}
	if v := p.AuthorizeDelegated(other, otherParent, call, testNow); v.Reason != "AUTH_REPLAY" {
		t.Errorf("other delegation of the same parent: %+v", v)
	}
}

func TestPEPReply(t *testing.T) {
	t.Parallel()
	allowed := Verdict{Allowed: true, AuthID: "id", IntentHash: "h"}
	for _, row := range []struct {
		name    string
		verdict Verdict
		outcome Upstream
		status  int
		json    string
	}{
		{"done", allowed, UpstreamDone, 200, `{"ok":true,"decision":"ALLOW","executed":true,"auth_id":"id","intent_hash":"h","upstream_result":{"r":1}}`},
		{"failed", allowed, UpstreamFailed, 502, `{"ok":false,"decision":"DENY","executed":false,"reason":"UPSTREAM_ERROR"}`},
		{"no answer", allowed, UpstreamTimedOut, 504, `{"ok":false,"decision":"DENY","executed":false,"reason":"UPSTREAM_TIMEOUT"}`},
		{"own fault", allowed, UpstreamFault, 500, `{"ok":false,"decision":"DENY","executed":false,"reason":"GATEWAY_ERROR"}`},
		{"unknown outcome", allowed, Upstream(9), 500, `{"ok":false,"decision":"DENY","executed":false,"reason":"GATEWAY_ERROR"}`},
		{"denied, whatever the upstream says", Verdict{Reason: "AUTH_EXPIRED"}, UpstreamDone, 403, `{"ok":false,"decision":"DENY","executed":false,"reason":"AUTH_EXPIRED"}`},
	} {
		r := row.verdict.Reply(row.outcome)
		if got := string(r.AppendJSON(nil, []byte(`{"r":1}`))); r.Status != row.status || got != row.json {
			t.Errorf("%s: got %d %s", row.name, r.Status, got)
		}
	}
}
