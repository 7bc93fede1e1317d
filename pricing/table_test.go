package pricing_test

import (
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aegis-proxy/aegis-proxy/pricing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestVersionGolden: a change of any price or limit changes the version, on purpose only.
func TestVersionGolden(t *testing.T) {
	const golden = "testdata/version.golden"
	got := pricing.Builtin().Version() + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("table version %swant %sIf the table changed on purpose, run the test with -update.", got, want)
	}
}

func TestLookupMatches(t *testing.T) {
	for _, tt := range []struct {
		provider, model string
		want            string // entry, or "" where there must be no price
	}{
		{"openai", "gpt-4o", "openai/gpt-4o"},
		{"openai", "gpt-4o-2024-08-06", "openai/gpt-4o-2024-08-06"},
		{"openai", "gpt-4o-2031-01-01", ""},
		{"openai", "GPT-4o", "openai/gpt-4o"},
		{"openai", "gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13"},
		{"openai", "gpt-7", ""},
		{"openai", "gpt-4o ", ""},
		{"openai", "", ""},
		{"openai", "gpt-5.6-sol-2026-07-09", "openai/gpt-5.6-sol"},
		{"openai", "gpt-5.6-sol-mini", ""},
		{"openai", "ft:gpt-4o-2024-08-06:acme:name:abc123", "openai/ft:gpt-4o-2024-08-06"},
		{"openai", "ft:gpt-4o-mini-2024-07-18:acme::abc123", "openai/ft:gpt-4o-mini-2024-07-18"},
		{"openai", "ft:gpt-9-2031-01-01:acme::abc123", ""},
		{"openai", "gpt-4o-mini-2024-07-18.ft-abc123", "openai/gpt-4o-mini-2024-07-18.ft-"},
		{"openai", "omni-moderation-latest", "openai/moderation"},
		{"openai", "gpt-4o-moderation", ""},
		{"openai", "gpt-image-1", "openai/gpt-image-1"},
		{"azure", "gpt-4o", "azure/gpt-4o"},
		{"azure", "o3-mini", "azure/o3-mini"},
		{"azure", "prod-o4-mini", "azure/o4-mini"},
		{"azure", "o4-mini-deep-research", "openai/o4-mini-deep-research"},
		{"anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5-20250929"},
		{"anthropic", "claude-sonnet-4-20250514", "anthropic/claude-sonnet-4-0"},
		{"anthropic", "claude-sonnet-4-9", ""},
		{"anthropic", "claude-opus-5-5", "anthropic/claude-opus-5-5"},
		{"anthropic", "claude-opus-5-1", ""},
		{"google", "publishers/anthropic/models/claude-opus-4-6@20260205", "google/claude-opus-4-6"},
		{"google", "gemini-2.5-pro-preview-05-06", "google/gemini-2.5-pro"},
		{"google", "gemini-2.5-pro-image", ""},
		{"google", "gemini-2.5-flash-image", "google/gemini-2.5-flash-image"},
		{"cohere", "command-a-03-2025", "cohere/command-a-03-2025"},
		{"cohere", "command-a-vision-07-2025", ""},
		{"aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "aws/us.anthropic.claude-haiku-4-5-20251001-v1:0"},
		{"aws", "global.anthropic.claude-haiku-4-5-20251001-v1:0", "aws/global.anthropic.claude-haiku-4-5-20251001-v1:0"},
		{"groq", "meta-llama/Llama-4-Scout-17B-16E-Instruct", "groq/meta-llama/llama-4-scout-17b-16e-instruct"},
		{"x-ai", "grok-4.3-20260430", "x-ai/grok-4.3"},
		{"x-ai", "grok-4.3-fast", ""},
		{"OpenAI", "gpt-4o", ""},
		{"nobody", "gpt-4o", ""},
		{"openai", strings.Repeat("gpt-4o", 100), ""},
	} {
		t.Run(tt.provider+" "+tt.model, func(t *testing.T) {
			p, err := pricing.Builtin().Lookup(tt.provider, tt.model, summer2026)
			if p.Entry() != tt.want {
				t.Errorf("priced as %q, want %q", p.Entry(), tt.want)
			}
			if errors.Is(err, pricing.ErrNoPrice) != (tt.want == "") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestErrNoPriceSaysWhatToDo(t *testing.T) {
	_, err := pricing.Builtin().Lookup("openai", "gpt-7", summer2026)
	const want = `no price for model "gpt-7" of provider "openai": ask for a model that has one, or give it one by the line price: {input: N, output: N} at the model in the policy, or in the table of --prices`
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestLookupBeforeAnyPrice(t *testing.T) {
	if _, err := pricing.Builtin().Lookup("openai", "gpt-4o", time.Unix(-1, 0)); err != nil {
		t.Errorf("a price without a first day holds at any time: %v", err)
	}
}

func TestLoadRefusesAnUnknownFallback(t *testing.T) {
	_, err := pricing.Load(fstest.MapFS{"table/p.json": {Data: []byte(`{"provider":"p","fallback":["q"],"models":[]}`)}})
	if err == nil || !strings.Contains(err.Error(), `"q" is no provider`) {
		t.Errorf("error %v, want one that names q", err)
	}
}

func TestLoadRefusesAFileThatIsNamedForAnotherProvider(t *testing.T) {
	_, err := pricing.Load(fstest.MapFS{"table/p.json": {Data: []byte(`{"provider":"q","models":[]}`)}})
	if err == nil || !strings.Contains(err.Error(), `of the provider "q"`) {
		t.Errorf("error %v, want one that names q", err)
	}
}

// TestOnlyProvidersThatAreAskedForAreParsed: what a process does not ask for takes none of its memory.
func TestOnlyProvidersThatAreAskedForAreParsed(t *testing.T) {
	reads := map[string]int{}
	table, err := pricing.LoadTrusted([]string{"table/p.json", "table/q.json"}, func(name string) ([]byte, error) {
		reads[name]++
		return []byte(`{"provider":"` + name[len("table/"):len("table/x")] + `","models":[{"id":"m","names":["m"],"prices":[{"tiers":[{"input":1}]}]}]}`), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := table.Lookup("p", "m", summer2026); err != nil {
			t.Fatal(err)
		}
	}
	if reads["table/p.json"] != 2 || reads["table/q.json"] != 1 {
		t.Errorf("files were read %v, want each once for the version and that of p once more", reads)
	}
}

func TestModels(t *testing.T) {
	table := pricing.Builtin()
	providers := table.Providers()
	if !slices.IsSorted(providers) || !slices.Contains(providers, "openai") || !slices.Contains(providers, "mistral") {
		t.Errorf("providers %v", providers)
	}
	for _, provider := range providers {
		models := table.Models(provider)
		if !slices.IsSorted(models) || len(slices.Compact(slices.Clone(models))) != len(models) {
			t.Errorf("%s: models not sorted, or some twice", provider)
		}
		for _, model := range models {
			if _, err := table.Lookup(provider, model, summer2026); err != nil {
				t.Error(err)
			}
		}
	}
	for provider, model := range map[string]string{"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5", "groq": "llama-3.3-70b-versatile"} {
		if !slices.Contains(table.Models(provider), model) {
			t.Errorf("%s does not list %s", provider, model)
		}
	}
	if models := table.Models("nobody"); len(models) != 0 {
		t.Errorf("an unknown provider has models: %v", models)
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		provider, model string
		want            pricing.Limits
	}{
		{"openai", "gpt-4o", pricing.Limits{ContextTokens: 128_000, MaxOutputTokens: 16_384}},
		{"openai", "gpt-4o-2024-08-06", pricing.Limits{ContextTokens: 128_000, MaxOutputTokens: 16_384}},
		{"openai", "gpt-4o-2024-05-13", pricing.Limits{ContextTokens: 128_000, MaxOutputTokens: 4_096}},
		{"openai", "gpt-4-0613", pricing.Limits{ContextTokens: 8_192, MaxOutputTokens: 8_192}},
		{"openai", "gpt-4-0125-preview", pricing.Limits{ContextTokens: 128_000, MaxOutputTokens: 4_096}},
		{"openai", "gpt-5-mini-2025-08-07", pricing.Limits{ContextTokens: 400_000, MaxOutputTokens: 128_000}},
		{"openai", "o1-preview-2024-09-12", pricing.Limits{ContextTokens: 128_000, MaxOutputTokens: 32_768}},
		{"openai", "o3-2025-04-16", pricing.Limits{ContextTokens: 200_000, MaxOutputTokens: 100_000}},
		{"azure", "gpt-4.1-mini", pricing.Limits{ContextTokens: 1_047_576, MaxOutputTokens: 32_768}},
		{"groq", "openai/gpt-oss-120b", pricing.Limits{ContextTokens: 131_072, MaxOutputTokens: 65_536}},
		{"openai", "gpt-7", pricing.Limits{}},
		{"nobody", "gpt-4o", pricing.Limits{}},
	} {
		t.Run(tt.provider+" "+tt.model, func(t *testing.T) {
			if got := pricing.Builtin().Limits(tt.provider, tt.model); got != tt.want {
				t.Errorf("limits %+v, want %+v", got, tt.want)
			}
		})
	}
}
