package simulator_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

const messageBody = `{"model":"claude-opus-5","max_tokens":5,"system":"Be brief","messages":[{"role":"user","content":[{"type":"text","text":"Say hello to all"}]}]`

func TestMessage(t *testing.T) {
	p := answering(t, simulator.Answer{CachedTokens: 3, PromptTokens: 10})
	_, answer := p.must(t, "/v1/messages", messageBody+"}")
	for path, want := range map[string]string{
		"type": "message", "content.0.text": "the ledger of a house", "stop_reason": "max_tokens",
		"usage.input_tokens": "7", "usage.cache_read_input_tokens": "3", "usage.output_tokens": "5",
	} {
		if got := answer.Get(path).String(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if got := p.Totals().Billed; got != (simulator.Usage{Prompt: 10, Cached: 3, Completion: 5}) {
		t.Errorf("billed %+v", got)
	}
}

func TestMessageCallsATool(t *testing.T) {
	p := answering(t, simulator.Answer{})
	_, answer := p.must(t, "/v1/messages", strings.Replace(messageBody, `"max_tokens":5`, `"max_tokens":50`, 1)+`,"tools":[{"name":"weather","input_schema":{"properties":{"city":{"type":"string"}},"required":["city"]}}]}`)
	if answer.Get("content.0.name").String() != "weather" || answer.Get("content.0.input.city").String() != "ledger" || answer.Get("stop_reason").String() != "tool_use" {
		t.Errorf("answered %s", answer)
	}
}

func TestMessageStream(t *testing.T) {
	for name, answer := range map[string]simulator.Answer{"plain": {}, "odd": {OddWhitespace: true}} {
		t.Run(name, func(t *testing.T) {
			p := answering(t, answer)
			_, body, err := p.post("/v1/messages?beta=true", messageBody+`,"stream":true}`)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, e := range events(t, body) {
				kinds = append(kinds, strings.Split(e, `"`)[3])
			}
			if got, want := strings.Join(kinds, " "), "message_start ping content_block_start"+strings.Repeat(" content_block_delta", 5)+" content_block_stop message_delta message_stop"; got != want {
				t.Errorf("events %s", got)
			}
			if text := string(body); !strings.Contains(text, `"usage":{"input_tokens":4,`) || !strings.Contains(text, `"output_tokens":5`) {
				t.Errorf("no usage in %s", text)
			}
		})
	}
}

func TestMessageFailures(t *testing.T) {
	p := start(t, simulator.Config{Key: "sk-1", Script: simulator.Always(simulator.Answer{Status: 529})})
	if r, answer := p.must(t, "/v1/messages", messageBody+"}"); r.StatusCode != 401 || answer.Get("error.type").String() != "authentication_error" {
		t.Errorf("without a key %d %s", r.StatusCode, answer)
	}
	for header, key := range map[string]string{"X-Api-Key": "sk-1", "Authorization": "Bearer sk-1"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/v1/messages", strings.NewReader(messageBody+"}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(header, key)
		answer, err := p.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 529 {
			t.Errorf("with %s %d", header, answer.StatusCode)
		}
	}
	broken := answering(t, simulator.Answer{Fault: simulator.ErrorMidStream})
	if _, body, _ := broken.post("/v1/messages", messageBody+`,"stream":true}`); !strings.Contains(string(body), "event: error\n") || strings.Contains(string(body), "message_stop") {
		t.Errorf("breaks off with %s", body)
	}
}
