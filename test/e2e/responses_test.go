package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/test/sdk"
)

// TestResponsesSDK: through the real binary each of OpenAI's SDKs sees of the Responses API
// what it sees at the provider, and each denial is the error that it raises for that status,
// after one request.
func TestResponsesSDK(t *testing.T) {
	t.Parallel()
	for _, client := range sdk.Responses {
		t.Run(client.Name, func(t *testing.T) {
			t.Parallel()
			client.Need(t)
			testResponsesSDK(t, client)
		})
	}
}

func testResponsesSDK(t *testing.T, client sdk.Client) {
	w := newWorld(t, simulator.Config{}, monthly(ample))
	spent, narrow := w.addTenant("spent", monthly(1)), w.addTenant("narrow", `models: {allow: ["o*"]}`)
	w.writePolicy(2, monthly(ample))
	r := w.start("replica0")
	t.Run("answers", func(t *testing.T) {
		for _, row := range []struct {
			scenario, content, finish string
			receipts                  int
		}{
			{"chat", sdkAnswer, "incomplete", 1},
			{"stream", sdkAnswer, "incomplete", 1},
			{"tools", "", "completed", 2},
			{"chain", sdkAnswer, "incomplete", 2},
			{"count", "", "", 0},
			{"compact", "", "response.compaction", 1},
			{"parse", "ledger", "completed", 1},
		} {
			if row.scenario == "parse" && client.Name != "python" {
				continue
			}
			t.Run(row.scenario, func(t *testing.T) {
				t.Parallel()
				seen := runClient(t, client, r, w.secret, row.scenario)
				if !seen.OK || seen.Status != 200 || seen.Headers["x-aegis-decision"] != "allow" {
					t.Fatalf("saw %+v", seen)
				}
				if !strings.HasPrefix(seen.Content, row.content) || seen.FinishReason != row.finish || seen.Usage.Prompt == 0 {
					t.Errorf("saw %+v", seen)
				}
				if row.scenario == "tools" && (seen.Tool.Name != "weather" || seen.Tool.Arguments != `{"city":"ledger"}`) {
					t.Errorf("called %+v", seen.Tool)
				}
				if got, want := r.verdicts(seen.run), slices.Repeat([]string{audit.Allow}, row.receipts); !slices.Equal(got, want) {
					t.Errorf("receipts say %v", got)
				}
			})
		}
	})
	received := w.sim.Totals().Received
	t.Run("denials", func(t *testing.T) {
		for _, row := range []struct {
			name, key   string
			status      int
			class, code string
		}{
			{"budget exhausted", spent, 402, "APIStatusError", "insufficient_quota"},
			{"model not allowed", narrow, 403, "PermissionDeniedError", "model_not_allowed"},
			{"unknown key", "sk-unknown", 401, "AuthenticationError", "invalid_api_key"},
		} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				seen := runClient(t, client, r, row.key, "stream")
				if seen.OK || seen.Status != row.status || seen.Attempts != 1 || seen.Headers["x-should-retry"] != "false" {
					t.Errorf("saw %+v", seen)
				}
				switch {
				case client.Name == "go":
					row.class = "*apierror.Error"
				case client.Name == "node" && row.status == 402:
					row.class = "APIError"
				}
				if seen.Error.Class != row.class || seen.Error.Code != row.code || !strings.Contains(seen.Error.Message, "aegis: ") {
					t.Errorf("raised %+v", seen.Error)
				}
			})
		}
	})
	if got := w.sim.Totals().Received; got != received {
		t.Errorf("the provider got %d requests that were denied", got-received)
	}
	eventuallyAtRest(t, r)
	endsClean(t, r)
}
