package anthropic_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/anthropic"
	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
)

var suite = providertest.Suite{
	Dialect:   anthropic.Dialect{},
	Vendor:    "anthropic",
	Header:    headers{"Anthropic-Version": {"2023-06-01"}},
	Place:     place,
	StandIn:   standIn,
	Usage:     usageTold,
	Caps:      capsIn,
	MayChange: []string{"max_tokens", "thinking", "tools"}, // of tools the cap of searches alone: TestHosted
	Credentials: []func(*providers.Head, string){
		func(h *providers.Head, key string) { h.Header["X-Api-Key"] = []string{key} },
		func(h *providers.Head, key string) { h.Header["Authorization"] = []string{"Bearer " + key} },
	},
	ErrorMessage: errorMessage,
}

// Limits of a model here, in tokens: the most that is known of any.
const (
	someOutput  = 200_000
	someContext = 1_000_000
)

// someTools is a policy that prices searches. The results of one have had up to 20,000
// tokens.
var someTools = call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 20, Tokens: 20_000}}

func place(r *providertest.Recording) (h providers.Head, t providers.Terms, ok bool) {
	provider, spoken := strings.CutSuffix(r.Dialect, "-messages")
	if r.Request.Method != "POST" || !strings.HasSuffix(r.Request.Path, "/messages") || !spoken {
		return h, t, false
	}
	h = providers.Head{Method: "POST", Path: "/v1/messages", Query: r.Request.Query, Header: r.Request.Header()}
	return h, providers.Terms{Provider: provider, MaxOutput: someOutput, Context: someContext, Tools: someTools}, true
}

// standIn asks for an hour of everything, so that no answer is beyond it.
func standIn(_ providers.Operation, stream bool) []byte {
	body, _ := json.Marshal(map[string]any{
		"model": "m", "max_tokens": 9, "stream": stream, "messages": []any{map[string]string{"role": "user", "content": "x"}},
	})
	return body
}

// told are the counts of one run, by the plain words of the API.
type told struct {
	Type   string `json:"type"`
	Input  *int64 `json:"input_tokens"`
	Write  *int64 `json:"cache_creation_input_tokens"`
	Read   *int64 `json:"cache_read_input_tokens"`
	Output *int64 `json:"output_tokens"`
	Runs   []told `json:"iterations"`
}

// take takes in what a later one tells.
func (u *told) take(later told) {
	for into, from := range map[**int64]*int64{&u.Input: later.Input, &u.Write: later.Write, &u.Read: later.Read, &u.Output: later.Output} {
		if from != nil {
			*into = from
		}
	}
	if later.Runs != nil {
		u.Runs = later.Runs
	}
}

// sum is what all runs used: those that are not in the counts at the top, too.
func (u *told) sum() (sum providertest.Usage) {
	value := func(n *int64) int64 {
		if n == nil {
			return 0
		}
		return *n
	}
	sum = providertest.Usage{Input: value(u.Input) + value(u.Write) + value(u.Read), Output: value(u.Output)}
	for _, run := range u.Runs {
		if run.Type != "message" && run.Type != "fallback_message" {
			beside := run.sum()
			sum.Input += beside.Input
			sum.Output += beside.Output
		}
	}
	return sum
}

func usageTold(answer []byte, stream bool) (u providertest.Usage, ok bool) {
	payloads := [][]byte{answer}
	if stream {
		payloads = nil
		for line := range bytes.Lines(answer) {
			if payload, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:")); found {
				payloads = append(payloads, payload)
			}
		}
	}
	var all told
	for _, payload := range payloads {
		var event struct {
			Usage   *told `json:"usage"`
			Message struct {
				Usage *told `json:"usage"`
			} `json:"message"`
		}
		if json.Unmarshal(payload, &event) != nil {
			continue
		}
		for _, usage := range [...]*told{event.Message.Usage, event.Usage} {
			if usage != nil {
				all.take(*usage)
				ok = true
			}
		}
	}
	return all.sum(), ok
}

func capsIn(body []byte) []int64 {
	var asked struct {
		Cap *int64 `json:"max_tokens"`
	}
	if json.Unmarshal(body, &asked) != nil || asked.Cap == nil {
		return nil
	}
	return []int64{*asked.Cap}
}

func errorMessage(r providers.Reply) string {
	var body struct {
		Type  string `json:"type"`
		Error struct {
			Message string `json:"message"`
			Type    string `json:"type"`
		} `json:"error"`
	}
	if json.Unmarshal(r.Body, &body) != nil || body.Type != "error" || body.Error.Type == "" {
		return ""
	}
	return body.Error.Message
}

func TestRules(t *testing.T) { suite.Rules(t) }

// TestRecordings reads recorded exchanges with the API. Those that are not read exactly
// are listed in docs/recordings.md.
func TestRecordings(t *testing.T) {
	recordings := providertest.Recordings(t, "testdata/recordings")
	providertest.Listed(t, "../../docs/recordings.md", anthropic.Name, recordings, suite.Run(t, recordings))
}
