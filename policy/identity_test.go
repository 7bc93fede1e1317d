package policy_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

func TestIdentify(t *testing.T) {
	p := parse(t, head+tenantText("mode: enforce"))
	if k, ok := p.Identify("secret"); !ok || k.ID != "acme-1" || k.Tenant.Name != "acme" {
		t.Errorf("the tenant's key: got %v, %v", k, ok)
	}
	for _, wrong := range []string{"", "Secret", "secret ", hashOf("secret"), "acme-1"} {
		if k, ok := p.Identify(wrong); ok {
			t.Errorf("%q is taken for %v", wrong, k)
		}
	}
}

func TestNewSecret(t *testing.T) {
	secret, hash := policy.NewSecret()
	if hash != sha256.Sum256([]byte(secret)) {
		t.Error("the hash is not that of the secret")
	}
	if !strings.HasPrefix(secret, "aegis-") || len(secret) != len("aegis-")+64 {
		t.Errorf("the secret has %d bytes", len(secret))
	}
	if other, _ := policy.NewSecret(); other == secret {
		t.Error("two secrets are the same")
	}
}

func starter(tenant string, hash [32]byte) *policy.Starter {
	return &policy.Starter{
		Generation: 1, Tenant: tenant, KeyID: "key-1", Hash: hash, Vendors: policy.Vendors(),
		Budgets: []policy.StarterBudget{{Name: "daily", Window: "day", Limit: 10e9}},
	}
}

func TestStarterIsValid(t *testing.T) {
	secret, hash := policy.NewSecret()
	p := parse(t, string(starter("my-team", hash).Bytes()))
	k, ok := p.Identify(secret)
	if !ok || k.Tenant.Name != "my-team" || k.ID != "key-1" {
		t.Fatalf("found %v, %v", k, ok)
	}
	if model, route := p.Route(k.Tenant, "gpt-4o"); model == nil || len(route) != 1 {
		t.Error("no route for a model of OpenAI")
	}
	if len(k.Tenant.Budgets) == 0 {
		t.Error("nothing limits the tenant")
	}
}

// Each vendor alone, and all together, are a policy; what a vendor serves has a price
// in the table, unless it runs on one's own machine.
func TestStarterKnowsItsVendors(t *testing.T) {
	for _, v := range policy.Vendors() {
		first := starter("team", [32]byte{1})
		first.Vendors = []policy.Vendor{v}
		p := parse(t, string(first.Bytes()))
		if m := p.ModelFor("anything"); m == nil || m.Upstreams[0].Name != v.Name || m.Upstreams[0].In(v.Speaks()) == nil {
			t.Errorf("%s: alone it does not serve every model: %+v", v.Name, m)
		}
		known := slices.ContainsFunc(pricing.Builtin().Models(v.Provider), func(model string) bool {
			return slices.ContainsFunc(v.Models, func(pattern string) bool { return names.Match(pattern, model) })
		})
		if known == v.Local {
			t.Errorf("%s: the price table has models of provider %s that match %v: %v, local: %v", v.Name, v.Provider, v.Models, known, v.Local)
		}
	}
	first := starter("team", [32]byte{1})
	first.Vendors = slices.DeleteFunc(first.Vendors, func(v policy.Vendor) bool { return v.Local })
	p := parse(t, string(first.Bytes()))
	for model, upstream := range map[string]string{
		"gpt-5-codex": "openai", "claude-opus-4-5": "anthropic", "deepseek-chat": "deepseek", "llama-3.3-70b-versatile": "groq",
		"anthropic/claude-opus-4.5": "openrouter", "accounts/fireworks/models/kimi-k2": "fireworks", "unheard-of": "openai",
	} {
		if m := p.ModelFor(model); m == nil || m.Upstreams[0].Name != upstream {
			t.Errorf("%s goes to %+v, want %s", model, m, upstream)
		}
	}
}

// The longest tenant name still gives a valid policy.
func TestStarterTakesAnyName(t *testing.T) {
	_, hash := policy.NewSecret()
	parse(t, string(starter(strings.Repeat("a", 64), hash).Bytes()))
}

func TestRoute(t *testing.T) {
	p := parse(t, head+`tenants:
  - {name: any}
  - {name: reversed, upstreams: [azure, local, openai]}
  - {name: one, upstreams: openai}
  - {name: "local", upstreams: [local]}
`)
	for _, c := range []struct{ tenant, model, match, want string }{
		{"any", "gpt-4o", "gpt-*", "[openai azure]"},
		{"any", "gpt-5-mini", "gpt-5-mini", "[local]"},
		{"any", "llama3", "llama*", "[local]"},
		{"any", "o1", "", "[]"},
		{"reversed", "gpt-4o", "gpt-*", "[azure openai]"},
		{"one", "gpt-4o", "gpt-*", "[openai]"},
		{"local", "gpt-4o", "gpt-*", "[]"},
	} {
		model, route := p.Route(p.Tenant(c.tenant), c.model)
		match := ""
		if model != nil {
			match = model.Match
		}
		if got := fmt.Sprint(route); got != c.want || match != c.match {
			t.Errorf("%s for %s: got %q to %s, want %q to %s", c.model, c.tenant, match, got, c.match, c.want)
		}
	}
}

// TestUnrouted: a tenant's list of upstreams denies by a reason of its own, and
// what no tenant has by another.
func TestUnrouted(t *testing.T) {
	p := parse(t, head+`tenants:
  - {name: any}
  - {name: one, upstreams: openai}
  - {name: "local", upstreams: [local]}
`)
	for _, c := range []struct {
		tenant, model, upstream, dialect string
		want                             call.Reason
	}{
		{"any", "gpt-4o", "", "openai", ""},
		{"any", "gpt-4o", "", "anthropic", policy.NoRoute},
		{"any", "gpt-4o", "azure", "anthropic", policy.NoRoute},
		{"local", "gpt-4o", "", "anthropic", policy.UpstreamNotAllowed},
		{"any", "gpt-4o", "", "", ""},
		{"any", "gpt-4o", "azure", "", ""},
		{"any", "gpt-4o", "local", "", policy.NoRoute},
		{"any", "o1", "", "", policy.NoRoute},
		{"one", "gpt-4o", "openai", "", ""},
		{"one", "gpt-4o", "azure", "", policy.UpstreamNotAllowed},
		{"local", "gpt-4o", "", "", policy.UpstreamNotAllowed},
		{"local", "gpt-4o", "nowhere", "", policy.NoRoute},
		{"local", "o1", "", "", policy.NoRoute},
	} {
		got := call.Reason("")
		if denial := p.Unrouted(p.Tenant(c.tenant), &call.Facts{Model: c.model, Upstream: c.upstream, Dialect: c.dialect}); denial != nil {
			got = denial.Reason
		}
		if got != c.want {
			t.Errorf("%s to %q for %s: %q, want %q", c.model, c.upstream, c.tenant, got, c.want)
		}
	}
}

// upstream parses a policy whose one upstream has a line more.
func upstream(t *testing.T, line string) *policy.Upstream {
	t.Helper()
	return parse(t, upstreamText(line)).Upstreams["openai"]
}

func upstreamText(line string) string {
	return `generation: 1
upstreams:
  - name: openai
    base_url: https://api.openai.com/v1/
    provider: openai
    cap_field: max_tokens
    ` + line + `
models: [{match: "*", upstreams: openai}]
tenants: [{name: acme}]
`
}

func TestSecretFromEnvironment(t *testing.T) {
	u := upstream(t, "api_key_env: AEGIS_TEST_KEY")
	for _, c := range []struct{ name, value, want, err string }{
		{"not set", "", "", "no API key: environment variable AEGIS_TEST_KEY is empty or not set; set it to the provider's key and start again"},
		{"set", "sk-1", "sk-1", ""},
		{"set anew", "sk-2\n", "sk-2", ""},
		{"two lines", "sk-3\nsk-3", "", "AEGIS_TEST_KEY holds a character"},
		{"too long", strings.Repeat("k", 1<<15), "", "AEGIS_TEST_KEY is longer than"},
	} {
		t.Setenv("AEGIS_TEST_KEY", c.value)
		checkSecret(t, c.name, u, c.want, c.err)
	}
}

func TestSecretFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	u := upstream(t, "api_key_file: "+path)
	checkSecret(t, "no file", u, "", path)
	for _, c := range []struct{ name, value, want, err string }{
		{"a file", "sk-1\r\n", "sk-1", ""},
		{"changed", "sk-2", "sk-2", ""},
		{"empty", "\n", "", path + " is empty or not set; write the provider's key into it"},
		{"too long", strings.Repeat("k", 1<<15), "", path + " is longer than"},
	} {
		if err := os.WriteFile(path, []byte(c.value), 0o600); err != nil {
			t.Fatal(err)
		}
		checkSecret(t, c.name, u, c.want, c.err)
	}
}

func checkSecret(t *testing.T, name string, u *policy.Upstream, want, wantErr string) {
	t.Helper()
	got, err := u.Secret()
	if got != want || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
		t.Errorf("%s: got %q, %v; want %q, %q", name, got, err, want, wantErr)
	}
	if err != nil && strings.Contains(err.Error(), "sk-") {
		t.Errorf("%s: the error tells the key", name)
	}
}

func TestNoSecret(t *testing.T) {
	checkSecret(t, "none configured", upstream(t, "stream_usage: false"), "", "")
}

func TestBaseURLEndsWithoutSlash(t *testing.T) {
	if got := upstream(t, "stream_usage: true").BaseURL; got != "https://api.openai.com/v1" {
		t.Errorf("got %s", got)
	}
}

// However an upstream or a key is printed, neither its secret, nor its hash,
// nor where it comes from is in it.
func TestPrintingShowsNoSecrets(t *testing.T) {
	t.Setenv("AEGIS_TEST_KEY", "sk-this-is-secret")
	u := upstream(t, "api_key_env: AEGIS_TEST_KEY")
	k := parse(t, head+tenantText("mode: enforce")).Tenants[0].Keys[0]
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "upstream", u, "key", k, "by value", *u, "key by value", *k)
	texts := []string{logged.String()}
	for _, v := range []any{u, *u, k, *k} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
	}
	hash := fmt.Sprint(k.Hash)
	for _, text := range texts {
		for _, secret := range []string{"sk-", "AEGIS_TEST_KEY", hashOf("secret"), hash, strings.Trim(hash, "[]")} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %s", secret, text)
			}
		}
	}
}
