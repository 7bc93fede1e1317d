package simulator

import "cmp"

// defaultModeration is the model of a moderation that names none.
const defaultModeration = "omni-moderation-latest"

type moderationBody struct {
	ID      string `json:"id"`
	Model   string `json:"model"`
	Results []any  `json:"results"`
}

// moderation flags nothing, for each input, and bills nothing.
func moderation(r *Request, a Answer) reply {
	body := moderationBody{ID: "modr-1", Model: cmp.Or(a.Model, r.Model, defaultModeration), Results: []any{}}
	for range max(1, len(r.Inputs)) {
		body.Results = append(body.Results, map[string]any{"flagged": false, "categories": map[string]bool{}, "category_scores": map[string]float64{}})
	}
	return document(body, Usage{}, a)
}
