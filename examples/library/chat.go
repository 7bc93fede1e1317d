package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// question is what is asked of a model.
type question struct {
	model, text string
	stream      bool
}

// body is the request for the chat completions API. Its cap is set once it is
// known what fits.
func (q question) body(cap int64) []byte {
	request := map[string]any{
		"model":    q.model,
		"messages": []map[string]string{{"role": "user", "content": q.text}},
	}
	if cap > 0 {
		request["max_completion_tokens"] = cap
	}
	if q.stream {
		request["stream"], request["stream_options"] = true, map[string]bool{"include_usage": true}
	}
	body, err := json.Marshal(request)
	if err != nil {
		panic(err) // it holds texts and numbers
	}
	return body
}

// inputTokens bounds what the question is billed as input, as the proxy does:
// by its texts and by what the API puts around them.
func (q question) inputTokens() (int64, error) {
	request, err := openai.Parse(openai.ChatCompletions, q.body(0))
	if err != nil {
		return 0, err
	}
	if no := request.NoBound(&providers.Terms{Provider: openai.Name}); no != nil {
		return 0, no
	}
	tokens, err := request.Overhead(q.model, 0)
	for _, text := range request.Texts {
		tokens += tokenizer.UpperBound(text)
	}
	return tokens, err
}

// send asks the grant's upstream.
func (q question) send(ctx context.Context, grant *gate.Grant, out io.Writer) (string, gate.Outcome, error) {
	upstream := grant.Upstream()
	secret, err := upstream.Secret()
	if err != nil {
		return "", gate.NotSent(), err
	}
	body := bytes.NewReader(q.body(grant.OutputCap))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, upstream.BaseURL+"/chat/completions", body)
	if err != nil {
		return "", gate.NotSent(), err
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", gate.Outcome{}, err // who knows what arrived: the hold is charged
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusTooManyRequests {
		return "", gate.Unbilled(response.StatusCode), errors.New(response.Status)
	}
	if response.StatusCode != http.StatusOK {
		return "", gate.Outcome{}, errors.New(response.Status)
	}
	if q.stream {
		return readStream(response.Body, out)
	}
	return readAnswer(response.Body)
}

// answer is what matters of a response, or of an event of a stream.
type answer struct {
	Choices []struct {
		Message, Delta struct{ Content string }
	}
	Usage *struct {
		PromptTokens        int64 `json:"prompt_tokens"`
		CompletionTokens    int64 `json:"completion_tokens"`
		PromptTokensDetails struct {
			CachedTokens int64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	}
}

// outcome is what an answer says that it used.
func (a answer) outcome() gate.Outcome {
	if a.Usage == nil {
		return gate.Outcome{}
	}
	cached := a.Usage.PromptTokensDetails.CachedTokens
	return gate.Used(call.Usage{call.Input: a.Usage.PromptTokens - cached, call.CachedInput: cached, call.Output: a.Usage.CompletionTokens})
}

func readAnswer(r io.Reader) (string, gate.Outcome, error) {
	var a answer
	if err := json.NewDecoder(r).Decode(&a); err != nil || len(a.Choices) == 0 {
		return "", a.outcome(), errors.Join(errors.New("not an answer"), err)
	}
	return a.Choices[0].Message.Content, a.outcome(), nil
}

// readStream prints the answer as it comes. Its last event has the usage: a
// stream that breaks off before is charged its hold.
func readStream(r io.Reader, out io.Writer) (string, gate.Outcome, error) {
	var outcome gate.Outcome
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var event answer
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return "", outcome, err
		}
		if len(event.Choices) > 0 {
			fmt.Fprint(out, event.Choices[0].Delta.Content)
		}
		if event.Usage != nil {
			outcome = event.outcome()
		}
	}
	return "", outcome, lines.Err()
}
