package simulator_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

const responseBody = `{"model":"gpt-5","instructions":"Be brief","input":[{"role":"user","content":[{"type":"input_text","text":"Say hello to all"}]}]`

func TestResponse(t *testing.T) {
	p := answering(t, simulator.Answer{CachedTokens: 3, PromptTokens: 10, Reasoning: 2})
	_, answer := p.must(t, "/v1/responses", responseBody+`,"max_output_tokens":5,"include":["reasoning.encrypted_content"]}`)
	for path, want := range map[string]string{
		"object": "response", "status": "incomplete", "incomplete_details.reason": "max_output_tokens",
		"output.0.type": "reasoning", "output.0.encrypted_content": "gAAAAABxxxxxxxx", "output.0.summary": "[]",
		"output.1.content.0.text": "the ledger of", "output.1.content.0.annotations": "[]", "output.1.status": "incomplete",
		"usage.input_tokens": "10", "usage.input_tokens_details.cached_tokens": "3",
		"usage.output_tokens": "5", "usage.output_tokens_details.reasoning_tokens": "2", "usage.total_tokens": "15",
		"max_output_tokens": "5", "instructions": "Be brief", "service_tier": "default", "store": "true",
	} {
		if got := answer.Get(path).Raw; strings.Trim(got, `"`) != want && strings.Join(strings.Fields(got), "") != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if got := p.Totals().Billed; got != (simulator.Usage{Prompt: 10, Cached: 3, Completion: 5, Reasoning: 2}) {
		t.Errorf("billed %+v", got)
	}
}

// TestResponseStream holds the order of the events against that of the recordings.
func TestResponseStream(t *testing.T) {
	const tools = `,"tools":[{"type":"function","name":"weather","parameters":{"properties":{"city":{"type":"string"}},"required":["city"]}}]`
	const begin, text, end = "created in_progress ", "output_item.added content_part.added output_text.delta output_text.delta output_text.done content_part.done output_item.done ", "completed"
	for _, c := range []struct {
		name    string
		members string
		answer  simulator.Answer
		want    string
	}{
		{"text", "", simulator.Answer{OutputTokens: 2}, begin + text + end},
		{"odd white space", "", simulator.Answer{OutputTokens: 2, OddWhitespace: true}, begin + text + end},
		{"cut by the cap", `,"max_output_tokens":2`, simulator.Answer{}, begin + text + "incomplete"},
		{"given text", tools, simulator.Answer{Text: "hello"}, begin + text + end},
		{"function", tools, simulator.Answer{}, begin + "output_item.added " + strings.Repeat("function_call_arguments.delta ", 5) + "function_call_arguments.done output_item.done " + end},
		{"custom tool", "", simulator.Answer{Call: simulator.ToolCall{Name: "exec", Arguments: "ls", Custom: true}},
			begin + "output_item.added custom_tool_call_input.delta custom_tool_call_input.done output_item.done " + end},
		{"reasoning", "", simulator.Answer{OutputTokens: 3, Reasoning: 1}, begin + "output_item.added output_item.done " + text + end},
		{"summary of reasoning", `,"reasoning":{"summary":"auto"}`, simulator.Answer{OutputTokens: 3, Reasoning: 1},
			begin + "output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done " + text + end},
		{"search", "", simulator.Answer{OutputTokens: 2, Searches: 1},
			begin + "output_item.added web_search_call.in_progress web_search_call.searching web_search_call.completed output_item.done " + text + end},
		{"without an end", "", simulator.Answer{OutputTokens: 2, NoDone: true}, begin + strings.TrimSpace(text)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, body, err := answering(t, c.answer).post("/v1/responses", responseBody+c.members+`,"stream":true}`)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for i, e := range events(t, body) {
				event := gjson.Parse(e)
				kinds = append(kinds, strings.TrimPrefix(event.Get("type").String(), "response."))
				if event.Get("sequence_number").Int() != int64(i) {
					t.Errorf("event %d is numbered %s", i, event.Get("sequence_number"))
				}
			}
			if got := strings.Join(kinds, " "); got != c.want {
				t.Errorf("events %s\nwant   %s", got, c.want)
			}
		})
	}
}

func TestResponseStreamEndsWithTheWholeResponse(t *testing.T) {
	p := answering(t, simulator.Answer{Reasoning: 1, Text: "{\"a\": true}"})
	_, body, err := p.post("/v1/responses", responseBody+`,"stream":true}`)
	if err != nil {
		t.Fatal(err)
	}
	all := events(t, body)
	last := gjson.Get(all[len(all)-1], "response")
	_, whole := answering(t, simulator.Answer{Reasoning: 1, Text: "{\"a\": true}"}).must(t, "/v1/responses", responseBody+"}")
	if got, want := last.Get("@ugly").Raw, whole.Get("@ugly").Raw; got != want {
		t.Errorf("ends with %s\nnot       %s", got, want)
	}
}

func TestResponseBreaksOff(t *testing.T) {
	p := answering(t, simulator.Answer{Fault: simulator.ErrorMidStream})
	_, body, _ := p.post("/v1/responses", responseBody+`,"stream":true}`)
	text := string(body)
	if !strings.Contains(text, "event: error\n") || !strings.Contains(text, "event: response.failed\n") || strings.Contains(text, "response.completed") {
		t.Errorf("breaks off with %s", text)
	}
}

// TestToolRoundTrip is what an agent sees: a call of the tool that the script names, and
// words once it has brought the result.
func TestToolRoundTrip(t *testing.T) {
	call := simulator.Answer{Call: simulator.ToolCall{Name: "Bash", Arguments: `{"command":"echo é"}`}}
	script := func(r *simulator.Request) simulator.Answer {
		if r.AfterTool {
			return simulator.Answer{Text: "done"}
		}
		return call
	}
	for path, c := range map[string]struct{ ask, result, name, arguments, said string }{
		"/v1/responses": {
			ask:    `{"model":"gpt-5","input":"go"}`,
			result: `{"model":"gpt-5","input":[{"role":"user","content":"go"},{"type":"function_call_output","call_id":"c","output":"hi"}]}`,
			name:   "output.0.name", arguments: "output.0.arguments", said: "output.0.content.0.text",
		},
		"/v1/messages": {
			ask:    `{"model":"claude-opus-5","max_tokens":99,"messages":[{"role":"user","content":"go"}]}`,
			result: `{"model":"claude-opus-5","max_tokens":99,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"hi"},{"type":"text","text":"and"}]}]}`,
			name:   "content.0.name", arguments: "content.0.input", said: "content.0.text",
		},
		"/v1/chat/completions": {
			ask:    `{"model":"gpt-5","messages":[{"role":"user","content":"go"}]}`,
			result: `{"model":"gpt-5","messages":[{"role":"tool","tool_call_id":"c","content":"hi"}]}`,
			name:   "choices.0.message.tool_calls.0.function.name", arguments: "choices.0.message.tool_calls.0.function.arguments", said: "choices.0.message.content",
		},
	} {
		t.Run(path, func(t *testing.T) {
			p := start(t, simulator.Config{Script: script})
			_, answer := p.must(t, path, c.ask)
			if got := answer.Get(c.arguments); answer.Get(c.name).String() != "Bash" || !strings.Contains(got.String(), "echo é") {
				t.Errorf("asks for %s", answer)
			}
			if _, answer = p.must(t, path, c.result); answer.Get(c.said).String() != "done" {
				t.Errorf("says %s", answer)
			}
		})
	}
}

func TestMessageThinksAndSearches(t *testing.T) {
	a := simulator.Answer{Reasoning: 7, Searches: 2, OutputTokens: 9, PromptTokens: 10, CacheWrites: 4}
	body := strings.Replace(messageBody, `"max_tokens":5`, `"max_tokens":50,"thinking":{"type":"enabled","budget_tokens":20}`, 1)
	_, answer := answering(t, a).must(t, "/v1/messages", body+"}")
	if got := answer.Get("content.#.type").Raw; strings.Join(strings.Fields(got), "") !=
		`["thinking","server_tool_use","web_search_tool_result","server_tool_use","web_search_tool_result","text"]` {
		t.Errorf("blocks %s", got)
	}
	for path, want := range map[string]int64{
		"usage.input_tokens": 6, "usage.cache_creation.ephemeral_5m_input_tokens": 4, "usage.output_tokens": 9,
		"usage.output_tokens_details.thinking_tokens": 7, "usage.server_tool_use.web_search_requests": 2,
	} {
		if got := answer.Get(path).Int(); got != want {
			t.Errorf("%s is %d, want %d", path, got, want)
		}
	}
	_, stream, err := answering(t, a).post("/v1/messages", body+`,"stream":true}`)
	if err != nil || strings.Count(string(stream), "event: content_block_start") != 6 || !strings.Contains(string(stream), "signature_delta") {
		t.Errorf("%v, streams %s", err, stream)
	}
}

func TestCounts(t *testing.T) {
	p := answering(t, simulator.Answer{PromptTokens: 21})
	for path, body := range map[string]string{"/v1/messages/count_tokens": messageBody, "/v1/responses/input_tokens": responseBody} {
		if _, answer := p.must(t, path, body+"}"); answer.Get("input_tokens").Int() != 21 {
			t.Errorf("%s answers %s", path, answer)
		}
	}
	if got := p.Totals().Billed; got != (simulator.Usage{}) {
		t.Errorf("billed %+v for counting", got)
	}
	_, answer := p.must(t, "/v1/responses/compact", responseBody+"}")
	if answer.Get("object").String() != "response.compaction" || answer.Get("usage.output_tokens").Int() != 64 || p.Totals().Billed.Completion != 64 {
		t.Errorf("compacted to %s", answer)
	}
}

func TestModelsOfAnthropic(t *testing.T) {
	p := start(t, simulator.Config{Models: []string{"claude-opus-5", "claude-haiku-5"}})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/v1/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Anthropic-Version", "2023-06-01")
	answer, err := p.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || gjson.GetBytes(body, "last_id").String() != "claude-haiku-5" || gjson.GetBytes(body, "data.0.type").String() != "model" {
		t.Errorf("%v, lists %s", err, body)
	}
}
