package gate_test

import (
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// routedPolicy has an upstream that no model goes to, and one that this tenant
// may not use.
const routedPolicy = `generation: 1
upstreams:
  - {name: sim, base_url: "http://127.0.0.1:1/v1", provider: openai, cap_field: max_completion_tokens}
  - {name: spare, base_url: "http://127.0.0.1:2/v1", provider: openai, cap_field: max_completion_tokens}
  - {name: idle, base_url: "http://127.0.0.1:3/v1", provider: openai, cap_field: max_completion_tokens}
models:
  - {match: "toy", upstreams: [sim, spare], price: {input_usd_per_million: "0.001", output_usd_per_million: "0.002"}}
tenants:
  - name: acme
    upstreams: [sim, idle]
    keys: [{id: acme-1, sha256: "0000000000000000000000000000000000000000000000000000000000000001"}]
    budgets: [{name: all, window: forever, limit_usd: "1"}]
`

// TestReplayKnowsWhereRequestsMayGo: an upstream is one provider, so leave for
// another upstream than the policy's is leave for another provider.
func TestReplayKnowsWhereRequestsMayGo(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(routedPolicy))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, daily(1000))
	if w.rules, err = gate.NewRules(p); err != nil {
		t.Fatal(err)
	}
	w.begin(w.call(10, 10)).End(used(10, 10))
	w.must(w.upkeep().Sweep(t.Context(), "acme"))
	w.mustReplay(t, w.rules)
	for _, upstream := range []string{"spare", "idle", "nowhere"} {
		dir := retell(t, alter(leave("chat/completions"), func(d *audit.Decision) { d.Facts.Upstream = upstream })(t, spoken(w.receipts())))
		mustBeSound(t, dir)
		got := replayDirs(t, []*gate.Rules{w.rules}, dir).Findings
		if len(got) == 0 || got[0].Fault != gate.WrongAllow {
			t.Errorf("sent to %s: found %v", upstream, got)
		}
	}
}

// TestReplayKnowsWhyARequestMayGoNowhere: whether the tenant's list of upstreams
// denied it, or the policy has none.
func TestReplayKnowsWhyARequestMayGoNowhere(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(routedPolicy))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, daily(1000))
	if w.rules, err = gate.NewRules(p); err != nil {
		t.Fatal(err)
	}
	w.begin(w.call(10, 10)).End(used(10, 10))
	w.must(w.upkeep().Sweep(t.Context(), "acme"))
	for upstream, why := range map[string]call.Reason{"spare": policy.UpstreamNotAllowed, "idle": policy.NoRoute} {
		bid := w.call(10, 10)
		bid.Facts.Upstream = upstream
		w.gate.Refuse(t.Context(), bid, p.Unrouted(w.key().Tenant, &bid.Facts))
		last := spoken(w.receipts())
		if told := last[len(last)-1].Body.(audit.Decision); len(told.Reasons) != 1 || told.Reasons[0] != string(why) {
			t.Errorf("for %s: %v, want %s", upstream, told.Reasons, why)
		}
	}
	w.mustReplay(t, w.rules)
	swapped := retell(t, alter(deniedFor(policy.UpstreamNotAllowed), func(d *audit.Decision) { d.Reasons = []string{string(policy.NoRoute)} })(t, spoken(w.receipts())))
	if got := replayDirs(t, []*gate.Rules{w.rules}, swapped).Findings; len(got) == 0 || got[0].Fault != gate.WrongDenial {
		t.Errorf("with the other reason: found %v", got)
	}
}
