package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// TestModelNamesInAnyCase: a model's name means the same in any case wherever
// names are compared: in rules, budgets, routes, prices, limits, bounds.
func TestModelNamesInAnyCase(t *testing.T) {
	const (
		chat  = `{"model":"%s","max_tokens":1000,"messages":[{"role":"user","content":"hello there"}]}`
		image = `{"model":"%s","max_tokens":1000,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}`
		open  = `{"model":"%s","messages":[{"role":"user","content":"hello there"}]}`
	)
	for _, row := range []struct {
		name, tenant, body, model string
		code                      string // "": allowed
	}{
		{"a denied model", ampleBudget + "\nmodels: {allow: [\"*\"], deny: [\"gpt-4*\"]}", chat, "gpt-4o-mini", "model_not_allowed"},
		{"a denied model, in capitals in the policy", ampleBudget + "\nmodels: {deny: [\"GPT-4*\"]}", chat, "gpt-4o-mini", "model_not_allowed"},
		{"a model that is not allowed", ampleBudget + "\nmodels: {allow: [\"gpt-5*\"]}", chat, "gpt-4o-mini", "model_not_allowed"},
		{"an allowed model", ampleBudget + "\nmodels: {allow: [gpt-4o-mini]}", chat, "gpt-4o-mini", ""},
		{"a budget of some models", `budgets: [{name: dear, scope: [model], models: "gpt-4*", window: forever, limit_usd: "0.0001"}]`, chat, "gpt-4o-mini", "insufficient_quota"},
		{"a model that searches", ampleBudget, chat, "gpt-4o-search-preview", "no_bound"},
		{"an image's bound", ampleBudget, image, "gpt-4o-mini", ""},
		{"a tokenizer, a price and a template", tightBudget, chat, "gpt-4o-mini", ""},
		{"a table's limits", ampleBudget, open, "gpt-4o", ""},
		{"the policy's price and cap", ampleBudget, open, "toy", ""},
		{"a model without a price", ampleBudget, chat, "gpt-99", "no_price"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var want audit.Decision
			for i, model := range []string{row.model, strings.ToUpper(row.model), strings.Replace(strings.ToUpper(row.model), "T", "t", 1)} {
				w := newWorld(t, setting{upstreams: []http.Handler{recorder(new(received))}, tenant: row.tenant})
				a := w.post(chatPath, fmt.Sprintf(row.body, model))
				if a.code() != row.code || (a.status == 200) != (row.code == "") {
					t.Fatalf("%s: %d %s", model, a.status, a.body)
				}
				got := read[audit.Decision](w)[0]
				if i == 0 {
					want = got
				}
				was, is := want, got
				was.Facts.Model, is.Facts.Model = "", ""
				if is.Facts.Cost != was.Facts.Cost || is.Verdict != was.Verdict || fmt.Sprint(is.Reasons, is.Facts) != fmt.Sprint(was.Reasons, was.Facts) {
					t.Errorf("%s: %+v\n%s: %+v", model, got, row.model, want)
				}
			}
		})
	}
}

// tightBudget leaves so little room that the input is counted exactly.
const tightBudget = `budgets: [{name: daily, window: forever, limit_usd: "0.00061"}]`
