package admission_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
)

// spellings are how a key can stand in a head.
var spellings = map[string]func(string) string{
	"alone":           func(key string) string { return key },
	"bearer":          func(key string) string { return "Bearer " + key },
	"inside":          func(key string) string { return "a=1; key=" + key + "; b=2" },
	"in a path":       func(key string) string { return "/key/" + key + "/v1" },
	"after a rival":   func(key string) string { return "aegis-aegis-" + key },
	"one escape":      func(key string) string { return strings.Replace(key, "-", "%2d", 1) },
	"escapes":         func(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "a", "%61") },
	"escaped, inside": func(key string) string { return "x%20" + strings.Replace(key, "-", "%2D", 1) + "+y" },
}

// TestNoKeyOfOursIsLeft: whatever of a head may go upstream, and whatever says who pays, has no
// key of a tenant's in it, wherever and however that stood in the request.
func TestNoKeyOfOursIsLeft(t *testing.T) {
	secret, _ := policy.NewSecret()
	other, _ := policy.NewSecret()
	names := []string{"Authorization", "X-Api-Key", "Api-Key", "Openai-Project", "Anthropic-Workspace-Id", "Cookie", "X-Forwarded-Uri", "X_aegis_key", "X-Other", "User-Agent"}
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string {
			key := rapid.SampledFrom([]string{secret, secret, secret, "sk-own", other}).Draw(t, label+" key")
			return spellings[rapid.SampledFrom([]string{"alone", "bearer", "inside", "in a path", "after a rival", "one escape", "escapes", "escaped, inside"}).Draw(t, label+" spelling")](key)
		}
		received := http.Header{}
		for range rapid.IntRange(0, 4).Draw(t, "headers") {
			name := rapid.SampledFrom(append(names, secret)).Draw(t, "name")
			received.Add(name, text("header"))
		}
		named := rapid.SampledFrom([]string{"", secret}).Draw(t, "named in the path")
		if rapid.Bool().Draw(t, "in our header") {
			received.Set(admission.KeyHeader, secret)
		}
		var query []string
		for range rapid.IntRange(0, 3).Draw(t, "parameters") {
			query = append(query, rapid.SampledFrom([]string{"key", "team", "x"}).Draw(t, "parameter")+"="+text("query"))
		}
		head := providers.Head{
			Method: http.MethodPost, Path: "/v1/models/" + rapid.SampledFrom([]string{"gpt-5", "gpt-5", text("path")}).Draw(t, "path"),
			Query: strings.Join(query, "&"), Header: admission.ForDialect(received),
		}
		caller, err := admission.CallerOf(rapid.SampledFrom(dialects.All()).Draw(t, "dialect"), &head, received, named)
		if err != nil {
			if _, denied := err.(*call.Denial); !denied {
				t.Fatalf("%T is no denial: %v", err, err)
			}
			return
		}
		left := []string{head.Path, head.Query}
		for _, header := range []map[string][]string{head.Header, caller.Payer()} {
			for name, values := range header {
				left = append(append(left, strings.ToLower(name)), values...)
			}
		}
		for _, text := range left {
			plain, _ := url.QueryUnescape(text)
			for _, key := range []string{secret, other} {
				if strings.Contains(text, key) || strings.Contains(plain, key) {
					t.Fatalf("%q is left of %v %q", text, received, query)
				}
			}
		}
		if named == "" && received.Get(admission.KeyHeader) == "" && caller.Pays() {
			t.Fatalf("the key that is charged is taken for the client's own credential: %v", received)
		}
	})
}
