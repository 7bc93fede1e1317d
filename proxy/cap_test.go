package proxy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// words is a text of so many tokens, in every encoding.
func words(n int) string { return strings.Repeat(" hello", n) }

// TestCapAndInputFitTheContext: where the client gives no cap, what the upstream gets
// is served by one that takes no more than input and cap in its context, near every
// limit and far from it; and the hold covers what it may write.
func TestCapAndInputFitTheContext(t *testing.T) {
	for _, row := range []struct {
		name, model string
		path        string // "": chat
		members     string
		tokens      int // of the prompt
		context     int64
		most        int64 // that the model writes
		cap         bool  // that one is sent
	}{
		{"all of the context is its maximum", "gpt-4", "", "", 1, 8192, 8192, true},
		{"half of the context is taken", "gpt-4", "", "", 4000, 8192, 8192, true},
		{"next to nothing is left", "gpt-4", "", "", 8170, 8192, 8192, true},
		{"the input alone is too long", "gpt-4", "", "", 9000, 8192, 8192, false},
		{"below the maximum", "gpt-4o-mini", "", "", 111_600, 128_000, 16_384, true},
		{"above the maximum", "gpt-4o-mini", "", "", 120_000, 128_000, 16_384, true},
		{"a cap of null", "gpt-4", "", `"max_tokens":null,`, 100, 8192, 8192, true},
		{"two choices", "gpt-4", "", `"n":2,`, 100, 8192, 8192, true},
		{"small beside a large context", "gpt-4o-mini", "", "", 10, 128_000, 16_384, true},
	} {
		for _, limit := range []string{"9", "9000"} {
			t.Run(row.name+", of "+limit+" USD", func(t *testing.T) {
				var got struct {
					First  *int64 `json:"max_tokens"`
					Second *int64 `json:"max_completion_tokens"`
				}
				w := newWorld(t, setting{
					tenant: `budgets: [{name: daily, window: forever, limit_usd: "` + limit + `"}]`,
					upstreams: []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						body, _ := io.ReadAll(r.Body)
						_ = json.Unmarshal(body, &got)
						io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
					})},
				})
				for range 2 { // the second time the gate knows how far the limit is
					got.First, got.Second = nil, nil
					body := `{"model":"` + row.model + `",` + row.members + `"messages":[{"role":"user","content":"` + words(row.tokens) + `"}]}`
					a := w.post(chatPath, body)
					if a.status != 200 || a.header.Get("X-Aegis-Output-Cap") != "" {
						t.Fatalf("%d %v %s", a.status, a.header, a.body)
					}
					list := read[audit.Decision](w)
					facts := list[len(list)-1].Facts
					if (got.Second != nil) != row.cap {
						t.Fatalf("cap %v sent, input %d (%s)", got.Second, facts.InputTokens, facts.InputBound)
					}
					most := row.most
					if row.cap {
						most = *got.Second
						if want := min(row.most, row.context-facts.InputTokens); most < 1 || most+facts.InputTokens > row.context || facts.InputBound == "exact" && most != want {
							t.Errorf("cap %d beside %d tokens (%s), want %d", most, facts.InputTokens, facts.InputBound, want)
						}
					}
					if facts.Uncapped == row.cap || facts.Dialect != "openai" {
						t.Errorf("the receipt says uncapped %v, dialect %q", facts.Uncapped, facts.Dialect)
					}
					if facts.OutputCap != most {
						t.Errorf("the hold covers %d tokens of output, not %d", facts.OutputCap, most)
					}
				}
			})
		}
	}
}

// TestCapOfTheClientStays, also where it does not fit beside the input: then the
// upstream's error is the client's own.
func TestCapOfTheClientStays(t *testing.T) {
	bodies := make(chan string, 1)
	w := newWorld(t, setting{upstreams: []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		io.WriteString(w, `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	})}})
	body := pinned(`{"model":"gpt-4","max_completion_tokens":8192,"messages":[{"role":"user","content":"hi"}]}`)
	if a := w.post(chatPath, body); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got := <-bodies; got != body {
		t.Errorf("sent %s", got)
	}
}

// TestCapBesideAnInputThatIsNotCounted: where only bytes bound the input, what the policy
// presets is sent. Else none is, where the server is known to end an answer with its
// context, and the hold covers that; and elsewhere one that fits beside the bound.
func TestCapBesideAnInputThatIsNotCounted(t *testing.T) {
	const context = 32_768
	policy := func(provider, limits string) string {
		return casePolicy(provider, "max_tokens", `{match: "local", upstreams: [up], context_tokens: 32768, `+limits+`, price: {input: "1", output: "2"}}`, "9")
	}
	ask := func(n int) string {
		return `{"model":"local","messages":[{"role":"user","content":"` + words(n) + `"}]}`
	}
	var cap *int64
	var input string
	sent := func(t *testing.T, _ http.Header, body string) {
		var got struct {
			Cap *int64 `json:"max_tokens"`
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		cap, input = got.Cap, body
	}
	for _, row := range []struct {
		name, policy string
		tokens       int
		capped       bool
		fits         bool
	}{
		{"vLLM, all of the context", policy("vllm", "max_output_tokens: 32768"), 1, false, true},
		{"SGLang, beside a long input", policy("sglang", "max_output_tokens: 4096"), 6000, false, true},
		{"vLLM, that fits", policy("vllm", "max_output_tokens: 4096"), 10, true, true},
		{"vLLM, preset", policy("vllm", "default_output_cap: 1000, max_output_tokens: 4096"), 6000, true, false},
		{"another server, all of the context", policy("house", "max_output_tokens: 32768"), 1, true, true},
		{"another server, that may fit", policy("house", "max_output_tokens: 4096"), 6000, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := wireCase{policy: row.policy, body: ask(row.tokens), reply: answered8and4, want: want{basis: audit.BasisReported, charge: 16_000, within: true, sent: sent}}
			c.play(t)
			if (cap != nil) != row.capped {
				t.Fatalf("cap %v in %.60s", cap, input)
			}
			if row.capped && row.fits && *cap+int64(len(ask(row.tokens))) > context {
				t.Errorf("cap %d does not fit beside the input", *cap)
			}
		})
	}
}
