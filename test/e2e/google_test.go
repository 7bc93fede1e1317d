package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/test/sdk"
)

// TestGoogleSDK: through the real binary each of Google's SDKs sees what it sees at the provider, and each denial is the
// error that it raises for that status, after one request.
func TestGoogleSDK(t *testing.T) {
	t.Parallel()
	for _, client := range sdk.Google {
		t.Run(client.Name, func(t *testing.T) {
			t.Parallel()
			client.Need(t)
			testGoogleSDK(t, client)
		})
	}
}

func testGoogleSDK(t *testing.T, client sdk.Client) {
	w := newSpokenWorld(t, simulator.Config{}, monthly(ample))
	spent, narrow := w.addTenant("spent", monthly(1)), w.addTenant("narrow", `models: {allow: ["gpt-*"]}`)
	w.writePolicy(2, monthly(ample))
	r := w.start("replica0")
	t.Run("answers", func(t *testing.T) {
		for _, row := range []struct{ scenario, content, finish string }{
			{"chat", sdkAnswer, "MAX_TOKENS"},
			{"stream", sdkAnswer, "MAX_TOKENS"},
			{"tools", "", "STOP"},
			{"count", "", ""},
			{"model", "models/gemini-2.5-flash", ""},
		} {
			t.Run(row.scenario, func(t *testing.T) {
				t.Parallel()
				seen := runAtRoot(t, client, r, w.secret, row.scenario)
				if !seen.OK || seen.Status != 200 || seen.Headers["x-aegis-decision"] != "allow" || seen.Attempts != 1 && row.scenario != "model" {
					t.Fatalf("saw %+v", seen)
				}
				if row.scenario == "model" { // the policy has all of Gemini's
					if seen.Model != "models/gemini-2.5-flash" || !strings.Contains(seen.Content, "models/gemini-3.8-flash") {
						t.Errorf("saw %+v", seen)
					}
					return
				}
				if seen.Content != row.content || seen.FinishReason != row.finish || row.scenario == "count" && seen.Usage.Prompt == 0 {
					t.Errorf("saw %+v", seen)
				}
				if row.scenario == "tools" && (seen.Tool.Name != "weather" || seen.Tool.Arguments != `{"city":"ledger"}`) {
					t.Errorf("called %+v", seen.Tool)
				}
				if got := r.verdicts(seen.run); !slices.Equal(got, []string{audit.Allow}) && row.scenario != "count" {
					t.Errorf("receipts say %v", got)
				}
			})
		}
	})
	received := w.sim.Totals().Received
	t.Run("denials", func(t *testing.T) {
		for _, row := range []struct {
			name, key string
			status    int
			kind      string
		}{
			{"budget exhausted", spent, 402, "RESOURCE_EXHAUSTED"},
			{"model not allowed", narrow, 403, "PERMISSION_DENIED"},
			{"unknown key", "sk-unknown", 401, "UNAUTHENTICATED"},
		} {
			for _, scenario := range []string{"chat", "stream"} {
				t.Run(row.name+"/"+scenario, func(t *testing.T) {
					t.Parallel()
					seen := runAtRoot(t, client, r, row.key, scenario)
					if seen.OK || seen.Status != row.status || seen.Attempts != 1 || seen.Headers["x-should-retry"] != "false" || seen.Headers["retry-after"] != "" {
						t.Errorf("saw %+v", seen)
					}
					if seen.Error.Type != row.kind || !strings.Contains(seen.Error.Message, "aegis: ") {
						t.Errorf("raised %+v", seen.Error)
					}
				})
			}
		}
	})
	if got := w.sim.Totals().Received; got != received || received != 4 {
		t.Errorf("the provider got %d requests, and %d more that were denied", received, got-received)
	}
	for _, call := range w.sim.Calls() {
		if call.Header.Get("Authorization") != "" || strings.Contains(call.Query, "key=") {
			t.Errorf("the provider got %s %s with %v", call.Method, call.Path, call.Header)
		}
	}
	eventuallyAtRest(t, r)
	endsClean(t, r)
}
