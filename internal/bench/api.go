package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// api is one that a workload speaks. The upstream streams as many events in each.
type api struct {
	path    string
	headers string // those that show the key, %s
	last    string // how the last event of a whole stream begins
	body    func(prompt string) map[string]any
}

// streamEvents is how many events a stream has: what a stream costs is divided by it.
const streamEvents = 52

// maxTokens is the output that is asked for.
const maxTokens = 48

var chat = &api{
	path: "/v1/chat/completions", headers: "Authorization: Bearer %s\r\n", last: "data: [DONE]",
	body: func(prompt string) map[string]any {
		return map[string]any{"model": "gpt-4o-mini", "max_completion_tokens": maxTokens, "messages": []map[string]string{{"role": "user", "content": prompt}}}
	},
}

var messages = &api{
	path: "/v1/messages", headers: "X-Api-Key: %s\r\nAnthropic-Version: 2023-06-01\r\n", last: "event: message_stop",
	body: func(prompt string) map[string]any {
		return map[string]any{"model": "claude-sonnet-4-5", "max_tokens": maxTokens, "messages": []map[string]string{{"role": "user", "content": prompt}}}
	},
}

var responses = &api{
	path: "/v1/responses", headers: "Authorization: Bearer %s\r\n", last: "event: response.incomplete",
	body: func(prompt string) map[string]any {
		return map[string]any{"model": "gpt-4o-mini", "max_output_tokens": maxTokens, "input": prompt}
	},
}

// bodies are requests of about that size, each with another prompt.
func (a *api) bodies(size int, stream bool) [][]byte {
	words := strings.Fields(prose)
	source := rand.New(rand.NewPCG(1, 2))
	all := make([][]byte, variants)
	for i := range all {
		var prompt strings.Builder
		for prompt.Len() < size-150 { // what surrounds the prompt
			prompt.WriteString(words[source.IntN(len(words))])
			prompt.WriteByte(' ')
		}
		request := a.body(prompt.String())
		if stream {
			request["stream"] = true
		}
		all[i], _ = json.Marshal(request) // strings and numbers always encode
	}
	return all
}

// render writes a workload's requests as they go over the wire.
func render(host, key string, w workload) [][]byte {
	rendered := make([][]byte, len(w.bodies))
	for i, body := range w.bodies {
		rendered[i] = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\n"+w.api.headers+
			"Content-Type: application/json\r\nX-Bench-Pause: %d\r\nContent-Length: %d\r\n\r\n%s", w.api.path, host, key, w.pauseMillis, len(body), body)
	}
	return rendered
}

// whole reports whether a stream has come to its end.
func (a *api) whole(stream []byte) bool {
	events, ended := bytes.CutSuffix(stream, []byte("\n\n"))
	before := bytes.LastIndex(events, []byte("\n\n"))
	return ended && before >= 0 && bytes.HasPrefix(events[before+len("\n\n"):], []byte(a.last))
}

// prose gives prompts the words and word lengths of ordinary English.
const prose = `A ledger of what was spent is of little use when it arrives after the money is gone. Whoever runs many
services against a model that charges by the token learns this early: a loop that nobody meant to write asks the same
question again, each answer makes the next prompt longer, and by the morning an account that was planned for a quarter is
empty. The remedy is old. Before anything leaves the house its price is bounded, the bound is set aside, and only what was
set aside may be used; when the answer returns, the difference goes back. Merchants held such books, with one column for
what was promised and another for what was paid, and they trusted no clerk who filled in the second without the first.`
