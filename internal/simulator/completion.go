package simulator

import (
	"cmp"
	"encoding/json"
	"strings"
)

type textChoice struct {
	Text     string    `json:"text"`
	Index    int       `json:"index"`
	Logprobs *struct{} `json:"logprobs"`
	Finish   *string   `json:"finish_reason"`
}

// textBody is a text_completion, whole or one event of it.
type textBody struct {
	ID      string          `json:"id"`
	Object  string          `json:"object"`
	Created int64           `json:"created"`
	Model   string          `json:"model"`
	Choices []textChoice    `json:"choices"`
	Usage   json.RawMessage `json:"usage,omitempty"`
	Padding string          `json:"padding,omitempty"`
}

// completion answers a request of the older API.
func completion(r *Request, a Answer, usage Usage) reply {
	choices := generateAll(r, a, &usage)
	body := textBody{
		ID:      id("cmpl", r),
		Object:  "text_completion",
		Created: created,
		Model:   cmp.Or(a.Model, r.Model),
		Padding: strings.Repeat("x", a.PadBytes),
	}
	if r.Stream {
		return completionStream(r, a, body, choices, usage)
	}
	for i, c := range choices {
		body.Choices = append(body.Choices, textChoice{Text: c.text(), Index: i, Finish: &c.finish})
	}
	if !a.NoUsage {
		body.Usage = usage.body()
	}
	return document(body, usage, a)
}

func completionStream(r *Request, a Answer, body textBody, choices []choice, usage Usage) reply {
	plan := usagePlan(r, a, usage)
	s := stream{odd: a.OddWhitespace}
	for i, c := range choices {
		for at, token := range c.tokens {
			one := textChoice{Text: token, Index: i}
			body.Usage = plan.other
			if at == len(c.tokens)-1 {
				one.Finish = &c.finish
			}
			if at == len(c.tokens)-1 && i == len(choices)-1 {
				body.Usage = plan.finish
			}
			body.Choices = []textChoice{one}
			s.event(encode(body), 1)
			body.Padding = ""
		}
	}
	if plan.own != nil {
		body.Choices, body.Usage = []textChoice{}, plan.own
		s.event(encode(body), 0)
	}
	s.done(a)
	return reply{status: 200, stream: true, usage: usage, pieces: s.pieces}
}
