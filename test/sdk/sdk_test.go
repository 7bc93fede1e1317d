package sdk_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/test/sdk"
)

// The clients are checked against the simulator itself, so that what the
// end-to-end tests see of the proxy is the proxy's doing.

func start(t *testing.T, script func(*simulator.Request) simulator.Answer) (*simulator.Server, string) {
	t.Helper()
	sim := simulator.New(simulator.Config{
		Key:         "sk-test",
		Script:      script,
		CountPrompt: func(*simulator.Request) int64 { return 11 },
	})
	server := httptest.NewServer(sim)
	t.Cleanup(func() {
		sim.Close()
		server.Close()
	})
	return sim, server.URL + "/v1"
}

func eachClient(t *testing.T, test func(t *testing.T, c sdk.Client)) {
	for _, c := range sdk.Clients {
		t.Run(c.Name, func(t *testing.T) {
			c.Need(t)
			test(t, c)
		})
	}
}

func TestAnswers(t *testing.T) {
	const text = "the ledger of a house is kept by"
	for scenario, want := range map[string]func(t *testing.T, s sdk.Seen){
		"chat": func(t *testing.T, s sdk.Seen) {
			if s.Content != text {
				t.Errorf("content %q", s.Content)
			}
		},
		"stream": func(t *testing.T, s sdk.Seen) {
			if s.Content != text || s.Chunks != 10 || s.UsageChunks != 0 {
				t.Errorf("%d chunks, %d with usage, content %q", s.Chunks, s.UsageChunks, s.Content)
			}
		},
		"stream-usage": func(t *testing.T, s sdk.Seen) {
			if s.Content != text || s.Chunks != 11 {
				t.Errorf("%d chunks, content %q", s.Chunks, s.Content)
			}
		},
		"tools": func(t *testing.T, s sdk.Seen) {
			if s.Tool.Name != "weather" || s.Tool.Arguments != `{"city":"ledger"}` {
				t.Errorf("called %+v", s.Tool)
			}
		},
		"embeddings": func(t *testing.T, s sdk.Seen) {
			if len(s.Embeddings) != 2 || s.Embeddings[0] != 1536 {
				t.Errorf("vectors of %v", s.Embeddings)
			}
		},
	} {
		t.Run(scenario, func(t *testing.T) {
			eachClient(t, func(t *testing.T, c sdk.Client) {
				if !c.Tools && (scenario == "tools" || scenario == "embeddings") {
					t.Skip("not one of this client's scenarios")
				}
				sim, url := start(t, nil)
				seen := c.Run(t, url, "sk-test", scenario)
				if !seen.OK || seen.Status != 200 || seen.Attempts != 1 {
					t.Fatalf("saw %+v", seen)
				}
				want(t, seen)
				if got := sim.Totals().Received; got != 1 {
					t.Errorf("%d requests arrived", got)
				}
				if c.Tools && scenario != "stream" && seen.Usage.Prompt != 11 {
					t.Errorf("usage %+v", seen.Usage)
				}
			})
		})
	}
}

func TestErrorsAndAttempts(t *testing.T) {
	stop := map[string][]string{"X-Should-Retry": {"false"}}
	for name, row := range map[string]struct {
		answer   simulator.Answer
		classes  map[string]string
		attempts int // of a client that retries
	}{
		"401":                          {simulator.Fail(401), map[string]string{"python": "AuthenticationError", "node": "AuthenticationError"}, 1},
		"402":                          {simulator.Answer{Status: 402, Header: stop}, map[string]string{"python": "APIStatusError", "node": "APIError", "go": "*apierror.Error"}, 1},
		"403":                          {simulator.Fail(403), map[string]string{"python": "PermissionDeniedError", "node": "PermissionDeniedError"}, 1},
		"409 that must not be retried": {simulator.Answer{Status: 409, Header: stop}, map[string]string{"python": "ConflictError", "node": "ConflictError"}, 1},
		"429":                          {simulator.RateLimited(time.Second), map[string]string{"python": "RateLimitError", "node": "RateLimitError"}, 3},
		"503":                          {simulator.Fail(503), map[string]string{"python": "InternalServerError", "node": "InternalServerError", "go": "*apierror.Error"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			eachClient(t, func(t *testing.T, c sdk.Client) {
				if row.classes[c.Name] == "" && row.answer.Status != 402 {
					t.Skip("this client has one error for every status; 402 shows it")
				}
				sim, url := start(t, simulator.Always(row.answer))
				seen := c.Run(t, url, "sk-test", "chat")
				attempts := row.attempts
				if !c.Retries {
					attempts = 1
				}
				if seen.OK || seen.Status != row.answer.Status || seen.Attempts != attempts {
					t.Errorf("saw %+v, want %d attempts", seen, attempts)
				}
				if arrived := int(sim.Totals().Received); arrived != attempts {
					t.Errorf("%d requests arrived, want %d", arrived, attempts)
				}
				if want := row.classes[c.Name]; want != "" && seen.Error.Class != want {
					t.Errorf("raised %s, want %s", seen.Error.Class, want)
				}
			})
		})
	}
}

func TestHeldRequestIsRetriedAndServed(t *testing.T) {
	eachClient(t, func(t *testing.T, c sdk.Client) {
		if !c.Retries {
			t.Skip("this client does not retry")
		}
		_, url := start(t, simulator.InTurn(simulator.RateLimited(time.Second), simulator.Answer{}))
		if seen := c.Run(t, url, "sk-test", "chat"); !seen.OK || seen.Attempts != 2 {
			t.Errorf("saw %+v", seen)
		}
	})
}

func TestJavaAsksForAnUpgrade(t *testing.T) {
	sim, url := start(t, nil)
	java := sdk.Clients[len(sdk.Clients)-1]
	java.Need(t)
	seen := java.Run(t, url, "sk-test", "chat")
	if seen.Version != "HTTP_1_1" || sim.Calls()[0].Header.Get("Upgrade") != "h2c" {
		t.Errorf("version %s, headers %v", seen.Version, sim.Calls()[0].Header)
	}
}

// TestMessages: Anthropic's SDKs against the simulator itself. Each sends its key where it
// does, and raises its own error for a status.
func TestMessages(t *testing.T) {
	const answer = "the ledger of a house is kept by"
	for _, client := range sdk.Anthropic {
		client.Need(t)
		for scenario, content := range map[string]string{"chat": answer, "stream": answer, "beta": answer, "tools": "", "count": ""} {
			t.Run(client.Name+"/"+scenario, func(t *testing.T) {
				sim, url := start(t, nil)
				seen := client.Run(t, strings.TrimSuffix(url, "/v1"), "sk-test", scenario)
				if !seen.OK || seen.Status != 200 || seen.Attempts != 1 || seen.Content != content || seen.Usage.Prompt != 11 {
					t.Errorf("saw %+v", seen)
				}
				if scenario == "tools" && (seen.Tool.Name != "weather" || seen.Tool.Arguments != `{"city":"ledger"}`) {
					t.Errorf("called %+v", seen.Tool)
				}
				sent := sim.Calls()[0].Header
				bearer, plain := sent.Get("Authorization") == "Bearer sk-test", sent.Get("X-Api-Key") == "sk-test"
				if plain != (client.Name == sdk.GoMessages.Name) || bearer == plain {
					t.Errorf("sent %v", sent)
				}
			})
		}
		for status, class := range map[int]string{402: "PaymentRequiredError", 403: "PermissionDeniedError", 529: "OverloadedError"} {
			if client.Name == sdk.GoMessages.Name {
				class = "*apierror.Error"
			}
			_, url := start(t, simulator.Always(simulator.Answer{Status: status, Header: map[string][]string{"X-Should-Retry": {"false"}}}))
			seen := client.Run(t, strings.TrimSuffix(url, "/v1"), "sk-test", "chat")
			if seen.OK || seen.Status != status || seen.Attempts != 1 || seen.Error.Class != class {
				t.Errorf("%s, %d: saw %+v", client.Name, status, seen)
			}
		}
	}
}

// TestResponses: OpenAI's SDKs read the simulated Responses API as they would the real one.
func TestResponses(t *testing.T) {
	const answer = "the ledger of a house is kept by"
	for _, client := range sdk.Responses {
		client.Need(t)
		for scenario, finish := range map[string]string{"chat": "incomplete", "stream": "incomplete", "tools": "completed", "chain": "incomplete", "count": "", "compact": "response.compaction"} {
			t.Run(client.Name+"/"+scenario, func(t *testing.T) {
				_, url := start(t, nil)
				seen := client.Run(t, url, "sk-test", scenario)
				if !seen.OK || seen.Status != 200 || seen.FinishReason != finish || seen.Usage.Prompt != 11 {
					t.Fatalf("saw %+v", seen)
				}
				if finish == "incomplete" && !strings.HasPrefix(seen.Content, answer) {
					t.Errorf("content %q", seen.Content)
				}
				if scenario == "tools" && (seen.Tool.Name != "weather" || seen.Tool.Arguments != `{"city":"ledger"}`) {
					t.Errorf("called %+v", seen.Tool)
				}
			})
		}
	}
	t.Run("python/parse", func(t *testing.T) {
		_, url := start(t, nil)
		if seen := sdk.Responses[0].Run(t, url, "sk-test", "parse"); !seen.OK || seen.Content != "ledger" {
			t.Errorf("saw %+v", seen)
		}
	})
}
