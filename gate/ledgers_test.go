package gate_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// step is one thing that happens in a scenario.
type step struct {
	do      string // "begin"; "throw", "lift"; or how the oldest open bid ends: "settle", "unbilled", "unsent"
	kill    string // the switch to throw or lift
	run     string
	nonce   string
	attempt int64
	counted bool
	depth   int64
	tools   []string // results that it brings, each "ID" or "ID TOOL"
	offers  []string // tools
	model   string   // "": toy
	needs   string   // a capability
	free    bool     // a moderation, which costs nothing
	output  int64    // tokens; 0: 50
	want    string   // of begin: "" if granted, else the reason and the rule
}

func begin(want string) step            { return step{do: "begin", want: want} }
func beginRun(run, want string) step    { return step{do: "begin", run: run, want: want} }
func beginOnce(nonce, want string) step { return step{do: "begin", nonce: nonce, want: want} }

func retried(nonce string, attempt int64, want string) step {
	return step{do: "begin", nonce: nonce, attempt: attempt, want: want}
}

// bring begins a call of a run with tool results, separated by commas.
func bring(run, results, want string) step {
	return step{do: "begin", run: run, tools: strings.Split(results, ","), want: want}
}

func throw(name string) step { return step{do: "throw", kill: name} }
func lift(name string) step  { return step{do: "lift", kill: name} }

// beginLarge asks for more output than the 50 tokens of the others: 100 + 2 a
// token in nano-USD, instead of 200.
func beginLarge(output int64, want string) step { return step{do: "begin", output: output, want: want} }

// beginFree begins a call of a run that costs nothing.
func beginFree(run, want string) step { return step{do: "begin", run: run, free: true, want: want} }

var (
	settle   = step{do: "settle"}
	unbilled = step{do: "unbilled"}
	unsent   = step{do: "unsent"}
)

// scenarios are what every ledger must decide alike.
var scenarios = []struct {
	name, rules string
	steps       []step
}{
	{"a slot comes back however its call ends", "concurrency: [{name: parallel, limit: 2}]", []step{
		begin(""), begin(""), begin("concurrency_full parallel"), settle, begin(""), begin("concurrency_full parallel"),
		unsent, begin(""), unbilled, begin(""), settle, settle, begin(""),
	}},
	{"a slot of each run", "concurrency: [{name: runs, scope: run, limit: 1}]", []step{
		beginRun("a", ""), beginRun("b", ""), beginRun("a", "concurrency_full runs"), begin(""), settle, beginRun("a", ""), beginRun("b", "concurrency_full runs"),
	}},
	{"as many runs as the policy allows", "max_runs: 1\nconcurrency: [{name: runs, scope: run, limit: 9}]", []step{
		beginRun("a", ""), beginRun("b", "too_many_names runs"), beginRun("a", ""),
	}},
	{"a rate counts what was sent", "rates: [{name: burst, window: rolling, length: 24h, limit: 2}]", []step{
		begin(""), unsent, begin(""), unbilled, begin(""), begin("request_rate burst 60s"), settle, begin("request_rate burst 60s"),
	}},
	{"a rate for ever", "rates: [{name: all, window: forever, limit: 1}]", []step{
		begin(""), settle, begin("request_rate all never"), step{do: "begin", counted: true},
	}},
	{"a rate of each run", "rates: [{name: runs, scope: run, window: forever, limit: 1}]", []step{
		beginRun("a", ""), settle, beginRun("a", "request_rate runs never"), beginRun("b", ""), begin(""),
	}},
	{"a nonce is spent once", "replay: {}", []step{
		beginOnce("n", ""), beginOnce("n", "replayed_request replay never"), settle, beginOnce("n", "replayed_request replay never"),
		beginOnce("m", ""), begin(""),
	}},
	{"what was not sent spends no nonce", "replay: {}", []step{
		beginOnce("n", ""), unsent, beginOnce("n", ""), unbilled, beginOnce("n", "replayed_request replay never"),
	}},
	{"each retry is spent once", "replay: {retries: 1}", []step{
		beginOnce("n", ""), retried("n", 1, ""), retried("n", 1, "replayed_request replay never"), retried("n", 2, "replayed_request replay never"),
	}},
	{"as many nonces as the policy allows", "replay: {max_nonces: 2}", []step{
		beginOnce("a", ""), settle, beginOnce("b", ""), beginOnce("c", "too_many_names replay"), beginOnce("a", "replayed_request replay never"),
	}},
	{"a denial of one rule takes nothing of the others", "replay: {}\nconcurrency: [{name: parallel, limit: 1}]\nrates: [{name: burst, window: forever, limit: 2}]", []step{
		beginOnce("a", ""), beginOnce("b", "concurrency_full parallel"), settle, beginOnce("b", ""), settle, beginOnce("c", "request_rate burst never"),
		beginOnce("b", "replayed_request replay never"),
	}},
	{"money and counts together", "concurrency: [{name: parallel, limit: 1}]\n" + daily(300), []step{
		begin(""), begin("concurrency_full parallel"), settle, begin("budget_exhausted daily"),
	}},
	{"verdicts ask no ledger", "max_depth: 1\nreplay: {required: true}", []step{
		step{do: "begin", depth: 1, nonce: "a"}, step{do: "begin", depth: 2, nonce: "b", want: "depth_exceeded "}, begin("nonce_required "),
		beginOnce("b", ""),
	}},
	{"a kill switch stops whom it names", "max_depth: 1", []step{
		begin(""), throw(policy.KeySwitch("another")), begin(""), throw(policy.RunSwitch("a")), beginRun("a", "killed "), beginRun("b", ""),
		throw(policy.KeySwitch("acme-1")), begin("killed "), lift(policy.KeySwitch("acme-1")), begin(""), throw(policy.TenantSwitch), begin("killed "),
		step{do: "begin", depth: 2, want: "depth_exceeded "}, throw("global"), lift(policy.TenantSwitch), begin("killed "), lift("global"), begin(""),
		beginRun("a", "killed "), lift(policy.RunSwitch("a")), beginRun("a", ""),
	}},
	{"a stopped request takes nothing", "mode: enforce\nreplay: {}\nconcurrency: [{name: parallel, limit: 1}]\n" + daily(200), []step{
		throw(policy.TenantSwitch), beginOnce("a", "killed "), lift(policy.TenantSwitch), beginOnce("a", ""),
		throw(policy.TenantSwitch), beginOnce("b", "killed "), settle, lift(policy.TenantSwitch), beginOnce("b", "budget_exhausted daily"),
	}},
	{"observe obeys kill switches", "mode: observe", []step{begin(""), throw("global"), begin("killed ")}},
	{"lists ask no ledger", "capabilities: [tools]\nmodels: {allow: [toy, gpt-*], deny: [gpt-4o]}\ntools: {allow: [\"db_*\"], deny: [\"*_delete\"]}", []step{
		begin(""), step{do: "begin", model: "gpt-4o", want: "model_not_allowed "}, step{do: "begin", model: "claude", want: "no_price "},
		step{do: "begin", needs: call.NeedStream, want: "capability_not_allowed "}, step{do: "begin", needs: call.NeedTools, offers: []string{"db_read"}},
		step{do: "begin", offers: []string{"db_read", "db_delete"}, want: "tool_not_allowed "}, step{do: "begin", offers: []string{""}, want: "tool_not_allowed "},
	}},
	{"an endpoint that is denied", "endpoints: {deny: [\"chat/*\"]}", []step{begin("endpoint_not_allowed ")}},
	{"the cap of one request", "per_request_usd: \"0.0000003\"", []step{
		beginLarge(100, ""), beginLarge(101, "request_cap_exceeded per_request"), begin(""),
	}},
	{"held and exhausted", daily(500), []step{
		begin(""), begin(""), begin("budget_held daily"), unsent, begin(""), settle, settle, begin("budget_exhausted daily"),
		beginLarge(10, ""), unbilled, beginLarge(30, ""), settle,
	}},
	{"the narrowest budget of several", "budgets: [{name: all, window: forever, limit_usd: \"0.000001\"}, {name: runs, scope: run, window: day, limit_usd: \"0.0000003\"}, " +
		"{name: rolling, scope: key, window: rolling, length: 24h, limit_usd: \"0.0000006\"}]", []step{
		beginRun("a", ""), beginRun("a", "budget_held runs"), beginRun("b", ""), begin(""), beginRun("c", "budget_held rolling"), settle,
		beginRun("a", "budget_exhausted runs"), settle, settle, beginRun("d", "budget_exhausted rolling"),
	}},
	{"each tool call counts once", "tool_calls: [{name: calls, limit: 3}]", []step{
		bring("", "1,2", ""), bring("", "2,1", ""), settle, settle, bring("", "1,2,3", ""), bring("", "3,4", "tool_calls_exceeded calls never"),
		bring("", "3", ""), settle, bring("", "4", "tool_calls_exceeded calls never"), begin(""),
	}},
	{"tool calls of each run", "tool_calls: [{name: runs, scope: run, limit: 1}]", []step{
		bring("a", "1", ""), settle, bring("a", "2", "tool_calls_exceeded runs never"), bring("b", "1", ""), bring("", "1,2,3", ""), bring("a", "1", ""),
	}},
	{"tool calls by name", "tool_calls: [{name: all, limit: 4}, {name: searches, tool: \"search*\", limit: 1}]", []step{
		bring("", "1 search_web,2 fetch,3", ""), settle, bring("", "4 search", "tool_calls_exceeded searches never"), bring("", "4", ""), settle,
		bring("", "1 search_web,4 search", "tool_calls_exceeded searches never"), bring("", "5 fetch", "tool_calls_exceeded all never"),
	}},
	{"tool calls of what was not sent", "tool_calls: [{name: calls, limit: 2}]", []step{
		bring("", "1,2", ""), bring("", "2", ""), unsent, bring("", "3", ""), settle, settle, bring("", "1", "tool_calls_exceeded calls never"),
	}},
	{"tool calls of an answer that is not billed", "tool_calls: [{name: calls, limit: 1}]", []step{
		bring("", "1", ""), unbilled, bring("", "2", "tool_calls_exceeded calls never"),
	}},
	{"tool calls of a day", "tool_calls: [{name: daily, window: day, limit: 1}]\nconcurrency: [{name: parallel, limit: 1}]", []step{
		bring("", "1", ""), bring("", "2", "tool_calls_exceeded daily never"), bring("", "1", "concurrency_full parallel"), settle, bring("", "1", ""),
	}},
	{"observed tool calls", "mode: observe\ntool_calls: [{name: calls, limit: 1}]", []step{
		bring("", "1,2", ""), settle, bring("", "1,2", ""),
	}},
	{"what costs nothing", `budgets: [{name: daily, window: forever, limit_usd: "0.000000199"}]`, []step{
		begin("budget_exhausted daily"), beginFree("", ""), beginFree("", ""), settle, throw(policy.RunSwitch("a")), beginFree("a", "killed "), beginFree("b", ""),
		throw("global"), beginFree("b", "killed "), lift("global"), beginFree("b", ""), unsent, begin("budget_exhausted daily"),
	}},
	{"what costs nothing counts", "rates: [{name: burst, window: forever, limit: 2}]\nconcurrency: [{name: parallel, limit: 1}]", []step{
		beginFree("", ""), beginFree("", "concurrency_full parallel"), settle, begin(""), beginFree("", "request_rate burst never"), settle, beginFree("", "request_rate burst never"),
	}},
	{"observe denies nothing", "mode: observe\nreplay: {max_nonces: 1}\nconcurrency: [{name: parallel, limit: 1}]\nrates: [{name: burst, window: forever, limit: 1}]", []step{
		beginOnce("a", ""), beginOnce("a", ""), beginOnce("b", ""), settle, beginOnce("c", ""),
	}},
}

// TestLedgersDecideAlike runs every scenario on the embedded ledger and on a
// real Redis: the decisions, reasons and receipts' claims are the same.
func TestLedgersDecideAlike(t *testing.T) {
	server := redistest.Start(t, redistest.Setting("appendfsync", "everysec"))
	shared, err := redis.Open(t.Context(), redis.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	for i, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			own, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer own.Close()
			tenant := fmt.Sprintf("acme-%d", i)
			first, second := play(t, own, tenant, s.rules, s.steps), play(t, shared, tenant, s.rules, s.steps)
			if !slices.Equal(first, second) {
				t.Errorf("embedded:\n%s\nRedis:\n%s", strings.Join(first, "\n"), strings.Join(second, "\n"))
			}
		})
	}
}

func play(t *testing.T, l gate.Ledger, tenant, rules string, steps []step) []string {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), rules: rulesOf(t, rules)}
	w.key().Tenant.Name = tenant
	signer, err := audit.ParseSigner([]byte(signingKey))
	if err != nil {
		t.Fatal(err)
	}
	if w.audit, err = audit.Open(audit.Config{Dir: w.dir + "/receipts", Signer: signer, Sync: audit.SyncNever}); err != nil {
		t.Fatal(err)
	}
	defer w.audit.Close()
	outbox, err := gate.OpenOutbox(w.dir+"/outbox", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Provision(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	w.gate = gate.New(gate.Config{Ledger: l, Log: w.audit, Outbox: outbox})
	w.perform(l, steps)
	var transcript []string
	for _, d := range bodies[audit.Decision](w.receipts()) {
		line := fmt.Sprint(d.Verdict, d.Reasons, d.Facts.Depth, d.Facts.Nonce, d.Facts.Attempt, d.Facts.Counted)
		for _, c := range d.Claims {
			line += fmt.Sprint(" ", c.Rule, c.Key, c.Amount, c.Limit, c.AtEnd, c.Window, c.Group, c.GroupMax, c.Marks, c.Spent, c.Held, c.Reason)
		}
		transcript = append(transcript, line)
	}
	return transcript
}

// perform takes the steps one by one and ends what is open then.
func (w *world) perform(l gate.Ledger, steps []step) {
	w.t.Helper()
	var open []*gate.Grant
	for i, s := range steps {
		switch s.do {
		case "begin":
			grant, err := w.gate.Begin(context.Background(), w.asked(s))
			if err == nil {
				open = append(open, grant)
			}
			if got := told(err); got != s.want {
				w.t.Errorf("step %d: got %q, want %q", i, got, s.want)
			}
		case "throw":
			_, err := l.Throw(w.t.Context(), w.key().Tenant.Name, s.kill)
			w.must(err)
		case "lift":
			_, err := l.Lift(w.t.Context(), w.key().Tenant.Name, s.kill, 0)
			w.must(err)
		default:
			open[0].End(outcomes[s.do])
			open = open[1:]
		}
	}
	for _, grant := range open {
		grant.End(gate.Outcome{})
	}
}

// asked is the call of a step.
func (w *world) asked(s step) gate.Bid {
	bid := w.call(100, cmp.Or(s.output, 50))
	f := &bid.Facts
	f.Model = cmp.Or(s.model, f.Model)
	f.SetNames(s.run, "", s.nonce)
	f.Attempt, f.Counted, f.Depth, f.Tools = s.attempt, s.counted, s.depth, s.offers
	if s.free {
		f.Endpoint, f.Free = call.Moderations, true
	}
	if s.needs != "" {
		f.Needs = []string{s.needs}
	}
	for _, result := range s.tools {
		id, tool, _ := strings.Cut(result, " ")
		f.ToolResults = policy.AddToolResult(f.ToolResults, call.HashName(id), tool)
	}
	return bid
}

var outcomes = map[string]gate.Outcome{
	"settle":   used(90, 40),
	"unbilled": {Status: 500, Sent: true, Basis: audit.BasisUnbilled},
	"unsent":   {},
}

// told is a denial in a few words; "" if there is none.
func told(err error) string {
	refusal, ok := errors.AsType[*call.Denial](err)
	switch {
	case err == nil:
		return ""
	case !ok:
		return err.Error()
	}
	text := string(refusal.Reason) + " " + refusal.Budget
	if refusal.After > 0 {
		text += fmt.Sprintf(" %ds", refusal.After)
	}
	if refusal.Retry == call.RetryNever || refusal.Reason == policy.ReplayedRequest {
		text += " never"
	}
	return text
}
