package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// TestRunOfARequest: what a request names outright goes first, then the places of runs_from in
// their order.
func TestRunOfARequest(t *testing.T) {
	const places = "runs_from: [x-first, agent, x-last]"
	const claude, codex = "claude-cli/2.1.332 (external, cli)", "codex_exec/0.171.0 (Debian)"
	long := strings.Repeat("r", 257)
	for _, row := range []struct {
		name, rules, path string
		headers           []string
		run               string
		code              string // of a request that is refused
	}{
		{"nothing is looked for", "mode: enforce", chatPath, []string{"User-Agent", claude, "X-Claude-Code-Session-Id", "s"}, "", ""},
		{"none is there", places, chatPath, nil, "", ""},
		{"a header", places, chatPath, []string{"x-last", "l"}, "l", ""},
		{"the first of two", places, chatPath, []string{"X-Last", "l", "X-First", "f"}, "f", ""},
		{"an empty one names nothing", places, chatPath, []string{"X-First", "", "X-Last", "l"}, "l", ""},
		{"Claude Code's session", places, chatPath, []string{"User-Agent", claude, "X-Claude-Code-Session-Id", "s", "X-Last", "l"}, "s", ""},
		{"Codex' session", places, chatPath, []string{"User-Agent", codex, "Thread-Id", "t", "Session-Id", "s"}, "s", ""},
		{"Codex' session in its older spelling", places, chatPath, []string{"User-Agent", codex, "session_id", "s"}, "s", ""},
		{"Codex' thread", places, chatPath, []string{"User-Agent", codex, "thread-id", "t"}, "t", ""},
		{"a session that another program tells", places, chatPath, []string{"User-Agent", "curl/8", "Session-Id", "s"}, "", ""},
		{"our header goes before", places, chatPath, []string{"User-Agent", claude, "X-Claude-Code-Session-Id", "s", "X-Aegis-Run", "mine", "X-First", "f"}, "mine", ""},
		{"the path goes before", places, "/run/mine" + chatPath, []string{"X-First", "f"}, "mine", ""},
		{"two values", places, chatPath, []string{"X-First", "a", "X-First", "b"}, "", "invalid_run"},
		{"one value twice", places, chatPath, []string{"X-First", "a", "X-First", "a"}, "a", ""},
		{"two values behind one that counts", places, chatPath, []string{"X-First", "f", "X-Last", "a", "X-Last", "b"}, "f", ""},
		{"a name that is too long", places, chatPath, []string{"X-First", long}, "", "invalid_run"},
		{"a field of the body", "runs_from: [x-first, body.model]", chatPath, nil, "toy", ""},
		{"a header before a field", "runs_from: [x-first, body.model]", chatPath, []string{"X-First", "f"}, "f", ""},
		{"a field that is not there", "runs_from: [body.conversation, x-last]", chatPath, []string{"X-Last", "l"}, "l", ""},
		{"a field that is no string", "runs_from: [body.messages, x-last]", chatPath, []string{"X-Last", "l"}, "l", ""},
		{"none where one is required", places + "\nrun_required: true", chatPath, nil, "", "run_required"},
		{"one where one is required", places + "\nrun_required: true", chatPath, []string{"X-Last", "l"}, "l", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := simulated(t, simulator.Config{}, rule(row.rules))
			mustName(t, w, row.path, row.headers, row.code, func(f *call.Facts) (call.Name, string) { return f.Run, row.run })
		})
	}
}

// TestUserOfARequest: the header that the policy names goes before the field.
func TestUserOfARequest(t *testing.T) {
	const header, both = "user_header: x-end-user", "user_header: x-end-user\nuser_field: model"
	for _, row := range []struct {
		name, rules string
		headers     []string
		user, code  string
	}{
		{"a header that nobody named", "mode: enforce", []string{"X-End-User", "u"}, "", ""},
		{"the header", header, []string{"X-End-User", "u"}, "u", ""},
		{"the header goes before the field", both, []string{"X-End-User", "u"}, "u", ""},
		{"the field, where the header is empty", both, []string{"X-End-User", ""}, "toy", ""},
		{"two values", header, []string{"X-End-User", "a", "X-End-User", "b"}, "", "invalid_user"},
		{"a name that is too long", header, []string{"X-End-User", strings.Repeat("u", 257)}, "", "invalid_user"},
		{"none where one is required", header + "\nuser_required: true", nil, "", "user_required"},
		{"one where one is required", header + "\nuser_required: true", []string{"X-End-User", "u"}, "u", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, _ := simulated(t, simulator.Config{}, rule(row.rules))
			mustName(t, w, chatPath, row.headers, row.code, func(f *call.Facts) (call.Name, string) { return f.User, row.user })
		})
	}
}

// TestHeadersOfNamesGoOn to the upstream as the client sent them, but for ours.
func TestHeadersOfNamesGoOn(t *testing.T) {
	var got received
	w := newWorld(t, setting{
		upstreams: []http.Handler{recorder(&got)},
		tenant:    ampleBudget + "\nruns_from: [x-session]\nuser_header: x-aegis-user",
	})
	mustAllow(t, w.post(chatPath, hello, "X-Session", "s", "X-Aegis-User", "u"))
	if got.header.Get("X-Session") != "s" || got.header["X-Aegis-User"] != nil {
		t.Errorf("the upstream got %v", got.header)
	}
	for _, d := range read[audit.Decision](w) {
		if d.Facts.Run != call.HashName("s") || d.Facts.User != call.HashName("u") {
			t.Errorf("run %s, user %s", d.Facts.Run, d.Facts.User)
		}
	}
}

// mustName sends a request, and holds the name that its receipt has against the one that is wanted, or
// its denial against a code.
func mustName(t *testing.T, w *world, path string, headers []string, code string, of func(*call.Facts) (got call.Name, want string)) {
	t.Helper()
	r := request(t.Context(), w.front.URL+path, hello)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	a := w.do(r)
	if code != "" {
		mustDeny(t, a, 400, code, "false", "")
		w.nothingReserved()
		return
	}
	mustAllow(t, a)
	for _, d := range read[audit.Decision](w) {
		if got, want := of(&d.Facts); got != call.HashName(want) {
			t.Errorf("it is named %q, want the name of %q", got, want)
		}
	}
}

// TestSessionsShareTheBudgetOfTheirKey: two sessions have a budget each, and no third one
// gets past what both may spend together.
func TestSessionsShareTheBudgetOfTheirKey(t *testing.T) {
	w, _ := simulated(t, simulator.Config{}, setting{tenant: "runs_from: [x-session]\nbudgets: [{name: key, scope: key, window: forever, limit_usd: \"0.000004\"}, {name: run, scope: run, window: forever, limit_usd: \"0.0000008\"}]"})
	denied := map[string]string{}
	for i := range 26 * 15 {
		session := string(rune('a' + i/15))
		if a := w.post(chatPath, hello, "X-Session", session); a.status != 200 {
			denied[session] = a.body
		}
	}
	if spent, held := w.balance(); spent > 4000 || spent < 3000 || held != 0 {
		t.Errorf("%d nano-USD are spent of 4000, %d are held", spent, held)
	}
	if !strings.Contains(denied["a"], `\"run\"`) || !strings.Contains(denied["z"], `\"key\"`) {
		t.Errorf("the first session was told %q, the last %q", denied["a"], denied["z"])
	}
}
