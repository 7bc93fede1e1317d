package openai_test

import (
	"io"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// TestAsSent: an upstream that takes no output cap gets the body of its client, byte for byte, and
// what is held of its output is the most that the model can write, in each choice.
func TestAsSent(t *testing.T) {
	const most = 128_000
	strip := call.HostedTools{call.WebSearch: {When: call.StripHosted}}
	for _, row := range []struct {
		name, body string
		endpoint   openai.Endpoint
		tools      call.HostedTools
		sent       string // "": as it came
		choices    int64
	}{
		{"a response as Codex sends it", `{"model":"gpt-5","stream":true,"store":false,"input":"x"}`, openai.Responses, nil, "", 1},
		{"its tier left to the project", `{"model":"gpt-5","input":"x","service_tier":"auto"}`, openai.Responses, nil, "", 1},
		{"its own cap, which the upstream refuses by itself", `{"model":"gpt-5","input":"x","max_output_tokens":20}`, openai.Responses, nil, "", 1},
		{"a chat", `{"model":"gpt-5","messages":[{"role":"user","content":"x"}]}`, openai.ChatCompletions, nil, "", 1},
		{"a chat with three choices and a cap in either field", `{"model":"gpt-5","n":3,"max_tokens":9,"max_completion_tokens":99,"messages":[]}`, openai.ChatCompletions, nil, "", 3},
		{"a completion", `{"model":"gpt-5","prompt":"x"}`, openai.Completions, nil, "", 1},
		{"a completion that wants no output", `{"model":"gpt-5","prompt":"x","echo":true,"max_tokens":0}`, openai.Completions, nil, "", 1},
		{"a search that the policy takes out", `{"model":"gpt-5","input":"x","tools":[{"type":"web_search"}]}`, openai.Responses, strip, `{"model":"gpt-5","input":"x","tools":[]}`, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			terms := providers.Terms{
				Provider: "openai", Obeys: providers.Obeys{CapField: openai.FieldNone}, MaxOutput: most, Context: 400_000, DefaultOutput: 32_000, Tools: row.tools,
			}
			o, err := mustParse(t, row.endpoint, row.body).On(terms)
			if err != nil {
				t.Fatal(err)
			}
			if out := o.Bound().Output; out.Cap != 0 || out.Fixed != most || out.Choices != row.choices {
				t.Errorf("held are %d and a cap of %d in %d choices", out.Fixed, out.Cap, out.Choices)
			}
			sent, err := io.ReadAll(o.Send(o.Bound().Output.Cap).Body)
			if err != nil {
				t.Fatal(err)
			}
			if want := row.sent; want == "" && string(sent) != row.body || want != "" && string(sent) != want {
				t.Errorf("sent %s", sent)
			}
		})
	}
}

// TestAsSentWithoutABound: what a cap, or another member of ours, would have had to bound is denied.
func TestAsSentWithoutABound(t *testing.T) {
	price := call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 2, Tokens: 1000}}
	for _, row := range []struct {
		name, body, says string
		most             int64
		tools            call.HostedTools
	}{
		{"nobody knows how much the model writes", `{"model":"m","input":"x"}`, "max_output_tokens: N", 0, nil},
		{"its own cap, which nobody obeys", `{"model":"m","input":"x","max_output_tokens":20}`, "max_output_tokens: N", 0, nil},
		{"a search that the policy prices", `{"model":"m","input":"x","tools":[{"type":"web_search"}]}`, "cap_field: none", 100, price},
		{"compaction as needed", `{"model":"m","input":"x","context_management":[{"type":"compaction","compact_threshold":1000}]}`, "cap_field: none", 100, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			terms := providers.Terms{Provider: "openai", Obeys: providers.Obeys{CapField: openai.FieldNone}, MaxOutput: row.most, Tools: row.tools}
			if _, err := mustParse(t, openai.Responses, row.body).On(terms); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v, want %q", err, row.says)
			}
		})
	}
}
