package e2e

import (
	"cmp"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// spoken is an API as the clients of a race speak it: one question, which the provider
// bills by what the proxy bounds its input by.
type spoken struct {
	name, path      string
	streams         string // the path of a stream where that is another one; "": the body asks for it
	provider, model string
	alias           string         // what clients call the model; "": by its name
	ask             map[string]any // beside model, cap and stream
	capMember       string
	header          map[string]string
}

var helloMessages = []map[string]string{{"role": "user", "content": "Say hello."}}

var spokens = []spoken{
	{
		name: "chat", path: "/v1/chat/completions", provider: "openai", model: "gpt-4o-mini",
		ask: map[string]any{"messages": helloMessages}, capMember: "max_completion_tokens",
	},
	{
		name: "responses", path: "/v1/responses", provider: "openai", model: "gpt-4o-mini",
		ask: map[string]any{"input": "Say hello."}, capMember: "max_output_tokens",
	},
	{
		name: "messages", path: "/v1/messages", provider: "anthropic", model: "claude-haiku-4-5", alias: "house-model",
		ask: map[string]any{"messages": helloMessages}, capMember: "max_tokens",
		header: map[string]string{"Anthropic-Version": "2023-06-01"},
	},
	{
		name: "gemini", path: "/v1beta/models/{model}:generateContent", streams: "/v1beta/models/{model}:streamGenerateContent?alt=sse",
		provider: "google", model: "gemini-2.5-flash",
		ask: map[string]any{"contents": []map[string]any{{"role": "user", "parts": []map[string]string{{"text": "Say hello."}}}}}, capMember: "generationConfig.maxOutputTokens",
	},
}

// spokenPolicy is policyText with a second upstream, which speaks Messages, and an alias there.
var spokenPolicy = strings.NewReplacer(
	"models:\n", "  - {name: claude, base_url: %[2]s/v1, api_key_env: SIM_KEY, key_header: x-api-key, provider: anthropic, dialects: [{name: anthropic}]}\n"+
		"  - {name: google, base_url: %[2]s, api_key_env: SIM_KEY, key_header: x-goog-api-key, provider: google, dialects: [{name: gemini}]}\n"+
		"aliases: [{name: house-model, model: claude-haiku-4-5}]\nmodels:\n  - {match: \"claude-*\", upstreams: [claude]}\n  - {match: \"gemini-*\", upstreams: [google]}\n",
	"generation: %d", "generation: %[1]d", "base_url: %s", "base_url: %[2]s", `"%s"`, `"%[3]s"`, "\n%s", "\n%[4]s",
).Replace(policyText)

// newSpokenWorld is newWorld with an upstream for each API.
func newSpokenWorld(t *testing.T, config simulator.Config, rules string) *world {
	t.Helper()
	w := newWorld(t, config, rules)
	w.layout = spokenPolicy
	w.writePolicy(1, rules)
	return w
}

// request is the question with an output cap, in tokens, and with these headers.
func (s spoken) request(limit int64, stream bool, more map[string]string) request {
	body := maps.Clone(s.ask)
	path := s.path
	if outer, inner, nested := strings.Cut(s.capMember, "."); nested {
		body[outer] = map[string]any{inner: limit}
	} else {
		body["model"], body[s.capMember] = cmp.Or(s.alias, s.model), limit
	}
	switch {
	case stream && s.streams != "":
		path = s.streams
	case stream:
		body["stream"] = true
	}
	text, _ := json.Marshal(body)
	header := maps.Clone(more)
	if header == nil {
		header = map[string]string{}
	}
	maps.Copy(header, s.header)
	return request{path: s.pathOf(path), body: string(text), headers: header, cap: limit, stream: stream}
}

// pathOf is a path with the model, where it stands there.
func (s spoken) pathOf(path string) string { return strings.Replace(path, "{model}", s.model, 1) }

// prompt bills what the proxy's bound is, in tokens: exact where it counts, else by bytes. A provider
// knows no alias: a request for one is billed nothing, which no race's books bear.
func (s spoken) prompt(r *simulator.Request) (tokens int64) {
	if s.alias != "" && gjson.GetBytes(r.Body, "model").String() != s.model {
		return 0
	}
	head := providers.Head{Method: "POST", Path: s.pathOf(s.path), Header: map[string][]string{}}
	for name, value := range s.header {
		head.Header[name] = []string{value}
	}
	dialect, operation, _ := dialects.All().Match(head)
	parsed, err := dialect.Parse(operation, head, r.Body)
	if err != nil {
		return 0
	}
	offer, err := parsed.On(providers.Terms{Provider: s.provider, Obeys: providers.Obeys{CapField: openai.FieldMaxCompletionTokens}})
	if err != nil {
		return 0
	}
	in := offer.Bound().Input
	encoding, known := tokenizer.ForModel(s.model)
	for _, text := range in.Texts {
		n := tokenizer.UpperBound(text)
		if known && in.Exact {
			n, _ = encoding.Count(text)
		}
		tokens += n
	}
	return tokens + in.Fixed
}

// billed is what a provider bills for the question, in tokens: it sees the model that the proxy names to it.
func (s spoken) billed(limit int64, stream bool) (tokens int64) {
	s.alias = ""
	return s.prompt(&simulator.Request{Body: []byte(s.request(limit, stream, nil).json())})
}

// cost is what the question costs, answered with so many tokens, in nano-USD.
func (s spoken) cost(t *testing.T, output int64) int64 {
	t.Helper()
	price, err := pricing.Builtin().Lookup(s.provider, s.model, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	prompt := s.billed(outputCap, false)
	nano, err := price.Cost(call.Usage{call.Input: prompt, call.Output: output})
	if err != nil || prompt == 0 {
		t.Fatalf("%d tokens: %v", prompt, err)
	}
	return nano
}
