package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/test/sdk"
)

// addTenant adds a tenant with one key to the policy that is written next, and
// returns the key.
func (w *world) addTenant(name, rules string) string {
	secret, hash := policy.NewSecret()
	w.layout += fmt.Sprintf("  - name: %s\n    keys: [{id: %s-1, sha256: %q}]\n    %s\n",
		name, name, hex.EncodeToString(hash[:]), rules)
	return secret
}

// sdkRun is one run of a client program. Its run id leads to its receipts.
type sdkRun struct {
	sdk.Seen
	run string
}

// runClient runs a program as an application that was given a base URL and a
// key, and nothing else.
func runClient(t *testing.T, c sdk.Client, r *replica, key, scenario string, settings ...string) sdkRun {
	t.Helper()
	run := runOf(t)
	return sdkRun{c.Run(t, r.url+"/run/"+run+"/v1", key, scenario, settings...), run}
}

// runAtRoot is runClient for a program that puts the version of its API into the path by itself.
func runAtRoot(t *testing.T, c sdk.Client, r *replica, key, scenario string) sdkRun {
	t.Helper()
	run := runOf(t)
	return sdkRun{c.Run(t, r.url+"/run/"+run, key, scenario), run}
}

// runOf is the run of a test's client.
func runOf(t *testing.T) string { return strings.ReplaceAll(t.Name(), "/", ".") }

// verdicts are the verdicts of a run's decisions, in their order.
func (r *replica) verdicts(run string) []string {
	r.t.Helper()
	var list []string
	for _, receipt := range r.receipts() {
		if d, ok := receipt.Body.(audit.Decision); ok && d.Facts.Run == call.HashName(run) {
			list = append(list, d.Verdict)
		}
	}
	return list
}

// eachSDK tests every client program, beside each other.
func eachSDK(t *testing.T, test func(t *testing.T, c sdk.Client)) {
	for _, c := range sdk.Clients {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Need(t)
			test(t, c)
		})
	}
}

// sdkAnswer is what the simulated provider says to a request for 8 tokens.
const sdkAnswer = "the ledger of a house is kept by"

// sdkAnswers are the scenarios with what an application must see.
var sdkAnswers = []struct {
	scenario string
	tools    bool // only clients that know tools and embeddings have it
	check    func(t *testing.T, c sdk.Client, s sdk.Seen)
}{
	{"chat", false, func(t *testing.T, _ sdk.Client, s sdk.Seen) {
		if s.Content != sdkAnswer {
			t.Errorf("content %q", s.Content)
		}
	}},
	{"stream", false, func(t *testing.T, _ sdk.Client, s sdk.Seen) {
		if s.Content != sdkAnswer || s.Chunks != 10 || s.UsageChunks != 0 || strings.Contains(s.Body, "usage") {
			t.Errorf("%d chunks, %d with usage, content %q", s.Chunks, s.UsageChunks, s.Content)
		}
	}},
	{"stream-usage", false, func(t *testing.T, c sdk.Client, s sdk.Seen) {
		if s.Content != sdkAnswer || s.Chunks != 11 || c.Tools && s.UsageChunks != 1 || !c.Tools && !strings.Contains(s.Body, `"usage":{`) {
			t.Errorf("%d chunks, %d with usage, content %q", s.Chunks, s.UsageChunks, s.Content)
		}
	}},
	{"tools", true, func(t *testing.T, _ sdk.Client, s sdk.Seen) {
		if s.Tool.Name != "weather" || s.Tool.Arguments != `{"city":"ledger"}` || s.FinishReason != "tool_calls" {
			t.Errorf("called %+v, finished by %s", s.Tool, s.FinishReason)
		}
	}},
	{"embeddings", true, func(t *testing.T, _ sdk.Client, s sdk.Seen) {
		if len(s.Embeddings) != 2 || s.Embeddings[0] != 1536 {
			t.Errorf("vectors of %v", s.Embeddings)
		}
	}},
}

// TestSDKAnswers: through the proxy the official SDKs, and Java's own client
// with its Upgrade: h2c, see what they see at the provider.
func TestSDKAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{}, monthly(ample))
	r := w.start("replica0")
	t.Run("scenario", func(t *testing.T) {
		for _, row := range sdkAnswers {
			t.Run(row.scenario, func(t *testing.T) {
				eachSDK(t, func(t *testing.T, c sdk.Client) {
					if row.tools && !c.Tools {
						t.Skip("not one of this client's scenarios")
					}
					seen := runClient(t, c, r, w.secret, row.scenario)
					if !seen.OK || seen.Status != 200 || seen.Attempts != 1 || seen.Headers["x-aegis-decision"] != "allow" {
						t.Fatalf("saw %+v", seen)
					}
					row.check(t, c, seen.Seen)
					if got := r.verdicts(seen.run); !slices.Equal(got, []string{audit.Allow}) {
						t.Errorf("receipts say %v", got)
					}
				})
			})
		}
	})
	for _, call := range w.sim.Calls() {
		if call.Stream && !call.IncludeUsage {
			t.Error("the provider was not asked for the usage of a stream")
		}
		if call.Header.Get("Upgrade") != "" {
			t.Error("an upgrade reached the provider")
		}
	}
	eventuallyAtRest(t, r)
	endsClean(t, r)
}

// TestSDKFree: what costs nothing passes for the official SDKs as at the provider, under a
// base URL with slashes too many, and no receipt tells of it.
func TestSDKFree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{}, monthly(ample))
	r := w.start("replica0")
	t.Run("scenario", func(t *testing.T) {
		for scenario, want := range map[string]struct{ model, content string }{
			"model":      {"gpt-4o-mini", ""},
			"moderation": {"omni-moderation-latest", "false"},
		} {
			t.Run(scenario, func(t *testing.T) {
				eachSDK(t, func(t *testing.T, c sdk.Client) {
					if !c.Free {
						t.Skip("not one of this client's scenarios")
					}
					run := runOf(t)
					seen := c.Run(t, r.url+"/run/"+run+"//v1/", w.secret, scenario)
					if !seen.OK || seen.Status != 200 || seen.Attempts != 1 || seen.Model != want.model || seen.Content != want.content {
						t.Errorf("saw %+v", seen)
					}
					if receipt, told := seen.Headers["x-aegis-receipt"]; told || seen.Headers["x-aegis-decision"] != "allow" {
						t.Errorf("receipt %q, headers %v", receipt, seen.Headers)
					}
					if got := r.verdicts(run); len(got) > 0 {
						t.Errorf("receipts say %v", got)
					}
				})
			})
		}
	})
	eventuallyAtRest(t, r)
	endsClean(t, r)
}

// sdkRefusal is a denial as applications see it, with the names of the errors
// that the Python and Node SDKs raise. Go's has one error for every status.
type sdkRefusal struct {
	status int
	code   string
	python string
	node   string
	retry  string // what X-Should-Retry says
}

func (want sdkRefusal) class(c sdk.Client) string {
	return map[string]string{"python": want.python, "node": want.node, "go": "*apierror.Error"}[c.Name]
}

// attempts is how often a client tries: SDKs retry twice.
func (want sdkRefusal) attempts(c sdk.Client) int {
	if want.retry == "true" && c.Retries {
		return 3
	}
	return 1
}

func (want sdkRefusal) check(t *testing.T, c sdk.Client, s sdk.Seen) {
	t.Helper()
	if s.OK || s.Status != want.status || s.Attempts != want.attempts(c) || s.Headers["x-aegis-decision"] != "deny" {
		t.Errorf("saw %+v, want %d after %d attempts", s, want.status, want.attempts(c))
	}
	if s.Headers["x-should-retry"] != want.retry || (s.Headers["retry-after"] != "") != (want.retry == "true") {
		t.Errorf("told when to retry by %v", s.Headers)
	}
	if s.Error.Class != want.class(c) {
		t.Errorf("raised %s, want %s", s.Error.Class, want.class(c))
	}
	if c.Retries && (s.Error.Code != want.code || !strings.Contains(s.Error.Message, "aegis: ")) {
		t.Errorf("the error says %+v, want code %s", s.Error, want.code)
	}
	if !c.Retries && !strings.Contains(s.Body, `"code":"`+want.code+`"`) {
		t.Errorf("the body is %s, want code %s", s.Body, want.code)
	}
}

// TestSDKDenials: each denial is the error that the SDK raises for its status,
// with our code and message, after as many attempts as may help.
func TestSDKDenials(t *testing.T) {
	t.Parallel()
	holding, release := context.WithCancel(context.Background())
	w := newWorld(t, simulator.Config{Script: func(*simulator.Request) simulator.Answer {
		<-holding.Done()
		return simulator.Answer{}
	}}, monthly(ample))
	t.Cleanup(release)
	hold := request{cap: 1000}
	keys := map[string]string{
		"unknown": "sk-unknown",
		"spent":   w.addTenant("spent", monthly(1)),
		"capped":  w.addTenant("capped", `per_request_usd: "0.000000001"`),
		"narrow":  w.addTenant("narrow", `models: {allow: ["gpt-4o-mini"]}`),
		"mute":    w.addTenant("mute", `capabilities: [embeddings]`),
		"crowded": w.addTenant("crowded", monthly(bound(t, hold)+1)),
		"acme":    w.secret,
	}
	w.writePolicy(2, monthly(ample))
	r := w.start("replica0")
	held := w.hold(r, keys["crowded"], hold)
	w.await(func(totals simulator.Totals) bool { return totals.Open == 1 })

	t.Run("denial", func(t *testing.T) {
		for _, row := range []struct {
			name     string
			tenant   string
			settings []string
			want     sdkRefusal
		}{
			{"unknown key", "unknown", nil, sdkRefusal{401, "invalid_api_key", "AuthenticationError", "AuthenticationError", "false"}},
			{"budget exhausted", "spent", nil, sdkRefusal{402, "insufficient_quota", "APIStatusError", "APIError", "false"}},
			{"request cap", "capped", nil, sdkRefusal{402, "insufficient_quota", "APIStatusError", "APIError", "false"}},
			{"model not allowed", "narrow", []string{"SDK_MODEL=gpt-4o"}, sdkRefusal{403, "model_not_allowed", "PermissionDeniedError", "PermissionDeniedError", "false"}},
			{"capability not allowed", "mute", nil, sdkRefusal{403, "capability_not_allowed", "PermissionDeniedError", "PermissionDeniedError", "false"}},
			{"no price", "acme", []string{"SDK_MODEL=nobody-knows-it"}, sdkRefusal{403, "no_price", "PermissionDeniedError", "PermissionDeniedError", "false"}},
			{"held to the end", "crowded", nil, sdkRefusal{429, "rate_limit_exceeded", "RateLimitError", "RateLimitError", "true"}},
		} {
			t.Run(row.name, func(t *testing.T) {
				eachSDK(t, func(t *testing.T, c sdk.Client) {
					seen := runClient(t, c, r, keys[row.tenant], "chat", row.settings...)
					row.want.check(t, c, seen.Seen)
					denials := slices.Repeat([]string{audit.Deny}, row.want.attempts(c))
					if row.tenant == "unknown" {
						denials = nil // nobody's budget, nobody's receipt
					}
					if got := r.verdicts(seen.run); !slices.Equal(got, denials) {
						t.Errorf("receipts say %v, want %v", got, denials)
					}
				})
			})
		}
	})
	if got := w.sim.Totals().Received; got != 1 {
		t.Errorf("the provider got %d requests beside the one that holds the budget", got-1)
	}
	release()
	if err := wantStatus(<-held, 200); err != nil {
		t.Error(err)
	}
	endsClean(t, r)
}

// holdLimit bounds a request that is held until all SDKs have been denied.
const holdLimit = 10 * time.Minute

// hold sends a request with another tenant's key, and tells its answer when it
// comes.
func (w *world) hold(r *replica, key string, q request) <-chan response {
	answer := make(chan response, 1)
	client := newClient(w.t)
	client.Timeout = holdLimit
	q.headers = map[string]string{"Authorization": "Bearer " + key}
	go func() {
		resp, err := w.send(context.Background(), client, r, q)
		if err != nil {
			resp.body = err.Error()
		}
		answer <- resp
	}()
	return answer
}

// TestSDKWaitsForHeldBudget: where other requests hold the budget, the SDK
// tries again when it is told to, and is served when they have ended.
func TestSDKWaitsForHeldBudget(t *testing.T) {
	t.Parallel()
	arrived, ended := map[string]chan struct{}{}, map[string]chan struct{}{}
	w := newWorld(t, simulator.Config{Script: func(r *simulator.Request) simulator.Answer {
		for name := range arrived {
			if bytes.Contains(r.Body, []byte("hold for "+name)) {
				close(arrived[name])
				<-ended[name]
			}
		}
		return simulator.Answer{OutputTokens: 1}
	}}, monthly(ample))
	holder := func(c sdk.Client) request { return request{cap: 1000, prompt: "hold for " + c.Name} }
	keys := map[string]string{}
	for _, c := range sdk.Clients {
		arrived[c.Name], ended[c.Name] = make(chan struct{}), make(chan struct{})
		keys[c.Name] = w.addTenant(c.Name, monthly(bound(t, holder(c))+1))
	}
	w.writePolicy(2, monthly(ample))
	r := w.start("replica0")

	t.Run("client", func(t *testing.T) {
		eachSDK(t, func(t *testing.T, c sdk.Client) {
			if !c.Retries {
				t.Skip("this client does not retry")
			}
			held := w.hold(r, keys[c.Name], holder(c))
			<-arrived[c.Name]
			go func() { // once the SDK was refused
				defer close(ended[c.Name])
				for t.Context().Err() == nil && len(r.verdicts(runOf(t))) == 0 {
					time.Sleep(pollEvery)
				}
			}()
			seen := runClient(t, c, r, keys[c.Name], "chat")
			if err := wantStatus(<-held, 200); err != nil {
				t.Error(err)
			}
			if !seen.OK || seen.Status != 200 || seen.Attempts < 2 {
				t.Errorf("saw %+v", seen)
			}
			want := append(slices.Repeat([]string{audit.Deny}, seen.Attempts-1), audit.Allow)
			if got := r.verdicts(seen.run); !slices.Equal(got, want) {
				t.Errorf("receipts say %v, want %v", got, want)
			}
		})
	})
	endsClean(t, r)
}

// TestSDKLedgerUnavailable: without its ledger the proxy is the SDK's server
// error, tried again and never waved through.
func TestSDKLedgerUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Config{}, monthly(ample))
	server, replicas := w.onRedis(1)
	server.Kill()
	want := sdkRefusal{503, "ledger_unavailable", "InternalServerError", "InternalServerError", "true"}
	t.Run("client", func(t *testing.T) {
		eachSDK(t, func(t *testing.T, c sdk.Client) {
			want.check(t, c, runClient(t, c, replicas[0], w.secret, "chat").Seen)
		})
	})
	if got := w.sim.Totals().Received; got != 0 {
		t.Errorf("the provider got %d requests", got)
	}
	if code := replicas[0].stop(); code != 0 {
		t.Errorf("proxy ended with %d\n%s", code, replicas[0].log())
	}
}
