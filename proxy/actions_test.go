package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

const (
	authorizePath = "/aegis/v1/authorize"
	settlePath    = "/aegis/v1/settle"
	releasePath   = "/aegis/v1/release"
	extendPath    = "/aegis/v1/extend"

	oneDollar = `budgets: [{name: total, window: forever, limit_usd: "1"}]`
)

// pay is the body that asks leave for a payment.
func pay(id, amount string) string {
	return fmt.Sprintf(`{"id":%q,"action":"payment","amount_usd":%q}`, id, amount)
}

// answered is an answer of any of the routes.
type answered struct {
	Decision, Lease, Receipt, Outcome string

	ExpiresAt time.Time `json:"expires_at"`
	Charged   string    `json:"charged_usd"`
	Held      string    `json:"held_usd"`
	Overrun   string    `json:"overrun_usd"`
	Remaining []map[string]string
}

// act sends a body that must be answered with 200.
func (w *world) act(path, body string) answered {
	w.t.Helper()
	a := w.post(path, body)
	var got answered
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s %v", path, body, a.status, a.body, err)
	}
	return got
}

func leaseBody(lease string) string { return fmt.Sprintf(`{"lease":%q}`, lease) }

func settleBody(lease, amount string) string {
	return fmt.Sprintf(`{"lease":%q,"amount_usd":%q}`, lease, amount)
}

func extendBody(lease, total string) string {
	return fmt.Sprintf(`{"lease":%q,"total_usd":%q}`, lease, total)
}

func TestActionsFromLeaveToReceipt(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: oneDollar})
	before := time.Now().Add(-time.Second)
	leave := w.act(authorizePath, `{"id":"a:1","action":"tool","amount_usd":"0.25","target":"t","tool":"search","run":"r","ttl_seconds":60}`)
	if leave.Decision != "allow" || leave.Lease == "" || leave.Receipt == "" ||
		leave.ExpiresAt.Before(before.Add(time.Minute)) || leave.ExpiresAt.After(time.Now().Add(time.Minute)) {
		t.Errorf("%+v", leave)
	}
	want := map[string]string{"budget": "total", "limit_usd": "1.00", "spent_usd": "0.00", "held_usd": "0.25", "left_usd": "0.75"}
	if fmt.Sprint(leave.Remaining) != fmt.Sprint([]map[string]string{want}) {
		t.Errorf("remaining %v, want %v", leave.Remaining, want)
	}
	extended := w.act(extendPath, extendBody(leave.Lease, "0.5"))
	if extended.Held != "0.50" || extended.Lease != leave.Lease || !extended.ExpiresAt.Equal(leave.ExpiresAt) {
		t.Errorf("%+v", extended)
	}
	w.mustBalance(0, 5e8)
	settled := w.act(settlePath, settleBody(leave.Lease, "0.600000001"))
	if settled.Outcome != "settle" || settled.Charged != "0.600000001" || settled.Held != "0.50" || settled.Overrun != "0.100000001" || settled.Receipt == "" {
		t.Errorf("%+v", settled)
	}
	w.mustBalance(600_000_001, 0)
	if s := read[audit.Settlement](w); len(s) != 1 || s[0].Overrun != 100_000_001 || s[0].Lease != leave.Lease {
		t.Errorf("%+v", s)
	}
	d := read[audit.Decision](w)[0]
	if d.Facts.Endpoint != "actions/tool" || d.Facts.Run != call.HashName("r") || d.Facts.Tool != call.HashName("search") || d.Facts.Cost != 25e7 {
		t.Errorf("%+v", d)
	}
}

func TestActionsShareTheBudgetOfCalls(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: oneDollar})
	w.act(authorizePath, pay("all", "1"))
	if a := w.post(chatPath, hello); a.status != http.StatusTooManyRequests {
		t.Errorf("a call beside an action that holds everything got %d %s", a.status, a.body)
	}
}

// TestActionErrors is every error of every route.
func TestActionErrors(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `per_request_usd: "0.9"
capabilities: [actions]
budgets: [{name: total, window: forever, limit_usd: "1"}]`})
	doc := readOpenAPI(t)
	open := w.act(authorizePath, pay("open", "0.40")).Lease
	ended := w.act(authorizePath, pay("ended", "0.10")).Lease
	w.act(settlePath, settleBody(ended, "0.2"))
	w.act(releasePath, leaseBody(w.act(authorizePath, pay("released", "0.10")).Lease))
	unknown := "act-" + strings.Repeat("0", 32)
	w.mustBalance(2e8, 4e8)
	type row struct {
		path, body string
		status     int
		code       string
		param      string
	}
	rows := []row{
		{authorizePath, pay("x", "0.5"), 429, "rate_limit_exceeded", ""},
		{authorizePath, pay("x", "0.81"), 402, "insufficient_quota", ""},
		{authorizePath, pay("x", "0.91"), 402, "insufficient_quota", ""},
		{authorizePath, pay("open", "0.41"), 409, "replayed_request", ""},
		{authorizePath, pay("open", "0.85"), 409, "replayed_request", ""}, // more than there is left
		{authorizePath, pay("ended", "0.10"), 409, "replayed_request", ""},
		{authorizePath, pay("ended", "0.85"), 409, "replayed_request", ""},
		{authorizePath, pay("released", "0.10"), 409, "replayed_request", ""},
		{authorizePath, pay("released", "0.11"), 409, "replayed_request", ""},
		{authorizePath, `{"id":"x","action":"holiday","amount_usd":"0"}`, 403, "capability_not_allowed", ""},
		{authorizePath, `{"id":"x","action":"tool"}`, 400, "invalid_request", "amount_usd"},
		{authorizePath, `{"action":"tool","amount_usd":"1"}`, 400, "invalid_request", "id"},
		{authorizePath, `{"id":"x","amount_usd":"1"}`, 400, "invalid_request", "action"},
		{authorizePath, pay("x", "-1"), 400, "invalid_request", "amount_usd"},
		{authorizePath, pay("x", "1e3"), 400, "invalid_request", "amount_usd"},
		{authorizePath, pay("x", "0.0000000001"), 400, "invalid_request", "amount_usd"},
		{authorizePath, pay("x", "9007199.254740992"), 400, "invalid_request", "amount_usd"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":0.25}`, 400, "invalid_request", "amount_usd"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":null}`, 400, "invalid_request", "amount_usd"},
		{authorizePath, pay("", "1"), 400, "invalid_request", "id"},
		{authorizePath, pay("a b", "1"), 400, "invalid_request", "id"},
		{authorizePath, pay(strings.Repeat("i", 65), "1"), 400, "invalid_request", "id"},
		{authorizePath, `{"id":"x","action":"a/b","amount_usd":"1"}`, 400, "invalid_request", "action"},
		{authorizePath, `{"id":"x","action":"extend","amount_usd":"1"}`, 400, "invalid_request", "action"},
		{authorizePath, `{"id":"x","action":"(extend)","amount_usd":"1"}`, 400, "invalid_request", "action"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1","target":""}`, 400, "invalid_request", "target"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1","tool":"` + strings.Repeat("t", 257) + `"}`, 400, "invalid_request", "tool"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1","run":{}}`, 400, "invalid_request", "run"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1","ttl_seconds":"60"}`, 400, "invalid_request", "ttl_seconds"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1","ttl_seconds":0}`, 400, "invalid_request", "ttl_seconds"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1","ttl_seconds":21601}`, 400, "invalid_request", "ttl_seconds"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1","ttl_seconds":1.5}`, 400, "invalid_request", "ttl_seconds"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1","colour":"red"}`, 400, "invalid_request", "colour"},
		{authorizePath, `{"id":"x","action":"tool","id":"y","amount_usd":"1"}`, 400, "invalid_request", "id"},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1"} {}`, 400, "invalid_request", ""},
		{authorizePath, `{"id":"x","action":"tool","amount_usd":"1"`, 400, "invalid_request", ""},
		{authorizePath, `[]`, 400, "invalid_request", ""},
		{authorizePath, ``, 400, "invalid_request", ""},
		{authorizePath, pay("x", strings.Repeat("0", proxy.ActionBodyLimit)), 413, "request_too_large", ""},

		{settlePath, settleBody(unknown, "1"), 404, "unknown_lease", ""},
		{settlePath, settleBody("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "1"), 404, "unknown_lease", ""},
		{settlePath, settleBody(ended, "0.1"), 409, "lease_ended", ""},
		{settlePath, leaseBody(open), 400, "invalid_request", "amount_usd"},
		{settlePath, settleBody(strings.Repeat("l", 129), "1"), 400, "invalid_request", "lease"},
		{settlePath, settleBody(open, strings.Repeat("0", proxy.ActionBodyLimit)), 413, "request_too_large", ""},

		{releasePath, leaseBody(unknown), 404, "unknown_lease", ""},
		{releasePath, leaseBody(ended), 409, "lease_ended", ""},
		{releasePath, settleBody(open, "1"), 400, "invalid_request", "amount_usd"},
		{releasePath, leaseBody(strings.Repeat("l", proxy.ActionBodyLimit)), 413, "request_too_large", ""},

		{extendPath, extendBody(unknown, "1"), 404, "unknown_lease", ""},
		{extendPath, extendBody(ended, "0.9"), 409, "lease_ended", ""},
		{extendPath, extendBody(open, "0.81"), 402, "insufficient_quota", ""},
		{extendPath, extendBody(open, "0.91"), 402, "insufficient_quota", ""},
		{extendPath, settleBody(open, "0.5"), 400, "invalid_request", "amount_usd"},
		{extendPath, extendBody(open, strings.Repeat("0", proxy.ActionBodyLimit)), 413, "request_too_large", ""},
	}
	for _, r := range rows {
		a := w.post(r.path, r.body)
		var body struct {
			Error struct{ Code, Param, Message string }
		}
		err := json.Unmarshal([]byte(a.body), &body)
		if err != nil || a.status != r.status || body.Error.Code != r.code || body.Error.Param != r.param {
			t.Errorf("%s %s: %d %s, want %d %s of %q", r.path, clipped(r.body), a.status, a.body, r.status, r.code, r.param)
			continue
		}
		if got := a.header.Get("X-Aegis-Decision"); got != "deny" || !strings.HasPrefix(body.Error.Message, "aegis: ") {
			t.Errorf("%s %s: %s %q", r.path, clipped(r.body), got, body.Error.Message)
		}
		doc.documented(t, r.path, a.status, a.body)
	}
	w.mustBalance(2e8, 4e8)
}

// TestActionAnswersAreDocumented sends what is answered with 200.
func TestActionAnswersAreDocumented(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: oneDollar})
	doc := readOpenAPI(t)
	first, second := w.act(authorizePath, pay("a", "0.1")).Lease, w.act(authorizePath, pay("b", "0.1")).Lease
	for _, row := range [][2]string{
		{authorizePath, pay("a", "0.1")},
		{extendPath, extendBody(first, "0.2")},
		{settlePath, settleBody(first, "0.2")},
		{settlePath, settleBody(first, "0.2")},
		{releasePath, leaseBody(second)},
		{releasePath, leaseBody(second)},
	} {
		a := w.post(row[0], row[1])
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", row[0], a.status, a.body)
		}
		doc.documented(t, row[0], a.status, a.body)
	}
}

func clipped(s string) string { return s[:min(len(s), 80)] }

// TestActionsNeedTheirKeyAndRoute: what is no known route is denied as any other.
func TestActionsNeedTheirKeyAndRoute(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: oneDollar})
	doc := readOpenAPI(t)
	for _, path := range []string{authorizePath, settlePath, releasePath, extendPath} {
		a := w.post(path, "{}", "Authorization", "Bearer nobody")
		if a.status != http.StatusUnauthorized || a.code() != "invalid_api_key" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		doc.documented(t, path, a.status, a.body)
		get := request(t.Context(), w.front.URL+path, "")
		get.Method = http.MethodGet
		if a := w.do(get); a.status != http.StatusNotFound || a.code() != "unknown_route" {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
	if a := w.post("/aegis/v1/refund", "{}"); a.code() != "unknown_route" {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.nothingReserved()
}

func TestActionsOfATenantWithout(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `capabilities: [chat]`})
	if a := w.post(authorizePath, pay("x", "1")); a.status != http.StatusForbidden || a.code() != "capability_not_allowed" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestActionIDsWithoutBudgets: where nothing is held an id is of one intent too.
func TestActionIDsWithoutBudgets(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `mode: enforce`})
	first, again := w.act(authorizePath, pay("a", "1")), w.act(authorizePath, pay("a", "1"))
	if again.Lease != first.Lease || again.ExpiresAt != first.ExpiresAt {
		t.Errorf("%+v after %+v", again, first)
	}
	mustDeny(t, w.post(authorizePath, pay("a", "2")), 409, "replayed_request", "false", "differs from this one")
	w.act(releasePath, leaseBody(first.Lease))
	for _, amount := range []string{"1", "2"} {
		mustDeny(t, w.post(authorizePath, pay("a", amount)), 409, "replayed_request", "false", "has ended")
	}
}

func TestActionKindsOfThePolicy(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `action_kinds: [booking]
models: {allow: [nothing]}
budgets:
  - {name: total, window: forever, limit_usd: "1"}
  - {name: premium, scope: model, models: "*", window: day, limit_usd: "0.01"}`})
	leave := w.act(authorizePath, `{"id":"x","action":"booking","amount_usd":"0.5"}`)
	if len(leave.Remaining) != 1 {
		t.Errorf("%v", leave.Remaining)
	}
}

func TestActionsKeepAmountsBack(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `redact_amounts: true
budgets: [{name: daily, window: day, limit_usd: "1"}]`})
	a := w.post(authorizePath, pay("x", "0.5"))
	if a.status != http.StatusOK || strings.Contains(a.body, "_usd") || !strings.Contains(a.body, `"budget":"daily"`) || !strings.Contains(a.body, `"resets_at"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.post(authorizePath, pay("y", "0.9")); a.status != http.StatusTooManyRequests || strings.Contains(a.body, "USD") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestActionsOfARun(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: `budgets: [{name: run, scope: run, window: forever, limit_usd: "1"}]`})
	body := func(id, run string) string {
		return fmt.Sprintf(`{"id":%q,"action":"tool","amount_usd":"0.9","run":%q}`, id, run)
	}
	w.act(authorizePath, body("a", "one"))
	w.act(authorizePath, body("b", "two"))
	for id, row := range map[string]struct {
		run, header string
		status      int
	}{
		"c": {"one", "", 429}, "d": {"one", "one", 429}, "e": {"one", "two", 400}, "f": {"three", "", 200},
	} {
		var headers []string
		if row.header != "" {
			headers = []string{"X-Aegis-Run", row.header}
		}
		if a := w.post(authorizePath, body(id, row.run), headers...); a.status != row.status {
			t.Errorf("%+v: %d %s", row, a.status, a.body)
		}
	}
	if a := w.post(authorizePath, pay("g", "0.9"), "X-Aegis-Run", "one"); a.status != http.StatusTooManyRequests {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestActionsWhenTheLedgerIsGone(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: oneDollar})
	doc := readOpenAPI(t)
	lease := w.act(authorizePath, pay("x", "0.5")).Lease
	if err := w.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{
		authorizePath: pay("y", "0.1"), settlePath: settleBody(lease, "0.5"),
		releasePath: leaseBody(lease), extendPath: extendBody(lease, "0.6"),
	} {
		a := w.post(path, body)
		if a.status != http.StatusServiceUnavailable || a.code() != "ledger_unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		doc.documented(t, path, a.status, a.body)
	}
}

// TestKillSwitchStopsAnExtension: 403, as it stops whatever else is asked for.
func TestKillSwitchStopsAnExtension(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: oneDollar})
	lease := w.act(authorizePath, pay("x", "0.5")).Lease
	if _, err := w.ledger.Throw(t.Context(), "acme", policy.TenantSwitch); err != nil {
		t.Fatal(err)
	}
	a := w.post(extendPath, extendBody(lease, "0.6"))
	if a.status != http.StatusForbidden || a.code() != "kill_switch" || a.header.Get("x-should-retry") != "false" {
		t.Errorf("%d %s", a.status, a.body)
	}
	readOpenAPI(t).documented(t, extendPath, a.status, a.body)
	w.act(settlePath, settleBody(lease, "0.5")) // what was held can be settled
}

// TestActionAcrossAReload: another request of the tenant has reserved under a
// newer policy, which the proxy loads while this one is denied for it.
func TestActionAcrossAReload(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: oneDollar})
	send := func(path, body string, rules ...*gate.Rules) *httptest.ResponseRecorder {
		p := proxy.New(proxy.Config{Gate: w.gate, Dialects: dialects.All(), Rules: func() *gate.Rules {
			first := rules[0]
			rules = rules[min(1, len(rules)-1):]
			return first
		}})
		defer p.Close()
		recorder := httptest.NewRecorder()
		p.ServeHTTP(recorder, request(t.Context(), "http://proxy"+path, body))
		return recorder
	}
	old, newest := w.generation(1), w.generation(2)
	a := send(authorizePath, pay("a", "0.1"), newest)
	var leave answered
	if err := json.Unmarshal(a.Body.Bytes(), &leave); err != nil || a.Code != http.StatusOK {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	for path, body := range map[string]string{authorizePath: pay("b", "0.1"), extendPath: extendBody(leave.Lease, "0.2")} {
		if a := send(path, body, old); a.Code != http.StatusServiceUnavailable {
			t.Errorf("%s not reloaded: %d %s", path, a.Code, a.Body)
		}
		if a := send(path, body, old, newest); a.Code != http.StatusOK {
			t.Errorf("%s reloaded meanwhile: %d %s", path, a.Code, a.Body)
		}
	}
}

func FuzzActionBody(f *testing.F) {
	for _, seed := range []string{
		pay("x", "1"), `{"id":"x","id":"x"}`, `{"lease":"l","amount_usd":"0.1"}`, `{"lease":"\ud800"}`, `{"ttl_seconds":1e1}`,
		`{"lease":"act-0","total_usd":"1","run":"r"}`, `{`, `{}`, `{} x`, `{"id":[[[[`, "{\"id\":\"\xff\"}", `{"target":"\u0000"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for verb, route := range proxy.Routes() {
			got, err := proxy.ParseAction(verb, []byte(text))
			if err != nil {
				if _, ok := err.(*providers.ParseError); !ok || err.Error() == "" {
					t.Fatalf("%s: %T %v", verb, err, err)
				}
				continue
			}
			checkParsed(t, verb, text, route, got)
		}
	})
}

// checkParsed compares a body with what another parser makes of it.
func checkParsed(t *testing.T, verb, text string, route proxy.Route, got proxy.ParsedAction) {
	var plain map[string]any
	if err := json.Unmarshal([]byte(text), &plain); err != nil {
		t.Fatalf("%s: taken, but no JSON: %v", verb, err)
	}
	for name := range plain {
		if !strings.Contains(" "+strings.Join(route.Members, " ")+" ", " "+name+" ") {
			t.Fatalf("%s: member %q was taken", verb, name)
		}
	}
	for _, name := range route.Required {
		if plain[name] == nil {
			t.Fatalf("%s: taken without %s", verb, name)
		}
	}
	for name, value := range map[string]string{"id": got.ID, "action": got.Action, "target": got.Target, "tool": got.Tool, "run": got.Run, "lease": got.Lease} {
		if given, _ := plain[name].(string); given != value {
			t.Fatalf("%s: %s is %q, read as %q", verb, name, given, value)
		}
	}
	if got.Amount < 0 || got.TTLSeconds < 1 || got.TTLSeconds > 21600 || len(got.ID) > proxy.MaxActionIDBytes || len(got.Target) > proxy.MaxActionTextBytes {
		t.Fatalf("%s: %+v", verb, got)
	}
}
