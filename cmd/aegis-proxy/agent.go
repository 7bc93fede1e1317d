package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// doorway is where a program that is run finds its proxy.
type doorway struct {
	root string // its base URL without a version, with the run in it
	key  string // the tenant's key
	day  string // the directory of the budget of the day that it is counted in; "": none of ours
	bin  string // the directory of the wrappers; "": there are none
}

// The dialect of Google's API, whose version stands in the paths of its clients, and the
// version, which LiteLLM wants in the base URL.
const (
	geminiDialect = "gemini"
	geminiVersion = "/v1beta"
)

// versioned is the base URL for clients that want it with its version.
func (d doorway) versioned() string { return d.root + "/v1" }

// upstream is the base URL for a proxy that goes through it to a vendor.
func (d doorway) upstream(v policy.Vendor) string {
	if v.Speaks() == geminiDialect {
		return d.root
	}
	return d.versioned()
}

// agent is a program that needs more than the common variables.
type agent struct {
	name    string
	dialect string   // that it speaks; "": any
	drop    []string // variables that it must not have beside the others
	// never is why it cannot be run under a budget as it is set up; nil: it always can.
	never func() error
	// args are put before those of its command line; nil: none.
	args func(doorway) []string
}

// agents are known by the names of their commands.
var agents = []agent{
	// With both variables it asks its user which one is meant.
	{name: "claude", dialect: "anthropic", drop: []string{"ANTHROPIC_API_KEY"}},
	// It reads no variable for the base URL. A provider of its own takes the key from
	// the environment alone, where the built-in one would send what its login has saved.
	{name: "codex", dialect: "openai", args: codexArgs},
	{name: "gemini", dialect: geminiDialect, never: wantKeyChosen},
}

// agentOf is what is known of a command.
func agentOf(command string) agent {
	name := strings.TrimSuffix(filepath.Base(command), filepath.Ext(command))
	for _, a := range agents {
		if a.name == name || a.name == filepath.Base(command) {
			return a
		}
	}
	return agent{name: filepath.Base(command)}
}

// refusal is why the agent cannot be run under a budget; nil: it can.
func (a agent) refusal() error {
	if a.never == nil {
		return nil
	}
	return a.never()
}

func codexArgs(d doorway) []string {
	return []string{
		"-c", `model_provider="aegis"`,
		"-c", `model_providers.aegis.name="aegis"`,
		"-c", `model_providers.aegis.base_url="` + d.versioned() + `"`,
		"-c", `model_providers.aegis.env_key="OPENAI_API_KEY"`,
		"-c", `model_providers.aegis.wire_api="responses"`,
		// Where little of the budget is left it would offer to change to a model that may
		// not be reached, in a dialog that takes what is typed next.
		"-c", `notice.hide_rate_limit_model_nudge=true`,
	}
}

// rootVariables, versionedVariables and keyVariables are what clients read base URL and
// key from. Aider's own are set too: a .env file that it loads overrides the common ones.
var (
	rootVariables      = []string{"ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE", "ANTHROPIC_API_URL", "GOOGLE_GEMINI_BASE_URL"}
	versionedVariables = []string{"OPENAI_BASE_URL", "OPENAI_API_BASE", "AIDER_OPENAI_API_BASE"}
	keyVariables       = []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "AIDER_OPENAI_API_KEY", "AIDER_ANTHROPIC_API_KEY", "GEMINI_API_KEY"}
)

// bypasses are variables that would lead a client past the proxy, or to the proxy with a
// credential that is not for it: keys of APIs that are not governed, which a library of
// many APIs would call directly.
var bypasses = []string{
	"CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_OAUTH_TOKEN",
	"CODEX_API_KEY", "CODEX_ACCESS_TOKEN",
	"AWS_BEARER_TOKEN_BEDROCK", "AZURE_OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_AI_API_KEY",
	"GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA", "GOOGLE_CLOUD_ACCESS_TOKEN", "GEMINI_CLI_USE_COMPUTE_ADC",
	"AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN",
	"COHERE_API_KEY", "CO_API_KEY", "PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY", "DEEPINFRA_API_KEY", "NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY",
	"AI21_API_KEY", "DASHSCOPE_API_KEY", "ZAI_API_KEY", "MINIMAX_API_KEY", "SAMBANOVA_API_KEY", "NEBIUS_API_KEY",
	"REPLICATE_API_KEY", "REPLICATE_API_TOKEN", "VOYAGE_API_KEY",
}

// environment is what the agent gets of ours, with the proxy in place of the providers.
func (a agent) environment(ours []string, d doorway) []string {
	set := map[string]string{
		// Its traces go to OpenAI whatever the base URL is, with the key.
		"OPENAI_AGENTS_DISABLE_TRACING": "1",
		"GEMINI_API_BASE":               d.root + geminiVersion,
	}
	for _, list := range []struct {
		names []string
		value string
	}{{rootVariables, d.root}, {versionedVariables, d.versioned()}, {keyVariables, d.key}} {
		for _, name := range list.names {
			set[name] = list.value
		}
	}
	for _, v := range policy.Vendors() {
		if v.KeyEnv != "" && os.Getenv(v.KeyEnv) != "" && set[v.KeyEnv] == "" {
			set[v.KeyEnv] = d.key
			set[baseVariable(v)] = d.versioned()
		}
	}
	if day := cmp.Or(d.day, os.Getenv(dayVariable)); day != "" {
		set[dayVariable] = day
	}
	if d.bin != "" {
		set["PATH"] = d.bin + string(os.PathListSeparator) + os.Getenv("PATH")
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		set[name] = strings.TrimPrefix(os.Getenv(name)+",127.0.0.1", ",")
	}
	drop := slices.Concat(bypasses, a.drop)
	return merged(ours, set, drop)
}

// merged is an environment with variables set and others left out. What is for us alone
// goes no further.
func merged(ours []string, set map[string]string, drop []string) (out []string) {
	for _, entry := range ours {
		name, _, _ := strings.Cut(entry, "=")
		if _, replaced := set[name]; replaced || slices.Contains(drop, name) || strings.HasPrefix(name, "AEGIS_") {
			continue
		}
		out = append(out, entry)
	}
	for name, value := range set {
		if !slices.Contains(drop, name) {
			out = append(out, name+"="+value)
		}
	}
	slices.Sort(out)
	return out
}
