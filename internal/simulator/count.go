package simulator

import "fmt"

// count answers a request that only counts the tokens of another.
func count(r *Request, a Answer, usage Usage) reply {
	if r.Endpoint == CountTokens {
		return document(map[string]int64{"input_tokens": usage.Prompt}, Usage{}, a)
	}
	return document(map[string]any{"object": "response.input_tokens", "input_tokens": usage.Prompt}, Usage{}, a)
}

// compactedTokens is what a compaction generates.
const compactedTokens = 64

// compaction answers a request to make a conversation shorter: one item that holds it all.
func compaction(r *Request, a Answer, usage Usage) reply {
	usage.Completion = compactedTokens
	if a.OutputTokens > 0 {
		usage.Completion = a.OutputTokens
	}
	item := map[string]string{"id": fmt.Sprintf("cmp_%048x", r.Number), "type": "compaction", "encrypted_content": "gAAAAABcompacted"}
	body := map[string]any{
		"id": fmt.Sprintf("resp_%048x", r.Number), "object": "response.compaction", "created_at": created,
		"output": []any{item},
	}
	if !a.NoUsage {
		body["usage"] = usage.response()
	}
	return document(body, usage, a)
}

// modelList is the list of models as the API of the request writes it.
func modelList(r *Request, names []string) reply {
	if r.Header.Get("Anthropic-Version") != "" {
		return anthropicModels(names)
	}
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	models := make([]model, len(names))
	for i, name := range names {
		models[i] = model{ID: name, Object: "model", Created: created, OwnedBy: "system"}
	}
	return document(map[string]any{"object": "list", "data": models}, Usage{}, Answer{})
}

func anthropicModels(names []string) reply {
	type model struct {
		Type      string `json:"type"`
		ID        string `json:"id"`
		Name      string `json:"display_name"`
		CreatedAt string `json:"created_at"`
	}
	models := make([]model, len(names))
	for i, name := range names {
		models[i] = model{Type: "model", ID: name, Name: name, CreatedAt: "2026-01-01T00:00:00Z"}
	}
	return document(map[string]any{"data": models, "has_more": false, "first_id": names[0], "last_id": names[len(names)-1]}, Usage{}, Answer{})
}
