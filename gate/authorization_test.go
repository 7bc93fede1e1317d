package gate_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

// TestAuthorizationsFollowFromReceipts: every member of an authorization, for
// each kind of decision.
func TestAuthorizationsFollowFromReceipts(t *testing.T) {
	authority, _ := newAuthority(t)
	plain := audit.Decision{
		At: 1_700_000_000_999, Verdict: audit.Allow, Lease: "L", Expires: 1_700_000_030_999, Epoch: "e", Event: 5, Policy: "p",
		Facts: call.Facts{Tenant: "acme", Key: "k", Endpoint: "chat/completions", Upstream: "sim", Model: "toy", Depth: 2, Cost: 7},
	}
	nonced, fallback, payment, provision, extension := plain, plain, plain, plain, plain
	nonced.Facts.Nonce, nonced.Facts.Attempt = "00000000000000000000000000000001", 3
	fallback.Facts.Nonce, fallback.Facts.Counted = "00000000000000000000000000000001", true
	payment.Facts = call.Facts{Tenant: "acme", Key: "k", Endpoint: "actions/payment", Target: "aa", Tool: "bb", Cost: 7}
	provision.Facts = call.Facts{Tenant: "acme", Key: "k", Endpoint: "actions/provision", Cost: 7}
	extension.Facts = call.Facts{Tenant: "acme", Key: "k", Endpoint: "actions/extend", Cost: 7}
	extension.Existing = true
	bringing := func(amount int64, results ...string) audit.Decision {
		d := plain
		for _, text := range results {
			id, tool, _ := strings.Cut(text, " ")
			d.Facts.ToolResults = append(d.Facts.ToolResults, call.ToolResult{ID: call.Name(id), Tool: tool})
		}
		d.Claims = []audit.Claim{{Key: "usd/day", Amount: 7}, {Key: "tool_calls/forever", Amount: amount, Marks: "aa bb"}}
		return d
	}
	known, searches := bringing(0, "aa search", "bb search"), bringing(1, "aa search", "bb search")
	several, unnamed := bringing(2, "aa search", "bb fetch", "cc search"), bringing(1, "aa")
	denial := plain
	denial.Verdict = audit.Deny

	intent := func(members string) string {
		v, err := oxdeai.Parse([]byte(members))
		if err != nil {
			t.Fatal(err)
		}
		in, err := oxdeai.NewIntent(v.(*oxdeai.Object))
		if err != nil {
			t.Fatal(err)
		}
		hash, err := in.Hash()
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	const same = `"intent_id":"L","agent_id":"acme/k","type":"EXECUTE","amount":"7","asset":"nano-USD","timestamp":1700000000,"metadata_hash":"`
	of := func(d audit.Decision, rest string) string {
		return intent("{" + same + audit.FactsHash(d).String() + `",` + rest + "}")
	}
	for name, c := range map[string]struct {
		decision     audit.Decision
		id, audience string
		expiry       int64
		intent       string
	}{
		"a call":                     {plain, "r-1", "sim", 1_700_000_060, of(plain, `"action_type":"PURCHASE","target":"sim/toy","nonce":"5","depth":2`)},
		"a call with a nonce":        {nonced, "r-1", "sim", 1_700_000_060, of(nonced, `"action_type":"PURCHASE","target":"sim/toy","nonce":"18446744073709551619","depth":2`)},
		"a fallback spends no nonce": {fallback, "r-1", "sim", 1_700_000_060, of(fallback, `"action_type":"PURCHASE","target":"sim/toy","nonce":"5","depth":2`)},
		"a tool call":                {searches, "r-1", "sim", 1_700_000_060, of(searches, `"action_type":"PURCHASE","target":"sim/toy","nonce":"5","depth":2,"tool":"search","tool_call":true`)},
		"calls of several tools":     {several, "r-1", "sim", 1_700_000_060, of(several, `"action_type":"PURCHASE","target":"sim/toy","nonce":"5","depth":2,"tool_call":true`)},
		"a call without a tool":      {unnamed, "r-1", "sim", 1_700_000_060, of(unnamed, `"action_type":"PURCHASE","target":"sim/toy","nonce":"5","depth":2,"tool_call":true`)},
		"a tool call counted before": {known, "r-1", "sim", 1_700_000_060, of(known, `"action_type":"PURCHASE","target":"sim/toy","nonce":"5","depth":2`)},
		"a payment":                  {payment, "L", "actions/payment", 1_700_000_030, of(payment, `"action_type":"PAYMENT","target":"actions/payment/aa","nonce":"5","depth":0,"tool":"bb"`)},
		"a provision":                {provision, "L", "actions/provision", 1_700_000_030, of(provision, `"action_type":"PROVISION","target":"actions/provision/","nonce":"5","depth":0`)},
	} {
		auth, err := authority.Authorize("r-1", c.decision)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for member, want := range map[string]string{
			"version": "AuthorizationV1", "auth_id": c.id, "issuer": "aegis-proxy", "audience": c.audience, "intent_hash": c.intent,
			"state_hash": audit.ObservedHash(c.decision).String(), "policy_id": "p", "decision": "ALLOW",
		} {
			if got, _ := auth.Text(member); got != want {
				t.Errorf("%s: %s is %q, want %q", name, member, got, want)
			}
		}
		if got, _ := auth.Get("expiry"); got != oxdeai.Int(c.expiry) {
			t.Errorf("%s: expiry %v, want %d", name, got, c.expiry)
		}
	}
	for name, d := range map[string]audit.Decision{"a denial": denial, "an extension": extension} {
		if _, err := authority.Authorize("r-1", d); !errors.Is(err, gate.ErrNoLeave) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGrantGivesItsAuthorization: Go callers ask the grant, and get what the
// receipt gives; without an Authority there is none.
func TestGrantGivesItsAuthorization(t *testing.T) {
	w := newWorld(t, daily(1000))
	if _, err := w.begin(w.call(1, 1)).Authorization(); !errors.Is(err, audit.ErrSecretKey) {
		t.Errorf("without an Authority: %v", err)
	}
	authority, _ := newAuthority(t)
	w.gate = gate.New(gate.Config{Ledger: w.real, Log: w.audit, Outbox: w.outbox, Authority: authority})
	grant := w.begin(w.call(1, 1))
	defer grant.End(gate.Outcome{})
	got, err := grant.Authorization()
	if err != nil {
		t.Fatal(err)
	}
	list := bodies[audit.Decision](w.receipts())
	again, err := authority.Authorize(grant.Receipt, list[len(list)-1])
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := oxdeai.Canonical(again); string(got) != string(want) {
		t.Errorf("got %s, its receipt gives %s", got, want)
	}
}

// BenchmarkAuthorize is what an authorization costs where somebody asks for it,
// and what of that is its signature.
func BenchmarkAuthorize(b *testing.B) {
	authority, _ := newAuthority(b)
	w := newWorld(b, daily(1000))
	w.begin(w.call(1, 1)).End(gate.Outcome{})
	var allowed audit.Decision
	for _, d := range bodies[audit.Decision](w.receipts()) {
		if d.Verdict == audit.Allow {
			allowed = d
		}
	}
	made := func() (*oxdeai.Object, error) { return authority.Authorize("receipt-1", allowed) }
	b.Run("authorization", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			auth, err := made()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := oxdeai.Canonical(auth); err != nil {
				b.Fatal(err)
			}
		}
	})
	auth, err := made()
	if err != nil {
		b.Fatal(err)
	}
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	b.Run("signature", func(b *testing.B) {
		for b.Loop() {
			if _, err := oxdeai.SignEd25519(private, oxdeai.DomainAuthorization, auth); err != nil {
				b.Fatal(err)
			}
		}
	})
}
