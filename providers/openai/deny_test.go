package openai

import (
	"io"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// TestDenialsOfCodex: it shows the body of a 400 as it is, and of a response that failed the
// message only where the prompt is said to be at fault.
func TestDenialsOfCodex(t *testing.T) {
	head := providers.Head{Method: "POST", Path: "/v1/responses", Header: map[string][]string{"User-Agent": {"codex_cli_rs/0.171.0"}}}
	d := &call.Denial{Class: call.Exhausted, Message: "spend limit reached"}
	reply := Dialect{}.Deny(providers.Operation{}, head, d)
	if reply.Status != 400 || string(reply.Body) != "aegis: spend limit reached\n" || !strings.HasPrefix(reply.Header["Content-Type"][0], "text/plain") {
		t.Errorf("denied with %d %s, %v", reply.Status, reply.Body, reply.Header)
	}
	for agent, want := range map[string]string{"codex_cli_rs/0.171.0": `"error":{"code":"invalid_prompt"`, "OpenAI/Python 3.57.0": `"error":{"code":"insufficient_quota"`} {
		head.Header["User-Agent"] = []string{agent}
		m := newResponseMeter(responseAsked{stopCode: stopCode(head)}, nil, providers.Answer{Header: map[string][]string{"Content-Type": {"text/event-stream"}}})
		m.Feed([]byte("event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\"}}\n\n"))
		if words, whole := m.Stop(d); !whole || !strings.Contains(string(words), want) {
			t.Errorf("%s is stopped with %s, want %s", agent, words, want)
		}
		m.Close(io.ErrUnexpectedEOF)
	}
}
