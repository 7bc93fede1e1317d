package policy

import (
	"strings"
	"testing"
)

// TestOrigins: an origin is taken as browsers write it, since it is compared as a whole.
func TestOrigins(t *testing.T) {
	for _, row := range []struct {
		list  string
		wrong string // "" where the list is taken
	}{
		{`["https://app.example.com"]`, ""},
		{`"https://app.example.com"`, ""},
		{`["http://localhost:3000", "chrome-extension://abcdef", "http://[::1]:8080", "app://obsidian.md"]`, ""},
		{`["*"]`, ""},
		{`["*", "https://app.example.com"]`, "write it alone"},
		{`["https://*.example.com"]`, "no origin"},
		{`["https://app.example.com/"]`, "no origin"},
		{`["https://app.example.com/app"]`, "no origin"},
		{`["https://APP.example.com"]`, "no origin"},
		{`["https://app.example.com:443"]`, "no origin"},
		{`["http://app.example.com:80"]`, "no origin"},
		{`["https://app.example.com:"]`, "no origin"},
		{`["app.example.com"]`, "no origin"},
		{`["https://user@app.example.com"]`, "no origin"},
		{`["https://app.example.com?x=1"]`, "no origin"},
		{`["null"]`, "no origin"},
		{`["https://a.example", "https://a.example"]`, "named twice"},
		{`[]`, "the list is empty"},
		{`["https://` + strings.Repeat("a", 300) + `.example"]`, "no origin"},
	} {
		text := "generation: 1\ncors: {origins: " + row.list + "}\n" +
			"upstreams: [{name: up, base_url: \"http://127.0.0.1:1\", provider: openai, cap_field: max_tokens}]\n" +
			"models: [{match: m, upstreams: [up]}]\n" +
			"tenants: [{name: acme, keys: [{id: k, sha256: \"" + strings.Repeat("0", 64) + "\"}]}]\n"
		p, err := Parse("policy.yaml", []byte(text))
		switch {
		case row.wrong == "" && (err != nil || p.CORS == nil):
			t.Errorf("%s: %v", row.list, err)
		case row.wrong != "" && (err == nil || !strings.Contains(err.Error(), row.wrong)):
			t.Errorf("%s: %v, want %q in it", row.list, err, row.wrong)
		}
	}
}
