package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	moderationPath = "/v1/moderations"
	moderate       = `{"model":"omni-moderation-latest",  "input":"hello"}`
)

// TestModerationPasses: body and answer pass as they are, nothing is held or charged,
// and no receipt tells of it.
func TestModerationPasses(t *testing.T) {
	for _, body := range []string{
		moderate,
		`{"input":["a","b"]}`,
		`{"input":"a","model":null}`,
		`{"input":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}],"model":"omni-moderation-2024-09-26","more":{"n":[1]}}`,
	} {
		w, sim := simulated(t, simulator.Config{}, setting{})
		a := w.post(moderationPath, body)
		if a.status != http.StatusOK || !strings.Contains(a.body, `"results"`) || a.header.Get("X-Aegis-Decision") != "allow" {
			t.Fatalf("%s: %d %s", body, a.status, a.body)
		}
		if receipt := a.header["X-Aegis-Receipt"]; receipt != nil {
			t.Errorf("it has the receipt %q", receipt)
		}
		calls := sim.Calls()
		if len(calls) != 1 || calls[0].Path != moderationPath || string(calls[0].Body) != body || calls[0].Header.Get("Authorization") != "Bearer "+upstreamKey {
			t.Errorf("the provider got %+v", calls)
		}
		if n := len(read[audit.Decision](w)) + len(read[audit.Settlement](w)); n != 0 {
			t.Errorf("%d receipts", n)
		}
		w.mustBalance(0, 0)
	}
}

// TestModerationWithoutMoney: no budget concerns what costs nothing.
func TestModerationWithoutMoney(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `budgets: [{name: daily, window: forever, limit_usd: "0.000000001"}]
per_request_usd: "0.000000001"`})
	if a := w.post(chatPath, hello); a.status != http.StatusPaymentRequired {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := w.post(moderationPath, moderate); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.mustReplay()
}

// TestModerationIsRuled: every rule but those of money holds, and a denial has its
// receipt, which is recomputed.
func TestModerationIsRuled(t *testing.T) {
	for _, row := range []struct {
		name, tenant, provider string
		body                   string
		header                 []string
		throw                  string
		status                 int
		code                   string
		receipts               int
	}{
		{name: "a model that is not allowed", tenant: `models: {deny: ["omni-*"]}`, status: 403, code: "model_not_allowed", receipts: 1},
		{name: "the model that a body means that names none", tenant: `models: {deny: ["omni-*"]}`, body: `{"input":"a"}`, status: 403, code: "model_not_allowed", receipts: 1},
		{name: "an endpoint that is not allowed", tenant: `endpoints: {allow: ["chat/*"]}`, status: 403, code: "endpoint_not_allowed", receipts: 1},
		{name: "a capability that is not given", tenant: `capabilities: [chat]`, status: 403, code: "capability_not_allowed", receipts: 1},
		{name: "too deep", tenant: `max_depth: 1`, header: []string{"X-Aegis-Depth", "2"}, status: 403, code: "depth_exceeded", receipts: 1},
		{name: "a nonce that is missing", tenant: `replay: {window: 1h, required: true}`, status: 400, code: "nonce_required", receipts: 1},
		{name: "a kill switch", throw: policy.TenantSwitch, status: 403, code: "kill_switch", receipts: 1},
		{name: "the kill switch of a run", throw: policy.RunSwitch("r1"), header: []string{"X-Aegis-Run", "r1"}, status: 403, code: "kill_switch", receipts: 1},
		{name: "that of another", throw: policy.RunSwitch("r2"), header: []string{"X-Aegis-Run", "r1"}, status: 200},
		{name: "a provider that may bill it", provider: "mistral", status: 403, code: "no_bound", receipts: 1},
		{name: "a header whose cost is not known", header: []string{"X-Msh-Context-Cache", "c1"}, status: 403, code: "no_bound", receipts: 1},
		{name: "no key", header: []string{"Authorization", "Bearer nobody"}, status: 401, code: "invalid_api_key"},
		{name: "no input", body: `{"model":"omni-moderation-latest"}`, status: 400, code: "invalid_request"},
		{name: "two models", body: `{"model":"omni-moderation-latest","model":"b","input":"a"}`, status: 400, code: "invalid_request"},
		{name: "a model by another spelling", body: `{"Model":"omni-moderation-latest","input":"a"}`, status: 400, code: "invalid_request"},
		{name: "a body too large", body: `{"input":"` + strings.Repeat("a", 1<<20) + `"}`, status: 413, code: "request_too_large"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{tenant: row.tenant, provider: row.provider, bodyLimit: 1 << 20})
			if row.throw != "" {
				w.throw(row.throw)
			}
			if row.body == "" {
				row.body = moderate
			}
			a := w.post(moderationPath, row.body, row.header...)
			if a.status != row.status || a.code() != row.code {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if sent := len(sim.Calls()) == 1; sent != (row.status == 200) {
				t.Errorf("sent: %v", sent)
			}
			if n := len(read[audit.Decision](w)); n != row.receipts {
				t.Errorf("%d decisions, want %d", n, row.receipts)
			}
			w.mustReplay()
		})
	}
}

// TestModerationIsCounted: rates, slots and nonces count it, as events of the ledger with
// their receipts, which follow, at no cost.
func TestModerationIsCounted(t *testing.T) {
	t.Run("rate", func(t *testing.T) {
		w, sim := simulated(t, simulator.Config{}, setting{tenant: ampleBudget + "\nrates: [{name: few, window: forever, limit: 2}]"})
		for _, status := range []int{200, 200, 429} {
			if a := w.post(moderationPath, moderate); a.status != status {
				t.Fatalf("%d %s, want %d", a.status, a.body, status)
			}
		}
		if n := len(sim.Calls()); n != 2 {
			t.Errorf("%d requests were sent", n)
		}
		for _, s := range w.settled(2) {
			if s.Charge != 0 || s.Hold != 0 || s.Basis != audit.BasisUnbilled || s.Status != 200 {
				t.Errorf("%+v", s)
			}
		}
		w.mustBalance(0, 0)
		w.mustReplay()
	})
	t.Run("nonce", func(t *testing.T) {
		w, _ := simulated(t, simulator.Config{}, setting{tenant: ampleBudget + "\nreplay: {window: 1h}"})
		for _, status := range []int{200, 409} {
			if a := w.post(moderationPath, moderate, "Idempotency-Key", "n1"); a.status != status {
				t.Fatalf("%d %s, want %d", a.status, a.body, status)
			}
		}
		w.settled(1)
		w.mustReplay()
	})
	t.Run("slot", func(t *testing.T) {
		arrived, goOn := make(chan struct{}), make(chan struct{})
		w := newWorld(t, setting{tenant: ampleBudget + "\nconcurrency: [{name: one, limit: 1}]", upstreams: []http.Handler{raw(func(http.ResponseWriter) {
			arrived <- struct{}{}
			<-goOn
		})}})
		first := make(chan answer)
		go func() { first <- w.post(moderationPath, moderate) }()
		<-arrived
		if a := w.post(moderationPath, moderate); a.status != 429 {
			t.Errorf("%d %s", a.status, a.body)
		}
		close(goOn)
		<-first
		w.settled(1)
		w.mustReplay()
	})
}

// TestModerationUnderObserve: what would have been denied passes, and a receipt says so.
func TestModerationUnderObserve(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: ampleBudget + "\nmode: observe\nendpoints: {deny: [moderations]}"})
	if a := w.post(moderationPath, moderate); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if d := read[audit.Decision](w); len(d) != 1 || len(d[0].Reasons) != 1 || d[0].Reasons[0] != string(policy.EndpointNotAllowed) {
		t.Errorf("%+v", d)
	}
	w.settled(1)
	w.mustReplay()
}

// TestModerationFailsClosed: where the ledger cannot be asked nothing passes.
func TestModerationFailsClosed(t *testing.T) {
	w, sim := simulated(t, simulator.Config{}, setting{})
	if err := w.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if a := w.post(moderationPath, moderate); a.status != http.StatusServiceUnavailable || a.code() != "ledger_unavailable" || len(sim.Calls()) != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestFreeUpstream: what no entry of the models has goes where the policy says, if the
// tenant may go there; nothing else does.
func TestFreeUpstream(t *testing.T) {
	const text = `generation: 1
upstreams:
  - {name: openai, base_url: "{up}/v1", api_key_env: ` + upstreamVar + `, provider: openai, cap_field: max_completion_tokens}
  - {name: local, base_url: "http://127.0.0.1:1/v1", provider: ollama, cap_field: max_tokens}
models: [{match: "local-*", upstreams: [local]}]
FREE
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    denial_receipts_per_second: 1000
    TENANT
`
	for _, row := range []struct {
		name, free, tenant, path, body string
		status                         int
		code                           string
	}{
		{"no entry", "free_upstream: openai", "", moderationPath, moderate, 200, ""},
		{"no model", "free_upstream: openai", "", moderationPath, `{"input":"a"}`, 200, ""},
		{"an entry", "free_upstream: openai", "", moderationPath, `{"model":"local-m","input":"a"}`, 403, "no_bound"},
		{"no free upstream", "", "", moderationPath, moderate, 403, "no_upstream"},
		{"one that the tenant may use", "free_upstream: openai", "upstreams: [openai]", moderationPath, moderate, 200, ""},
		{"one that the tenant may not use", "free_upstream: openai", "upstreams: [local]", moderationPath, moderate, 403, "upstream_not_allowed"},
		{"what is not free", "free_upstream: openai", "", chatPath, hello, 403, "no_upstream"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := simulated(t, simulator.Config{}, setting{policy: strings.NewReplacer("FREE", row.free, "TENANT", row.tenant).Replace(text)})
			if a := w.post(row.path, row.body); a.status != row.status || a.code() != row.code {
				t.Errorf("%d %s", a.status, a.body)
			}
			w.mustReplay()
		})
	}
}

// TestModerationUnanswered: a client is told that the upstream gave no answer, or gets its
// error, and a fallback is tried as for any other request; nothing is held after.
func TestModerationUnanswered(t *testing.T) {
	gone := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	broken := raw(func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) })
	fine := raw(func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) })
	for _, row := range []struct {
		name      string
		upstreams []http.Handler
		status    int
		decision  string
	}{
		{"no answer", []http.Handler{gone}, http.StatusBadGateway, "error"},
		{"an error", []http.Handler{broken}, http.StatusInternalServerError, "allow"},
		{"a fallback for no answer", []http.Handler{gone, fine}, http.StatusOK, "allow"},
		{"a fallback for an error", []http.Handler{broken, fine}, http.StatusOK, "allow"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, setting{upstreams: row.upstreams})
			a := w.post(moderationPath, moderate)
			if a.status != row.status || a.header.Get("X-Aegis-Decision") != row.decision || a.header["X-Aegis-Receipt"] != nil {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
			if n := len(read[audit.Decision](w)); n != 0 {
				t.Errorf("%d decisions", n)
			}
			w.mustBalance(0, 0)
		})
	}
}
