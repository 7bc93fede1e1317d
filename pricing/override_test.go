package pricing_test

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"pgregory.net/rapid"
)

func with(t testing.TB, overrides ...pricing.Override) *pricing.Table {
	t.Helper()
	table, err := pricing.Builtin().With(overrides)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestOverridePrecedence: which of several overrides prices a model. Each is told apart by its price.
func TestOverridePrecedence(t *testing.T) {
	table := with(t,
		pricing.Override{Model: "*", Prices: flat("input", "9")},
		pricing.Override{Provider: "openai", Model: "gpt-*", Prices: flat("input", "8")},
		pricing.Override{Model: "gpt-4o", Prices: flat("input", "1")},
		pricing.Override{Provider: "openai", Model: "gpt-4o", Prices: flat("input", "2")},
		pricing.Override{Model: "gpt-4o-mini", MaxOutputTokens: 500},
	)
	for _, tt := range []struct {
		name, provider, model string
		want                  int64 // nano-USD for a million tokens
	}{
		{"the provider's whole name before any other", "openai", "gpt-4o", 2_000_000_000},
		{"a whole name before patterns", "azure", "gpt-4o", 1_000_000_000},
		{"case does not matter", "azure", "GPT-4o", 1_000_000_000},
		{"of patterns the first", "openai", "gpt-4.1", 9_000_000_000},
		{"limits alone do not hide another's price", "openai", "gpt-4o-mini", 9_000_000_000},
		{"unknown providers too", "my-own-vllm", "llama", 9_000_000_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := table.Lookup(tt.provider, tt.model, summer2026)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Cost(call.Usage{call.Input: 1_000_000}); err != nil || got != tt.want {
				t.Errorf("cost %d (%v), want %d", got, err, tt.want)
			}
		})
	}
}

func TestOverridePatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, model string
		want           bool
	}{
		{"*", "anything", true},
		{"llama*", "llama", true},
		{"llama*", "llama-3:8b", true},
		{"llama*", "codellama", false},
		{"*-instruct", "qwen-instruct", true},
		{"*-instruct", "qwen-instruct-2", false},
		{"a*b*c", "a-b-c", true},
		{"a*b*c", "abc", true},
		{"a*b*c", "ac", false},
		{"a*b*b", "ab", false},
		{"aa*aa", "aaa", false},
		{"Qwen/*", "qwen/Qwen3", true},
		{"gpt-4o", "gpt-4o-mini", false},
	} {
		t.Run(tt.pattern+" "+tt.model, func(t *testing.T) {
			_, err := with(t, pricing.Override{Model: tt.pattern, Prices: flat("input", "1")}).Lookup("mine", tt.model, summer2026)
			if (err == nil) != tt.want {
				t.Errorf("matches: %v, want %v", err == nil, tt.want)
			}
		})
	}
}

// flat is one price list: names of units and prices in turn.
func flat(prices ...string) []pricing.List {
	l := pricing.List{Prices: map[string]string{}}
	for i := 0; i < len(prices); i += 2 {
		l.Prices[prices[i]] = prices[i+1]
	}
	return []pricing.List{l}
}

// TestOverridesByServiceTierAndRegion: an operator can set what the table can hold.
func TestOverridesByServiceTierAndRegion(t *testing.T) {
	table := with(t, pricing.Override{Model: "m", Regions: map[string]string{"us": "1.1"}, Prices: []pricing.List{
		{Prices: map[string]string{"input": "1", "output": "4", "searches": "10", "video_seconds_out": "0.1"}},
		{Over: 1000, Prices: map[string]string{"input": "2"}},
		{Service: "priority", Prices: map[string]string{"input": "3", "output": "12"}},
	}})
	price, err := table.Lookup("mine", "m", summer2026)
	if err != nil {
		t.Fatal(err)
	}
	usage := call.Usage{call.Input: 1000, call.Output: 10}
	for _, tt := range []struct {
		name  string
		key   call.Key
		usage call.Usage
		want  int64 // nano-USD; 0: no price
	}{
		{"plain", call.Key{}, usage, 1_040_000},
		{"above the tier", call.Key{}, call.Usage{call.Input: 1001, call.Output: 10}, 2_042_000},
		{"a service", call.Key{Service: "priority"}, usage, 3_120_000},
		{"a service without a price", call.Key{Service: "flex"}, usage, 0},
		{"a variant without a price", call.Key{Variant: "720p"}, usage, 0},
		{"a region", call.Key{Region: "us"}, usage, 1_144_000},
		{"a region that nobody knows costs what the dearest does", call.Key{Region: "eu"}, usage, 1_144_000},
		{"a fee is the same in every region", call.Key{Region: "us"}, call.Usage{call.Searches: 1}, 10_000_000},
		{"time is priced by the second", call.Key{}, call.Usage{call.VideoTimeOut: 1500}, 150_000_000},
		{"a unit without a price", call.Key{}, call.Usage{call.ImagesOut: 1}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := price.For(tt.key)
			var got int64
			if err == nil {
				got, err = p.Cost(tt.usage)
			}
			if got != tt.want || errors.Is(err, pricing.ErrNoPrice) != (tt.want == 0) {
				t.Errorf("cost %d (%v), want %d", got, err, tt.want)
			}
		})
	}
}

func TestOverridePrices(t *testing.T) {
	table := with(t,
		pricing.Override{Model: "full", Prices: flat("input", "1", "cached_input", "0.1", "cache_write", "1.25", "audio_input", "10", "output", "4", "reasoning", "5", "audio_output", "20", "requests", "5")},
		pricing.Override{Model: "short", Prices: flat("input", "1", "output", "4")},
		pricing.Override{Model: "free", Prices: flat("input", "0", "output", "0")},
		pricing.Override{Model: "embeds", Prices: flat("input", "0.000001")},
	)
	usage := call.Usage{call.Input: 400, call.CachedInput: 100, call.CacheWrite: 200, call.AudioInput: 300, call.Output: 70, call.Reasoning: 10}
	for _, tt := range []struct {
		model string
		usage call.Usage
		want  int64 // nano-USD
	}{
		{"full", usage, 400_000 + 10_000 + 250_000 + 3_000_000 + 280_000 + 50_000 + 5_000_000},
		{"full", call.Usage{call.CachedInput: 50, call.AudioInput: 20, call.CachedAudioInput: 30}, 200_000 + 300_000 + 5_000 + 5_000_000}, // 30 cached audio at the audio price
		{"full", call.Usage{call.CacheWrite: 90, call.AudioCacheWrite: 10}, 112_500 + 100_000 + 5_000_000},                                // 10 written audio too
		{"short", usage, 1_000_000 + 320_000},
		{"free", usage, 0},
		{"embeds", call.Usage{call.Input: 1}, 1}, // a pico-USD, rounded up
	} {
		t.Run(tt.model, func(t *testing.T) {
			p, err := table.Lookup("mine", tt.model, summer2026)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Cost(tt.usage); err != nil || got != tt.want {
				t.Errorf("cost %d (%v), want %d", got, err, tt.want)
			}
		})
	}
	p, _ := table.Lookup("mine", "embeds", summer2026)
	if _, err := p.Worst(0, bounded(0, 1)...); !errors.Is(err, pricing.ErrNoPrice) {
		t.Errorf("output without a price: error %v, want ErrNoPrice", err)
	}
}

func TestFormatPriceIsWhatIsParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := call.Unit(rapid.IntRange(0, int(call.Units)-1).Draw(t, "unit"))
		pico := rapid.OneOf(rapid.Int64Range(0, 100), rapid.Int64Range(0, 1_000_000_000_000_000)).Draw(t, "pico-USD")
		text := pricing.FormatPrice(unit, pico)
		if got, err := pricing.ParsePrice(unit, text); err != nil || got != pico {
			t.Fatalf("%s: %d is written %s and read as %d (%v)", unit, pico, text, got, err)
		}
	})
}

func TestOverrideLimits(t *testing.T) {
	table := with(t,
		pricing.Override{Provider: "openai", Model: "gpt-4o", MaxOutputTokens: 500},
		pricing.Override{Model: "llama*", ContextTokens: 8192, Prices: flat("input", "0", "output", "0")},
	)
	if got, want := table.Limits("openai", "gpt-4o"), (pricing.Limits{ContextTokens: 128_000, MaxOutputTokens: 500}); got != want {
		t.Errorf("limits %+v, want %+v", got, want)
	}
	if got, want := table.Limits("mine", "llama-3"), (pricing.Limits{ContextTokens: 8192}); got != want {
		t.Errorf("limits %+v, want %+v", got, want)
	}
}

func TestOverridesChangeTheVersion(t *testing.T) {
	none, a := with(t), with(t, pricing.Override{Model: "m", Prices: flat("input", "1")})
	same, b := with(t, pricing.Override{Model: "m", Prices: flat("input", "1")}), with(t, pricing.Override{Model: "m", Prices: flat("input", "2")})
	if none.Version() != pricing.Builtin().Version() {
		t.Error("no overrides changed the version")
	}
	if a.Version() == none.Version() || a.Version() == b.Version() || a.Version() != same.Version() {
		t.Errorf("versions %s, %s, %s, %s", none.Version(), a.Version(), same.Version(), b.Version())
	}
	again, err := a.With(nil)
	if err != nil || again.Version() != none.Version() {
		t.Errorf("overrides are not replaced: version %s (%v)", again.Version(), err)
	}
}

func TestOverridesAreListed(t *testing.T) {
	table := with(t, pricing.Override{Provider: "mine", Model: "Llama", Prices: flat("input", "0")}, pricing.Override{Provider: "mine", Model: "x*", Prices: flat("input", "0")})
	if got := table.Models("mine"); !slices.Equal(got, []string{"llama"}) {
		t.Errorf("models %v, want llama", got)
	}
	if slices.Contains(table.Models("openai"), "llama") {
		t.Error("openai lists another provider's model")
	}
}

func TestBadOverrides(t *testing.T) {
	for _, tt := range []struct {
		name     string
		override pricing.Override
		want     string // in the error
	}{
		{"no model", pricing.Override{Prices: flat("input", "1")}, "model is empty"},
		{"nothing set", pricing.Override{Model: "m"}, "neither prices nor limits"},
		{"no input price", pricing.Override{Model: "m", Prices: flat("output", "1")}, "none for input"},
		{"reasoning without output", pricing.Override{Model: "m", Prices: flat("input", "1", "reasoning", "1")}, "not the output"},
		{"negative price", pricing.Override{Model: "m", Prices: flat("input", "-1")}, "not a price"},
		{"exponent", pricing.Override{Model: "m", Prices: flat("input", "1e3")}, "not a price"},
		{"no digits before the point", pricing.Override{Model: "m", Prices: flat("input", ".5")}, "not a price"},
		{"no digits after the point", pricing.Override{Model: "m", Prices: flat("input", "1.")}, "not a price"},
		{"two points", pricing.Override{Model: "m", Prices: flat("input", "1.2.3")}, "not a price"},
		{"space", pricing.Override{Model: "m", Prices: flat("input", " 1")}, "not a price"},
		{"other digits", pricing.Override{Model: "m", Prices: flat("input", "١")}, "not a price"},
		{"too precise", pricing.Override{Model: "m", Prices: flat("input", "0.0000001")}, "more than 6 decimals"},
		{"too dear", pricing.Override{Model: "m", Prices: flat("input", "1000000001")}, "greatest price"},
		{"no such unit", pricing.Override{Model: "m", Prices: flat("input", "1", "thoughts", "1")}, "not the name of a unit"},
		{"a tier without a first one", pricing.Override{Model: "m", Prices: []pricing.List{{Over: 5, Prices: map[string]string{"input": "1"}}}}, "do not follow"},
		{"a tier of another service", pricing.Override{Model: "m", Prices: append(flat("input", "1"), pricing.List{Service: "flex", Over: 5, Prices: map[string]string{"input": "1"}})}, "do not follow"},
		{"two lists of a service", pricing.Override{Model: "m", Prices: append(flat("input", "1"), flat("input", "1")...)}, "two price lists"},
		{"an empty list", pricing.Override{Model: "m", Prices: []pricing.List{{}}}, "without prices"},
		{"no factor", pricing.Override{Model: "m", Prices: flat("input", "1"), Regions: map[string]string{"us": "0"}}, "no factor"},
		{"negative limit", pricing.Override{Model: "m", ContextTokens: -1}, "limits must be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := pricing.Builtin().With([]pricing.Override{tt.override})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "price override 1") {
				t.Errorf("error %v, want one about override 1 with %q", err, tt.want)
			}
		})
	}
	twice := pricing.Override{Model: "m", Prices: flat("input", "1")}
	if _, err := pricing.Builtin().With([]pricing.Override{twice, twice}); err == nil {
		t.Error("the same model twice is no error")
	}
}

// FuzzOverridePrice: a price is either refused or taken exactly.
func FuzzOverridePrice(f *testing.F) {
	for _, seed := range []string{"0", "1", "2.50", "0.075", "0.000001", "1000000000", "1.0000000", "00.1", "-1", "1e9", ".", "", "0x1", "1_0", "9999999999999999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := pricing.Builtin().With([]pricing.Override{{Model: "m", Prices: flat("input", text, "output", "0")}})
		if err != nil {
			return
		}
		p, err := table.Lookup("mine", "m", summer2026)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Cost(call.Usage{call.Input: 1000}) // whose cost in nano-USD is the price in pico-USD
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q was taken for a price", text)
		}
		want.Mul(want, big.NewRat(1_000_000, 1))
		if err != nil || want.Cmp(big.NewRat(got, 1)) != 0 {
			t.Errorf("%q costs %d (%v), want %s pico-USD a token", text, got, err, want.RatString())
		}
	})
}
