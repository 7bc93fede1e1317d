package proxy_test

import (
	"net/http"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestListsAreRuled: rules, rates and kill switches hold for lists of models as for whatever
// else is free, and a receipt tells of a denial.
func TestListsAreRuled(t *testing.T) {
	for _, row := range []struct {
		name, tenant, path string
		header             []string
		throw              string
		status             int
		code               string
		receipts           int
	}{
		{name: "plain", path: "/v1/models", status: 200},
		{name: "no money", tenant: `budgets: [{name: daily, window: forever, limit_usd: "0.000000001"}]`, path: "/v1/models", status: 200},
		{name: "a kill switch", throw: policy.TenantSwitch, path: "/v1/models", status: 403, code: "kill_switch", receipts: 1},
		{name: "a kill switch, of one model", throw: policy.TenantSwitch, path: "/v1/models/toy", status: 403, code: "kill_switch", receipts: 1},
		{name: "the kill switch of a key", throw: policy.KeySwitch("acme-1"), path: "/v1/models", status: 403, code: "kill_switch", receipts: 1},
		{name: "the kill switch of a run", throw: policy.RunSwitch("r1"), path: "/run/r1/v1/models", status: 403, code: "kill_switch", receipts: 1},
		{name: "that of a run in a header", throw: policy.RunSwitch("r1"), path: "/v1/models", header: []string{"X-Aegis-Run", "r1"}, status: 403, code: "kill_switch", receipts: 1},
		{name: "that of another run", throw: policy.RunSwitch("r2"), path: "/run/r1/v1/models", status: 200},
		{name: "too deep", tenant: "max_depth: 1", path: "/run/r/depth/2/v1/models", status: 403, code: "depth_exceeded", receipts: 1},
		{name: "too deep by a header", tenant: "max_depth: 1", path: "/v1/models", header: []string{"X-Aegis-Depth", "2"}, status: 403, code: "depth_exceeded", receipts: 1},
		{name: "an endpoint that is denied", tenant: "endpoints: {deny: [models]}", path: "/v1/models", status: 403, code: "endpoint_not_allowed", receipts: 1},
		{name: "an endpoint that is denied by a pattern", tenant: `endpoints: {deny: ["models*"]}`, path: "/v1/models/toy", status: 403, code: "endpoint_not_allowed", receipts: 1},
		{name: "patterns of what may run", tenant: `endpoints: {allow: ["chat/*"]}`, path: "/v1/models", status: 200},
		{name: "capabilities", tenant: "capabilities: []", path: "/v1/models", status: 200},
		{name: "nonces", tenant: "replay: {window: 1h, required: true}", path: "/v1/models", status: 200},
		{name: "models", tenant: `models: {allow: ["gpt-4o*"]}`, path: "/v1/models", status: 200},
		{name: "a model that it may not use", tenant: `models: {allow: ["gpt-4o*"]}`, path: "/v1/models/toy", status: 404, code: "model_not_found"},
		{name: "a key of nobody", path: "/v1/models", header: []string{"Authorization", "Bearer nobody"}, status: 401, code: "invalid_api_key"},
		{name: "observed", tenant: "mode: observe\nendpoints: {deny: [models]}", path: "/v1/models", status: 200, receipts: 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{tenant: row.tenant})
			if row.throw != "" {
				w.throw(row.throw)
			}
			a := w.ask(http.MethodGet, row.path, row.header...)
			if a.status != row.status || a.code() != row.code {
				t.Fatalf("%d %s", a.status, a.body)
			}
			told := a.header.Get("X-Aegis-Receipt") != ""
			if n := len(read[audit.Decision](w)); n != row.receipts || told != (n > 0) || len(sim.Calls()) > 0 {
				t.Errorf("%d decisions, want %d; the answer tells of one: %v", n, row.receipts, told)
			}
			w.mustReplay()
		})
	}
}

// TestListsAreCounted: by rates of whatever endpoint they name, and by slots, as events of
// the ledger with their receipts, at no cost.
func TestListsAreCounted(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: ampleBudget + `
concurrency: [{name: slots, limit: 1}]
rates: [{name: few, window: forever, limit: 4}, {name: lists, window: forever, limit: 3, endpoint: "models*"}]`})
	for _, step := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v1/models", 200}, {"HEAD", "/v1/models", 200}, {"GET", "/run/r/v1/models/toy", 200},
		{"GET", "/v1/models", 429}, {"HEAD", "/v1/models/toy", 429},
	} {
		if a := w.ask(step.method, step.path); a.status != step.status || (a.header.Get("X-Aegis-Receipt") == "") {
			t.Fatalf("%s %s: %d %v %s", step.method, step.path, a.status, a.header, a.body)
		}
	}
	if a := w.post(chatPath, hello); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.post(chatPath, hello); a.code() != "request_rate" && a.status != 429 {
		t.Errorf("%d %s", a.status, a.body)
	}
	free := 0
	for _, s := range w.settled(4) {
		if s.Basis == audit.BasisUnbilled && s.Charge == 0 && s.Hold == 0 {
			free++
		}
	}
	if free != 3 {
		t.Errorf("%d of the settlements are free, want 3", free)
	}
	w.mustReplay()
}

// TestListsFailClosed: where the ledger cannot be asked nothing is told.
func TestListsFailClosed(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{})
	if err := w.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if a := w.ask(http.MethodGet, "/v1/models"); a.status != http.StatusServiceUnavailable || a.code() != "ledger_unavailable" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
