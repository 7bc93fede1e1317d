package source

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// written is a table's files, one after the other.
func written(t *testing.T, list []*table.Provider) string {
	t.Helper()
	var b strings.Builder
	for _, p := range list {
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

const lite = `{
 "sample_spec": {"input_cost_per_token": 1, "litellm_provider": "openai"},
 "gpt-x": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 272000, "max_output_tokens": 128000,
   "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-07, "cache_creation_input_token_cost": 0.0,
   "input_cost_per_token_above_272k_tokens": 2.5e-06, "input_cost_per_token_priority": 2.5e-06, "output_cost_per_token_priority": 2e-05,
   "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.03},
   "regional_processing_uplift_multiplier_us": 1.1, "input_cost_per_fathom": 3},
 "embed": {"litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 2e-14, "output_cost_per_token": 0.0},
 "nothing": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0},
 "gemini/flash": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 3e-06},
 "flash": {"litellm_provider": "vertex_ai-language-models", "mode": "chat", "input_cost_per_token": 2e-06, "output_cost_per_token": 2e-06},
 "sora": {"litellm_provider": "openai", "mode": "video_generation", "output_cost_per_second": 0.1, "output_cost_per_second_720p": 0.3},
 "high/1024-x-1024/draw": {"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.25},
 "tiers": {"litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": [
   {"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256000.0]}, {"input_cost_per_token": 2.5e-07, "range": [256000.0, 1000000.0]}]},
 "quick": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 5e-06, "output_cost_per_token": 2.5e-05, "cache_creation_input_token_cost_above_1hr": 1e-05,
   "provider_specific_entry": {"us": 1.1, "fast": 6.0}}
}`

func TestLiteLLM(t *testing.T) {
	list, report, err := Parse([]byte(lite))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"provider":"anthropic","models":[
{"id":"quick","names":["quick"],"prices":[{"tiers":[{"input":5000000,"cache_write_1h":10000000,"output":25000000}]},{"service":"fast","tiers":[{"input":30000000,"cache_write_1h":60000000,"output":150000000}]}],"regions":{"us":1100}}
]}
{"provider":"dashscope","models":[
{"id":"tiers","names":["tiers"],"prices":[{"tiers":[{"input":50000,"output":400000},{"over":256000,"input":250000,"output":400000}]}]}
]}
{"provider":"google","models":[
{"id":"flash","names":["flash"],"prices":[{"tiers":[{"input":2000000,"output":3000000}]}]}
]}
{"provider":"openai","models":[
{"id":"draw","names":["draw"],"prices":[{"variant":"high/1024-x-1024","tiers":[{"images_out":250000000000}]}]},
{"id":"embed","names":["embed"],"prices":[{"tiers":[{"input":1}]}]},
{"id":"gpt-x","names":["gpt-x"],"prices":[{"tiers":[{"input":1250000,"cached_input":125000,"output":10000000,"searches":30000000000},{"over":272000,"input":2500000,"cached_input":125000,"output":10000000,"searches":30000000000}]},{"service":"priority","tiers":[{"input":2500000,"output":20000000}]}],"context_tokens":272000,"max_output_tokens":128000,"regions":{"us":1100}},
{"id":"sora","names":["sora"],"prices":[{"tiers":[{"video_seconds_out":100000000}]},{"variant":"720p","tiers":[{"video_seconds_out":300000000}]}]}
]}
`
	if got := written(t, list); got != want {
		t.Errorf("converted to\n%s\nwant\n%s", got, want)
	}
	for _, line := range []string{"litellm: nothing: no price", "litellm: openai/gpt-x: input_cost_per_fathom is of no unit that we know"} {
		if !slices.Contains(report.Dropped, line) {
			t.Errorf("left out %q, want %q among it", report.Dropped, line)
		}
	}
	if !slices.ContainsFunc(report.Rounded, func(line string) bool { return strings.Contains(line, "embed") }) || len(report.Differ) == 0 {
		t.Errorf("rounded %q, differ %q", report.Rounded, report.Differ)
	}
}

// TestMerge: the newer wins by unit, what only the older has stays, and what begins after the newer's day.
func TestMerge(t *testing.T) {
	older, _, err := Parse([]byte(`[{"id":"p","models":[
	 {"id":"a","match":{"or":[{"equals":"a"},{"starts_with":"a-2"},{"equals":"a-x"}]},"prices":[
	   {"prices":{"input_mtok":{"base":3,"tiers":[{"start":200000,"price":6}]},"output_mtok":4,"web_searches_kcount":10}},
	   {"constraint":{"start_date":"2026-02-01"},"prices":{"input_mtok":9,"output_mtok":9}},
	   {"constraint":{"start_date":"2027-02-01"},"prices":{"input_mtok":6,"output_mtok":8}}]},
	 {"id":"old","match":{"equals":"old"},"prices":{"input_mtok":1,"output_mtok":2}}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	newer, _, err := Parse([]byte(`{
	 "p/a": {"litellm_provider":"p","input_cost_per_token":2e-06,"output_cost_per_token":4e-06,"input_cost_per_token_flex":1e-06},
	 "p/a-x": {"litellm_provider":"p","input_cost_per_token":7e-06,"output_cost_per_token":7e-06},
	 "p/new": {"litellm_provider":"p","input_cost_per_token":1e-06,"output_cost_per_token":1e-06}}`))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	const want = `{"provider":"p","models":[
{"id":"a","names":["a"],"prefixes":["a-2"],"prices":[{"tiers":[{"input":2000000,"output":4000000,"searches":10000000000}]},{"service":"flex","tiers":[{"input":1000000}]},{"from":"2027-02-01","tiers":[{"input":6000000,"output":8000000,"searches":10000000000}]},{"service":"flex","from":"2027-02-01","tiers":[{"input":3000000}]}]},
{"id":"a-x","names":["a-x"],"prices":[{"tiers":[{"input":7000000,"output":7000000,"searches":10000000000}]},{"from":"2027-02-01","tiers":[{"input":6000000,"output":8000000,"searches":10000000000}]}]},
{"id":"new","names":["new"],"prefixes":["new"],"prices":[{"tiers":[{"input":1000000,"output":1000000}]}]},
{"id":"old","names":["old"],"prices":[{"tiers":[{"input":1000000,"output":2000000}]}]}
]}
`
	if got := written(t, Merge(older, newer, "2026-11-30", &r)); got != want {
		t.Errorf("merged to\n%s\nwant\n%s", got, want)
	}
	if !slices.Contains(r.Differ, "p/a: input over 0: 2000000 pico-USD was 3000000") {
		t.Errorf("differ %q", r.Differ)
	}
}

// TestMergeKeepsTiers: without a tier that only the older source has, a long input would
// cost as little as a short one. What the tier does not price rises with what it does.
func TestMergeKeepsTiers(t *testing.T) {
	older, _, err := Parse([]byte(`[{"id":"p","models":[
	 {"id":"stays","match":{"equals":"stays"},"prices":{"input_mtok":{"base":3,"tiers":[{"start":200000,"price":6}]},"output_mtok":{"base":4,"tiers":[{"start":200000,"price":5}]}}},
	 {"id":"ended","match":{"equals":"ended"},"prices":[{"prices":{"input_mtok":{"base":3,"tiers":[{"start":200000,"price":6}]},"output_mtok":4}},
	   {"constraint":{"start_date":"2026-03-13"},"prices":{"input_mtok":3,"output_mtok":4}}]}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	newer, _, err := Parse([]byte(`{
	 "p/stays": {"litellm_provider":"p","input_cost_per_token":3e-06,"cache_creation_input_token_cost_above_1hr":7e-06,"output_cost_per_token":4e-06},
	 "p/ended": {"litellm_provider":"p","input_cost_per_token":3e-06,"output_cost_per_token":4e-06}}`))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	const want = `{"provider":"p","models":[
{"id":"ended","names":["ended"],"prices":[{"tiers":[{"input":3000000,"output":4000000}]}]},
{"id":"stays","names":["stays"],"prices":[{"tiers":[{"input":3000000,"cache_write_1h":7000000,"output":4000000},{"over":200000,"input":6000000,"cache_write_1h":14000000,"output":5000000}]}]}
]}
`
	if got := written(t, Merge(older, newer, "2026-11-30", &r)); got != want {
		t.Errorf("merged to\n%s\nwant\n%s", got, want)
	}
	if want := []string{
		"p/ended: prices over 200000 tokens ended on 2026-03-13 by the older source, and the newer has none",
		"p/stays: prices over 200000 tokens are only in the older source, and stay",
	}; !slices.Equal(slices.Sorted(slices.Values(r.Differ)), want) {
		t.Errorf("differ %q", r.Differ)
	}
}

func TestParseRefusesWhatIsNeither(t *testing.T) {
	for _, text := range []string{"", "7", "[7]", `{"a":7}`, `{"a":{"litellm_provider":"p","input_cost_per_token":-1}}`,
		`{"a":{"litellm_provider":"p","input_cost_per_token":1e999999999}}`} {
		if list, _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q is taken for %v", text, list)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(lite))
	f.Add([]byte(sample))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _, err := Parse(data)
		if err != nil {
			return
		}
		for _, p := range list {
			var b strings.Builder
			if err := p.Write(&b); err != nil {
				t.Fatal(err)
			}
			if _, err := table.Parse([]byte(b.String())); err != nil && p.Provider != "" {
				t.Fatalf("what was read is no table: %v", err)
			}
		}
	})
}
