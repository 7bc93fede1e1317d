package policy_test

import (
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// An alias is one name of one model that the policy has.
func TestAliasesThatAreNone(t *testing.T) {
	for _, row := range []struct{ name, aliases, want string }{
		{"no model", `[{name: fast}]`, "model is missing"},
		{"a pattern", `[{name: "fast*", model: gpt-4o}]`, "is a pattern"},
		{"a pattern for a model", `[{name: fast, model: "gpt-*"}]`, "is a pattern"},
		{"twice, in another case", `[{name: fast, model: gpt-4o}, {name: FAST, model: gpt-4o}]`, "already given"},
		{"of an alias", `[{name: fast, model: faster}, {name: faster, model: gpt-4o}]`, "is an alias itself"},
		{"of itself", `[{name: gpt-4o, model: GPT-4o}]`, "is an alias itself"},
		{"of a model that no entry has", `[{name: fast, model: o9}]`, "no entry of models"},
	} {
		_, err := policy.Parse("policy.yaml", []byte(`generation: 1
upstreams: [{name: openai, base_url: "https://api.openai.com/v1", provider: openai, cap_field: max_tokens}]
models: [{match: "gpt-*", upstreams: [openai]}]
aliases: `+row.aliases+`
tenants: [{name: acme}]
`))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}
