package agents

import (
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/gatetest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestSessionsAreRuns: where the policy says that a run is what the agent says, two sessions of
// Claude Code and two of Codex with one key are four runs, each with all its requests.
// The agents know nothing of runs, and none may be without.
func TestSessionsAreRuns(t *testing.T) {
	w := &world{dir: t.TempDir()}
	w.sim = simulator.New(simulator.Config{Key: upstreamSecret, Script: w.script, Models: []string{"claude-opus-5", "gpt-5"}})
	w.upstream = httptest.NewServer(w.sim)
	t.Cleanup(func() {
		w.sim.Close()
		w.upstream.Close()
	})
	secret, hash := policy.NewSecret()
	rules := fmt.Sprintf(policyText, w.upstream.URL) + fmt.Sprintf("  - name: all\n    keys: [{id: all, sha256: \"%s\"}]\n    runs_from: [agent]\n    run_required: true\n"+
		"    hosted_tools: [{kind: web_search, when_offered: strip}]\n    budgets: [{name: run, scope: run, window: forever, limit_usd: \"100000\"}]\n", hex.EncodeToString(hash[:]))
	policyFile := filepath.Join(w.dir, "policy.yaml")
	if err := os.WriteFile(policyFile, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := w.serve(t, policyFile, "proxy")
	t.Run("of", func(t *testing.T) {
		for _, name := range []string{"claude-code", "codex"} {
			for _, session := range []string{"first", "second"} {
				t.Run(name+"/"+session, func(t *testing.T) {
					t.Parallel()
					converse(t, clientNamed(name), proxy.url, secret)
				})
			}
		}
	})
	requests := map[string]map[call.Name]int{}
	for _, d := range gatetest.Receipts[audit.Decision](t, filepath.Join(w.dir, "proxy", "receipts")) {
		if d.Verdict != audit.Allow {
			t.Errorf("%s was denied: %q", d.Facts.Endpoint, d.Reasons)
		}
		if requests[d.Facts.Dialect] == nil {
			requests[d.Facts.Dialect] = map[call.Name]int{}
		}
		requests[d.Facts.Dialect][d.Facts.Run]++
	}
	for _, dialect := range []string{"anthropic", "openai"} {
		runs := requests[dialect]
		if len(runs) != 2 || runs[""] > 0 {
			t.Errorf("the requests of %s by run: %v", dialect, runs)
		}
		for run, n := range runs {
			if n < 2 {
				t.Errorf("run %s has %d request; one called a tool and the other brought its result", run, n)
			}
		}
	}
}

// converse runs an agent through a conversation of two requests, straight at the proxy.
func converse(t *testing.T, c client, url, key string) {
	dir := t.TempDir()
	for _, sub := range []string{"home", "work"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r := c.start(t.Context(), job{Case: "tool", Base: url, Key: key, Dir: filepath.Join(dir, "work")}, dir)
	if !strings.Contains(spaces.ReplaceAllString(r.Output, " "), saidAfter) {
		t.Errorf("a person does not read %q:\n%s", saidAfter, r.Output)
	}
}
