package agents

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/gatetest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// ownPolicy has the upstreams of docs/agents.md for agents that pay by themselves.
const ownPolicy = `generation: 1
upstreams:
  - {name: anthropic, base_url: "%[1]s/v1", credential: client, provider: anthropic, dialects: [{name: anthropic}]}
  - {name: openai, base_url: "%[1]s/v1", credential: client, provider: openai, cap_field: max_completion_tokens}
  - {name: chatgpt, base_url: "%[2]s/backend-api/codex", credential: client, provider: openai, cap_field: none}
  - {name: google, base_url: "%[1]s", credential: client, provider: google, dialects: [{name: gemini}]}
models:
  - {match: "claude-*", upstreams: [anthropic]}
  - {match: "gemini-*", upstreams: [google]}
  - {match: "gpt-5", upstreams: [openai]}
  - {match: "gpt-5.4", upstreams: [chatgpt]}
tenants:
`

// payer is an agent that pays by itself, and how it names its tenant.
type payer struct {
	name, agent string
	credential  string // what the provider has to get, and where
	header      string // in which it gets that
	environment func(j job) []string
	arguments   []string
	files       map[string]string // in its home
}

// alone keeps Codex from hosts of its vendor beside the model's, which no proxy is asked for and
// which are not there: it would wait for them.
var alone = []string{"-c", "features.apps=false", "-c", "features.plugins=false", "-c", "features.remote_plugin=false", "-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false"}

// codexOwn is how Codex sends a tenant's key beside its own credential.
var codexOwn = []string{"-c", `model_providers.aegis.env_http_headers={"X-Aegis-Key"="AEGIS_PROXY_KEY"}`}

// loginToken is a token as ChatGPT's login has them, of an account.
func loginToken(account string) string {
	claims, _ := json.Marshal(map[string]any{
		"email": "dev@example.com", "exp": time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC).Unix(),
		"https://api.openai.com/auth": map[string]string{"chatgpt_plan_type": "pro", "chatgpt_user_id": "user-1", "chatgpt_account_id": account},
	})
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + part(claims) + "." + part([]byte("signature"))
}

func payers() []payer {
	token := loginToken("acct-1")
	login, _ := json.Marshal(map[string]any{
		"tokens":       map[string]string{"id_token": token, "access_token": token, "refresh_token": "rt-1", "account_id": "acct-1"},
		"last_refresh": time.Now().UTC().Format(time.RFC3339),
	})
	claude := func(more ...string) func(job) []string {
		return func(j job) []string {
			line := []string{"ANTHROPIC_BASE_URL=" + j.Base, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1", "DISABLE_AUTOUPDATER=1"}
			for _, variable := range more {
				line = append(line, strings.ReplaceAll(variable, "$KEY", j.Key))
			}
			return line
		}
	}
	return []payer{
		{name: "claude-key", agent: "claude-code", credential: "sk-ant-own-key", header: "X-Api-Key",
			environment: claude("ANTHROPIC_API_KEY=sk-ant-own-key", "ANTHROPIC_CUSTOM_HEADERS=X-Aegis-Key: $KEY")},
		{name: "claude-token", agent: "claude-code", credential: "Bearer sk-ant-oat01-own-token", header: "Authorization",
			environment: claude("CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-own-token", "ANTHROPIC_CUSTOM_HEADERS=X-Aegis-Key: $KEY")},
		{name: "claude-login", agent: "claude-code", credential: "Bearer sk-ant-oat01-own-login", header: "Authorization",
			environment: claude("ANTHROPIC_CUSTOM_HEADERS=X-Aegis-Key: $KEY"),
			files: map[string]string{".claude/.credentials.json": `{"claudeAiOauth":{"accessToken":"sk-ant-oat01-own-login","refreshToken":"sk-ant-ort01-own",` +
				`"expiresAt":4070908800000,"scopes":["user:inference","user:profile"],"subscriptionType":"max"}}`}},
		{name: "gemini-key", agent: "gemini-cli", credential: "AIza-own", header: "X-Goog-Api-Key",
			environment: func(j job) []string {
				return []string{"GOOGLE_GEMINI_BASE_URL=" + j.Base, "GEMINI_API_KEY=AIza-own", "GEMINI_CLI_CUSTOM_HEADERS=X-Aegis-Key: " + j.Key,
					"GEMINI_CLI_TRUST_WORKSPACE=true", "GEMINI_TELEMETRY_ENABLED=false"}
			}},
		{name: "codex-key", agent: "codex", credential: "Bearer sk-own-openai", header: "Authorization", arguments: codexOwn,
			environment: func(j job) []string { return []string{"AEGIS_KEY=sk-own-openai", "AEGIS_PROXY_KEY=" + j.Key} }},
		{name: "codex-login", agent: "codex", credential: "Bearer " + token, header: "Authorization",
			arguments:   slices.Concat([]string{"-c", "model=gpt-5.4", "-c", "model_providers.aegis.requires_openai_auth=true"}, alone, codexOwn),
			environment: func(j job) []string { return []string{"AEGIS_PROXY_KEY=" + j.Key} },
			files:       map[string]string{".codex/auth.json": string(login)}},
	}
}

// client is the agent with its command, with the arguments of this payer before the prompt.
func (p payer) client() client {
	c := clientNamed(p.agent)
	plain := c.command
	c.environment = func(_ client, j job) []string { return p.environment(j) }
	c.command = func(c client, j job) []string {
		line := plain(c, j)
		if len(p.arguments) == 0 {
			return line
		}
		var out []string
		for i, word := range line {
			switch {
			case p.files != nil && word == "-c" && line[i+1] == "model_providers.aegis.env_key=AEGIS_KEY": // the login stands in its place
			case p.files != nil && word == "model_providers.aegis.env_key=AEGIS_KEY":
			case word == "--":
				out = append(append(out, p.arguments...), word)
			default:
				out = append(out, word)
			}
		}
		return out
	}
	return c
}

// TestAgentsThatPay: the real agents, with a key of their own or with what a login has saved, name
// their tenant beside it. The provider gets the credential of each, and no key of ours, and
// the receipts tell the tenant.
func TestAgentsThatPay(t *testing.T) {
	w := &world{dir: t.TempDir(), keys: map[string]string{}}
	w.sim = simulator.New(simulator.Config{Script: w.script, Models: []string{"claude-opus-5", "gpt-5", "gemini-2.5-flash"}})
	chatgpt := simulator.New(simulator.Config{Script: w.script, Models: []string{"gpt-5.4"}, Refuses: []string{"max_output_tokens", "service_tier", "max_tool_calls"}})
	w.upstream = httptest.NewServer(w.sim)
	backend := httptest.NewServer(http.StripPrefix("/backend-api/codex", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/v1" + r.URL.Path
		chatgpt.ServeHTTP(rw, r)
	})))
	t.Cleanup(func() {
		w.sim.Close()
		chatgpt.Close()
		w.upstream.Close()
		backend.Close()
	})
	rules := fmt.Sprintf(ownPolicy, w.upstream.URL, backend.URL)
	for _, p := range payers() {
		secret, hash := policy.NewSecret()
		w.keys[p.name] = secret
		rules += fmt.Sprintf("  - name: %s\n    keys: [{id: %s, sha256: \"%s\"}]\n    hosted_tools: [{kind: web_search, when_offered: strip}]\n"+
			"    budgets: [{name: monthly, window: month, limit_usd: \"1000\"}]\n", p.name, p.name, hex.EncodeToString(hash[:]))
	}
	policyFile := filepath.Join(w.dir, "policy.yaml")
	if err := os.WriteFile(policyFile, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := w.serve(t, policyFile, "proxy")
	t.Run("of", func(t *testing.T) {
		for _, p := range payers() {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				pay(t, p, proxy.url, w.keys[p.name])
			})
		}
	})
	calls := append(w.sim.Calls(), chatgpt.Calls()...)
	charged := map[string]int{}
	for _, d := range gatetest.Receipts[audit.Decision](t, filepath.Join(w.dir, "proxy", "receipts")) {
		if d.Verdict != audit.Allow {
			t.Errorf("%s: %s was denied: %q", d.Facts.Tenant, d.Facts.Endpoint, d.Reasons)
		}
		charged[d.Facts.Tenant]++
	}
	for _, p := range payers() {
		got := 0
		for _, c := range calls {
			if c.Header.Get(p.header) == p.credential {
				got++
			}
		}
		if got < 2 || charged[p.name] != got {
			t.Errorf("%s: the provider got %d requests with its credential, and the tenant has %d receipts", p.name, got, charged[p.name])
		}
		for _, leak := range append(w.sim.Leaks(w.keys[p.name]), chatgpt.Leaks(w.keys[p.name])...) {
			t.Errorf("%s: its key went upstream: %s", p.name, leak)
		}
		if strings.Contains(proxy.log(), w.keys[p.name]) || strings.Contains(proxy.log(), strings.TrimPrefix(p.credential, "Bearer ")) {
			t.Errorf("%s: a secret is in the log", p.name)
		}
	}
}

// TestAgentsThatCannotPay: an agent without a tenant's key, or with that alone, sends one request, and a
// person reads what is missing.
func TestAgentsThatCannotPay(t *testing.T) {
	w := &world{dir: t.TempDir(), front: newFront()}
	w.sim = simulator.New(simulator.Config{Script: w.script, Models: []string{"claude-opus-5", "gpt-5"}})
	w.upstream = httptest.NewServer(w.sim)
	t.Cleanup(func() {
		w.front.server.Close()
		w.sim.Close()
		w.upstream.Close()
	})
	secret, hash := policy.NewSecret()
	policyFile := filepath.Join(w.dir, "policy.yaml")
	rules := fmt.Sprintf(ownPolicy, w.upstream.URL, w.upstream.URL) + "  - {name: acme, keys: [{id: acme-1, sha256: " + hex.EncodeToString(hash[:]) + "}]}\n"
	if err := os.WriteFile(policyFile, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := w.serve(t, policyFile, "proxy")
	t.Run("of", func(t *testing.T) {
		for _, row := range []struct {
			name   string
			client client
			key    string
			says   string
		}{
			{"claude-code-no-tenant", payers()[0].client(), "aegis-nobody", "aegis: the key in X-Aegis-Key, or behind /key/ in the base URL, belongs to no tenant"},
			{"claude-code-tenant-alone", clientNamed("claude-code"), secret, "aegis: upstream anthropic takes the client's own credential"},
			{"codex-no-tenant", payers()[4].client(), "aegis-nobody", "aegis: the key in X-Aegis-Key, or behind /key/ in the base URL, belongs to no tenant"},
			{"codex-tenant-alone", clientNamed("codex"), secret, "aegis: upstream openai takes the client's own credential"},
		} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				sent := w.front.open(row.name, proxy.url, nil)
				r := atWork(t, row.client, payer{}, w.front.server.URL+"/run/"+row.name, row.key)
				if !strings.Contains(spaces.ReplaceAllString(r.Output, " "), row.says) {
					t.Errorf("a person does not read %q:\n%s", row.says, r.Output)
				}
				r.Exchanges = sent.all()
				if r.asked() != 1 {
					t.Errorf("%d requests: %v", r.asked(), r.Exchanges)
				}
			})
		}
	})
	if got := w.sim.Totals().Received; got > 0 {
		t.Errorf("the provider got %d requests", got)
	}
}

// pay runs an agent with its own credential through two requests.
func pay(t *testing.T, p payer, url, key string) {
	r := atWork(t, p.client(), p, url, key)
	if !strings.Contains(spaces.ReplaceAllString(r.Output, " "), saidAfter) {
		t.Errorf("a person does not read %q:\n%s", saidAfter, r.Output)
	}
}

// atWork runs an agent in a home that has a payer's files.
func atWork(t *testing.T, c client, p payer, url, key string) result {
	t.Helper()
	dir := t.TempDir()
	for path, text := range p.files {
		path = filepath.Join(dir, "home", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"home", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return c.start(t.Context(), job{Case: "tool", Base: url, Key: key, Dir: filepath.Join(dir, "work")}, dir)
}
