package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/test/sdk"
)

// TestMessagesSDK: through the real binary each of Anthropic's SDKs sees what it sees at the
// provider, and each denial is the error that it raises for that status, after as many
// requests as may help.
func TestMessagesSDK(t *testing.T) {
	t.Parallel()
	for _, client := range sdk.Anthropic {
		t.Run(client.Name, func(t *testing.T) {
			t.Parallel()
			client.Need(t)
			testMessagesSDK(t, client)
		})
	}
}

func testMessagesSDK(t *testing.T, client sdk.Client) {
	w := newSpokenWorld(t, simulator.Config{}, monthly(ample))
	spent, narrow := w.addTenant("spent", monthly(1)), w.addTenant("narrow", `models: {allow: ["gpt-*"]}`)
	w.writePolicy(2, monthly(ample))
	r := w.start("replica0")
	t.Run("answers", func(t *testing.T) {
		for _, row := range []struct{ scenario, content, finish, betas string }{
			{"chat", sdkAnswer, "max_tokens", ""},
			{"stream", sdkAnswer, "max_tokens", ""},
			{"tools", "", "tool_use", ""},
			{"beta", sdkAnswer, "max_tokens", "cache-keepalive-2026-09-03"},
			{"count", "", "", ""},
			{"model", "", "", ""},
		} {
			t.Run(row.scenario, func(t *testing.T) {
				t.Parallel()
				seen := runAtRoot(t, client, r, w.secret, row.scenario)
				if !seen.OK || seen.Status != 200 || seen.Headers["x-aegis-decision"] != "allow" || seen.Attempts != 1 && row.scenario != "model" {
					t.Fatalf("saw %+v", seen)
				}
				if row.scenario == "model" { // the policy has all of Claude's
					if seen.Model != "claude-haiku-4-5" || !strings.Contains(seen.Content, "claude-opus-5") {
						t.Errorf("saw %+v", seen)
					}
					return
				}
				if seen.Content != row.content || seen.FinishReason != row.finish || seen.Headers["x-aegis-betas-removed"] != row.betas {
					t.Errorf("saw %+v", seen)
				}
				if row.scenario == "tools" && (seen.Tool.Name != "weather" || seen.Tool.Arguments != `{"city":"ledger"}`) {
					t.Errorf("called %+v", seen.Tool)
				}
				if row.scenario == "count" { // which has no receipt
					if seen.Usage.Prompt == 0 {
						t.Errorf("counted %+v", seen.Usage)
					}
					return
				}
				if got := r.verdicts(seen.run); !slices.Equal(got, []string{audit.Allow}) {
					t.Errorf("receipts say %v", got)
				}
			})
		}
	})
	received := w.sim.Totals().Received
	t.Run("denials", func(t *testing.T) {
		for _, row := range []struct {
			name, key           string
			status              int
			class, kind, reason string
		}{
			{"budget exhausted", spent, 402, "PaymentRequiredError", "billing_error", "budget_exhausted"},
			{"model not allowed", narrow, 403, "PermissionDeniedError", "permission_error", "model_not_allowed"},
			{"unknown key", "sk-unknown", 401, "AuthenticationError", "authentication_error", "unknown_key"},
		} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				seen := runAtRoot(t, client, r, row.key, "stream")
				if seen.OK || seen.Status != row.status || seen.Attempts != 1 || seen.Headers["x-should-retry"] != "false" || seen.Headers["retry-after"] != "" {
					t.Errorf("saw %+v", seen)
				}
				if client.Name == sdk.GoMessages.Name {
					row.class = "*apierror.Error"
				}
				if seen.Error.Class != row.class || seen.Error.Type != row.kind || seen.Error.Code != row.reason || !strings.Contains(seen.Error.Message, "aegis: ") {
					t.Errorf("raised %+v", seen.Error)
				}
			})
		}
	})
	if got := w.sim.Totals().Received; got != received || received != 5 {
		t.Errorf("the provider got %d requests, and %d more that were denied", received, got-received)
	}
	for _, call := range w.sim.Calls() {
		if call.Endpoint != simulator.Messages && call.Endpoint != simulator.CountTokens || call.Header.Get("Authorization") != "" {
			t.Errorf("the provider got %s %s with %v", call.Method, call.Path, call.Header)
		}
	}
	eventuallyAtRest(t, r)
	endsClean(t, r)
}
