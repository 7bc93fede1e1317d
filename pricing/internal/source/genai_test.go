package source

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

func TestPicoUSD(t *testing.T) {
	for _, tt := range []struct {
		name    string
		price   json.Number
		units   int64
		want    int64
		rounded bool
	}{
		{"a whole price", "15", 1_000_000, 15_000_000, false},
		{"decimals", "0.003625", 1_000_000, 3_625, false},
		{"an exponent", "1e-06", 1_000_000, 1, false},
		{"per thousand requests", "12", 1_000, 12_000_000_000, false},
		{"the trace of a float is an integer", "0.18000000000000002", 1_000_000, 180_000, true},
		{"a third of a pico-USD is rounded up", "0.08333333333333334", 1_000_000, 83_334, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Report
			got, err := picoUSD(tt.price, tt.units, "model", &r)
			if err != nil || got != tt.want || (len(r.Rounded) > 0) != tt.rounded {
				t.Errorf("%d (%v), reported %v, want %d", got, err, r.Rounded, tt.want)
			}
		})
	}
	for _, bad := range []json.Number{"", "-1", "x", "1e30"} {
		if got, err := picoUSD(bad, 1_000_000, "model", &Report{}); err == nil {
			t.Errorf("%q is %d pico-USD, want an error", bad, got)
		}
	}
}

func TestWholeModel(t *testing.T) {
	for pattern, want := range map[string]string{
		"claude-haiku-4-5":           "claude-haiku-4-5",
		"claude-opus-4-0":            "claude-opus-4-0",
		"claude-opus-4@":             "claude-opus-4",
		"claude-sonnet-4-2025":       "claude-sonnet-4",
		"ft:gpt-4-0":                 "ft:gpt-4",
		"ft:gpt-4o-2024-":            "ft:gpt-4o",
		"gemini-2.0-flash-0":         "gemini-2.0-flash",
		"gpt-4o-mini-2024-07-18.ft-": "gpt-4o-mini-2024-07-18.ft-",
		"gpt-5-nano-":                "gpt-5-nano",
		"openai.gpt-oss-120b-1":      "openai.gpt-oss-120b-1",
	} {
		if got := wholeModel(pattern); got != want {
			t.Errorf("%q becomes %q, want %q", pattern, got, want)
		}
	}
}

const sample = `[{"id":"p","fallback_model_providers":["q"],"models":[
 {"id":"tiered","match":{"or":[{"equals":"b"},{"equals":"a"},{"equals":"a"},{"regex":"^a\\.1-\\d{8}$"},{"ends_with":"x/a"}]},
  "prices":[{"prices":{"input_mtok":{"base":1,"tiers":[{"start":200000,"price":2}]},"cache_read_mtok":0.1,"output_mtok":4}},
            {"constraint":{"start_date":"2026-07-30"},"prices":{"input_mtok":0.5,"output_mtok":2}},
            {"constraint":{"start_time":"00:30:00Z","end_time":"16:30:00Z"},"prices":{"input_mtok":3,"output_mtok":3,"requests_kcount":5}}]},
 {"id":"draws","match":{"equals":"draws"},"prices":{"input_mtok":1,"output_mtok":2,"output_image_mtok":30}},
 {"id":"unknown","match":{"equals":"unknown"},"prices":{}},
 {"id":"half","match":{"equals":"half"},"prices":{"input_mtok":0,"output_mtok":2}},
 {"id":"nothing","match":{"equals":"nothing"},"prices":{"input_mtok":0,"output_mtok":{"base":0,"tiers":[{"start":200000,"price":0}]}}},
 {"id":"given:free","match":{"equals":"given:free"},"prices":{"input_mtok":0,"output_mtok":0}},
 {"id":"gift:free","match":{"equals":"gift:free"},"prices":{}}]}]`

func TestConvert(t *testing.T) {
	var sources []sourceProvider
	if err := json.Unmarshal([]byte(sample), &sources); err != nil {
		t.Fatal(err)
	}
	var r Report
	p, err := convert(sources[0], &r)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := p.Write(&got); err != nil {
		t.Fatal(err)
	}
	const want = `{"provider":"p","fallback":["q"],"models":[
{"id":"draws","names":["draws"],"prices":[{"tiers":[{"input":1000000,"output":2000000,"image_output":30000000}]}]},
{"id":"gift:free","names":["gift:free"],"prices":[{"tiers":[{"input":0,"output":0}]}]},
{"id":"given:free","names":["given:free"],"prices":[{"tiers":[{"input":0,"output":0}]}]},
{"id":"half","names":["half"],"prices":[{"tiers":[{"output":2000000}]}]},
{"id":"tiered","names":["a","b"],"prefixes":["a.1"],"infixes":["x/a"],"prices":[{"tiers":[{"input":1000000,"cached_input":100000,"output":4000000},{"over":200000,"input":2000000,"cached_input":100000,"output":4000000}]},{"from":"2026-07-30","tiers":[{"input":500000,"output":2000000}]},{"start":"00:30","end":"16:30","tiers":[{"input":3000000,"output":3000000,"requests":5000000000}]}]}
]}
`
	if got.String() != want {
		t.Errorf("converted to\n%s\nwant\n%s", got.String(), want)
	}
	if wantDropped := []string{"p/unknown: no price", "p/nothing: no price"}; !reflect.DeepEqual(r.Dropped, wantDropped) {
		t.Errorf("left out %q, want %q", r.Dropped, wantDropped)
	}
	again, err := table.Parse([]byte(got.String()))
	if err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("what was written reads as %+v (%v), want %+v", again, err, p)
	}
}

func TestUnknownClausesAreErrors(t *testing.T) {
	for _, clauses := range []string{`{"and":[{"equals":"a"}]}`, `{"equals":"a","contains":"b"}`, `{}`} {
		var c clause
		if err := json.Unmarshal([]byte(clauses), &c); err == nil {
			t.Errorf("%s is no error", clauses)
		}
	}
	if err := match(clause{Regex: "a|b"}, &table.Model{}); err == nil {
		t.Error("an expression that is not a name and a date is no error")
	}
}
