package pricing_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"pgregory.net/rapid"
)

var summer2026 = time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)

func lookup(t testing.TB, provider, model string, at time.Time) pricing.Price {
	t.Helper()
	p, err := pricing.Builtin().Lookup(provider, model, at)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// allPrices are the prices of everything in the table at an instant.
func allPrices(t testing.TB, at time.Time) []pricing.Price {
	t.Helper()
	var prices []pricing.Price
	table := pricing.Builtin()
	for _, provider := range table.Providers() {
		for _, model := range table.Models(provider) {
			prices = append(prices, lookup(t, provider, model, at))
		}
	}
	return prices
}

func TestCost(t *testing.T) {
	const million = 1_000_000
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name, provider, model string
		at                    time.Time
		usage                 call.Usage
		want                  int64 // nano-USD
	}{
		{"plain", "openai", "gpt-4o-mini", summer2026, call.Usage{call.Input: 1000, call.Output: 100}, 210_000},
		{"cached input is cheaper", "openai", "gpt-4o-mini", summer2026, call.Usage{call.CachedInput: 1000}, 75_000},
		{"cached input without a price of its own costs as input", "openai", "o3-pro", summer2026, call.Usage{call.CachedInput: 10}, 200_000},
		{"nothing costs nothing", "openai", "gpt-4o", summer2026, call.Usage{}, 0},
		{"a fraction of a nano-USD is rounded up", "openai", "text-embedding-3-small", summer2026, call.Usage{call.Input: 1}, 20},
		{"the sum is rounded, not its parts", "openrouter", "openai/gpt-oss-20b", summer2026, call.Usage{call.Input: 1, call.Output: 1}, 169},
		{"reasoning costs as output", "openai", "o3", summer2026, call.Usage{call.Output: 10, call.Reasoning: 90}, 800_000},
		{"reasoning at its own price", "openrouter", "perplexity/sonar-deep-research", summer2026, call.Usage{call.Output: million - million/2, call.Reasoning: million / 2}, 5_500_000_000},
		{"audio in and out", "openai", "gpt-audio", summer2026, call.Usage{call.Input: 40, call.AudioInput: 60, call.Output: 20, call.AudioOutput: 30}, 4_140_000},
		{"cache write", "openai", "gpt-5.6-sol", summer2026, call.Usage{call.CacheWrite: 1000}, 5_000_000},
		{"cached audio", "openai", "gpt-4o-realtime-preview", summer2026, call.Usage{call.CachedInput: 40, call.AudioInput: 40, call.CachedAudioInput: 20}, 1_750_000},
		{"fee per request", "perplexity", "sonar", summer2026, call.Usage{call.Input: 1, call.Output: 1}, 12_002_000},
		{"below the context tier", "openai", "gpt-5.4", summer2026, call.Usage{call.Input: 272_000, call.Output: 1}, 680_015_000},
		{"above it the whole request is dearer", "openai", "gpt-5.4", summer2026, call.Usage{call.Input: 272_001, call.Output: 1}, 1_360_027_500},
		{"a price to come does not hold yet", "google", "gemini-3.6-flash", summer2026, call.Usage{call.Input: 1}, 750},
		{"and then holds", "google", "gemini-3.6-flash", day(2027, 1, 1), call.Usage{call.Input: 1}, 1_500},
		{"a first model that was never repriced", "openai", "gpt-4o-2024-05-13", summer2026, call.Usage{call.Input: 1, call.Output: 1}, 20_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := lookup(t, tt.provider, tt.model, tt.at).Cost(tt.usage)
			if err != nil || got != tt.want {
				t.Errorf("cost %d nano-USD (%v), want %d", got, err, tt.want)
			}
		})
	}
}

// TestPricesByDayAndHour: the last list that holds at an instant counts.
func TestPricesByDayAndHour(t *testing.T) {
	table, err := pricing.Load(fstest.MapFS{"table/p.json": {Data: []byte(`{"provider":"p","models":[
		{"id":"dated","names":["dated"],"prices":[{"tiers":[{"input":10000000}]},{"from":"2025-06-10","tiers":[{"input":2000000}]}]},
		{"id":"hourly","names":["hourly"],"prices":[{"tiers":[{"input":135000}]},{"start":"00:30","end":"16:30","tiers":[{"input":270000}]}]}]}`)}})
	if err != nil {
		t.Fatal(err)
	}
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name, model string
		at          time.Time
		want        int64 // nano-USD for a token of input
	}{
		{"a day before the price starts", "dated", day(2025, 6, 9), 10_000},
		{"its last second", "dated", day(2025, 6, 10).Add(-time.Second), 10_000},
		{"its first second", "dated", day(2025, 6, 10), 2_000},
		{"off-peak", "hourly", day(2025, 7, 1).Add(29 * time.Minute), 135},
		{"peak begins", "hourly", day(2025, 7, 1).Add(30 * time.Minute), 270},
		{"peak ends", "hourly", day(2025, 7, 1).Add(16*time.Hour + 30*time.Minute), 135},
		{"time of day is UTC's", "hourly", time.Date(2025, 7, 1, 1, 0, 0, 0, time.FixedZone("CEST", 7200)), 135},
	} {
		price, err := table.Lookup("p", tt.model, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := price.Cost(call.Usage{call.Input: 1}); err != nil || got != tt.want {
			t.Errorf("%s: %d nano-USD (%v), want %d", tt.name, got, err, tt.want)
		}
	}
}

// TestAnnouncedPrices: a price that is known to change on a day changes then, at every service.
func TestAnnouncedPrices(t *testing.T) {
	for _, tt := range []struct {
		model, service string
		day            time.Time
		input, output  int64 // nano-USD a token
	}{
		{"gemini-4-argon", "", time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC), 2_000, 10_000},
		{"gemini-4-argon", "", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), 4_000, 20_000},
		{"gemini-4-argon", "priority", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), 7_200, 36_000},
		{"gemini-3.8-flash", "", time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), 750, 3_750},
		{"gemini-3.8-flash", "", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), 1_500, 7_500},
		{"gemini-3.6-flash", "priority", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), 2_700, 13_500},
	} {
		p, err := lookup(t, "google", tt.model, tt.day).For(call.Key{Service: tt.service})
		if err != nil {
			t.Fatal(err)
		}
		input, _ := p.Cost(call.Usage{call.Input: 1})
		output, _ := p.Cost(call.Usage{call.Output: 1})
		if input != tt.input || output != tt.output {
			t.Errorf("%s %s at %s: %d and %d, want %d and %d", tt.model, tt.service, tt.day, input, output, tt.input, tt.output)
		}
	}
}

// TestServices: the table has what a service tier costs, and gpt-5 at priority twice the standard price.
func TestServices(t *testing.T) {
	p, err := lookup(t, "openai", "gpt-5", summer2026).For(call.Key{Service: "priority"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Cost(call.Usage{call.Input: 1000, call.Output: 100}); err != nil || got != 4_500_000 {
		t.Errorf("%d nano-USD (%v), want 4500000", got, err)
	}
	if _, err := p.For(call.Key{Service: "turbo"}); err == nil || !strings.Contains(err.Error(), `the line price: {input: N, output: N, services: {"turbo": {input: N, output: N}}} at the model`) {
		t.Errorf("a service without a price is told %v", err)
	}
}

// TestCostByLifetimeOfCacheWrites: each lifetime has its own price, and where it has none that of the next shorter one.
func TestCostByLifetimeOfCacheWrites(t *testing.T) {
	p := lookup(t, "anthropic", "claude-haiku-4-5-20251001", summer2026) // input 1 USD, writes 1.25 and 2 USD per million
	for unit, want := range map[call.Unit]int64{call.CacheWrite: 1_250_000, call.CacheWrite1h: 2_000_000, call.CacheWrite12h: 2_000_000} {
		var usage call.Usage
		usage[unit] = 1000
		if got, err := p.Cost(usage); err != nil || got != want {
			t.Errorf("%s: %d nano-USD (%v), want %d", unit, got, err, want)
		}
	}
}

// bounded is a bound of so much text in and out, with what else may be in it.
func bounded(input, output int64, kinds ...call.Unit) []call.Part {
	in, out := call.Of(call.Input, call.CachedInput), call.Of(call.Output, call.Reasoning)
	in |= call.Of(kinds...) & call.Inputs
	out |= call.Of(kinds...) & call.Outputs
	return []call.Part{{Fixed: input, Kinds: in}, {Fixed: output, Kinds: out}}
}

func TestWorst(t *testing.T) {
	for _, tt := range []struct {
		name, provider, model string
		bound                 []call.Part
		want                  int64 // nano-USD
	}{
		{"plain", "openai", "gpt-4o-mini", bounded(1000, 100), 210_000},
		{"no audio, no audio rate", "openai", "gpt-audio", bounded(100, 10), 350_000},
		{"audio in and out", "openai", "gpt-audio", bounded(100, 10, call.AudioInput, call.AudioOutput), 3_840_000},
		{"no cache writes, no write rate", "openai", "gpt-5.6-sol", bounded(1000, 0), 4_000_000},
		{"cache writes", "openai", "gpt-5.6-sol", bounded(1000, 0, call.CacheWrite), 5_000_000},
		{"cache writes that may live an hour", "anthropic", "claude-haiku-4-5", bounded(1000, 0, call.CacheWrite1h), 2_000_000},
		{"context tier out of reach", "openai", "gpt-5.4", bounded(272_000, 1), 680_015_000},
		{"context tier in reach", "openai", "gpt-5.4", bounded(272_001, 1), 1_360_027_500},
		{"cheaper reasoning does not lower it", "openrouter", "perplexity/sonar-deep-research", bounded(0, 1000), 8_000_000},
		{"fee per request", "perplexity", "sonar-pro", nil, 14_000_000},
		{"parts of several kinds", "openai", "gpt-audio", []call.Part{
			{Fixed: 100, Kinds: call.Of(call.Input)}, {Fixed: 10, Kinds: call.Of(call.AudioInput)},
		}, 250_000 + 320_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := lookup(t, tt.provider, tt.model, summer2026).Worst(0, tt.bound...)
			if err != nil || got != tt.want {
				t.Errorf("worst case %d nano-USD (%v), want %d", got, err, tt.want)
			}
		})
	}
}

// TestWorstOfRounds: the longest round picks the context tier, not the sum of all.
func TestWorstOfRounds(t *testing.T) {
	got, err := lookup(t, "openai", "gpt-5.4", summer2026).Worst(272_000, bounded(544_000, 1)...)
	if want := int64(1_360_015_000); err != nil || got != want {
		t.Errorf("worst case %d nano-USD (%v), want %d", got, err, want)
	}
}

// TestWorstCoversEveryUsage: whatever a model's provider reports within the bound costs at most the bound's cost.
func TestWorstCoversEveryUsage(t *testing.T) {
	prices := append(allPrices(t, summer2026), allPrices(t, bodiesPricedAt)...)
	prices = append(prices, jaggedPrices(t)...)
	rapid.Check(t, func(t *rapid.T) {
		round, parts := drawBound(t)
		u := drawUsage(t, parts)
		for _, p := range prices {
			worst, err := p.Worst(round, parts...)
			if errors.Is(err, pricing.ErrNoPrice) {
				continue // a unit that the model does not bill
			}
			if err != nil {
				t.Fatalf("%s: Worst(%d, %+v): %v", p.Entry(), round, parts, err)
			}
			cost, err := p.CostInRounds(u, roundOf(round, &u))
			if err != nil || cost > worst {
				t.Fatalf("%s: Cost(%v) = %d (%v), above Worst(%d, %+v) = %d", p.Entry(), u, cost, err, round, parts, worst)
			}
		}
	})
}

// TestWorstHasTheFeeOfARequest: what may be calls or queries has it beside either.
func TestWorstHasTheFeeOfARequest(t *testing.T) {
	table, err := pricing.Builtin().With([]pricing.Override{{Model: "m", Prices: []pricing.List{{Prices: map[string]string{"requests": "7.2", "queries": "0.1"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	price, err := table.Lookup("any", "m", summer2026)
	if err != nil {
		t.Fatal(err)
	}
	worst, err := price.Worst(0, call.Part{Fixed: 1, Kinds: call.Of(call.Requests, call.Queries)})
	if err != nil {
		t.Fatal(err)
	}
	cost, err := price.Cost(call.Usage{call.Queries: 1})
	if err != nil || cost > worst {
		t.Errorf("a query costs %d (%v), at most %d", cost, err, worst)
	}
}

// roundOf is the longest round that a usage within a bound can have had.
func roundOf(round int64, u *call.Usage) int64 {
	if round > 0 {
		return round
	}
	return u.InputTokens()
}

// jaggedPrices are prices that no provider has, where parts are dearer than their wholes, of all services and regions.
func jaggedPrices(t testing.TB) []pricing.Price {
	t.Helper()
	every := map[string]string{}
	for u := range call.Units {
		every[u.String()] = fmt.Sprintf("%d.%d", (7*u+3)%11, u%10)
	}
	table, err := pricing.Builtin().With([]pricing.Override{
		{Model: "a", Prices: []pricing.List{{Prices: map[string]string{"input": "1", "cached_input": "3", "cache_write": "0.5", "audio_input": "2", "output": "1", "reasoning": "9", "audio_output": "4"}}}},
		{Model: "b", Prices: []pricing.List{{Prices: map[string]string{"input": "0", "cache_write": "7.000001", "audio_input": "0.000001", "output": "0", "audio_output": "0.000001"}}}},
		{Model: "c", Prices: []pricing.List{{Prices: map[string]string{"input": "5", "cached_input": "0", "audio_input": "1", "output": "5", "reasoning": "0", "requests": "123.456789"}}}},
		{Model: "every", Regions: map[string]string{"us": "1.1", "moon": "0.333"}, Prices: []pricing.List{
			{Prices: every},
			{Over: 100, Prices: map[string]string{"input": "0", "video_input": "99", "output": "0.5"}},
			{Over: 128_000, Prices: map[string]string{"input": "20", "cached_image_input": "21"}},
			{Service: "priority", Prices: every},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var prices []pricing.Price
	for _, model := range []string{"a", "b", "c", "every"} {
		p, err := table.Lookup("any", model, summer2026)
		if err != nil {
			t.Fatal(err)
		}
		prices = append(prices, p)
	}
	every3 := prices[3]
	for _, key := range []call.Key{{Service: "priority"}, {Region: "us"}, {Service: "priority", Region: "moon"}, {Region: "nowhere"}} {
		p, err := every3.For(key)
		if err != nil {
			t.Fatal(err)
		}
		prices = append(prices, p)
	}
	p, err := fallingTiers(t).Lookup("p", "falling", summer2026)
	if err != nil {
		t.Fatal(err)
	}
	return append(prices, p)
}

// drawTokens draws counts that often lie at a context tier's threshold.
func drawTokens(t *rapid.T, name string, most int64) int64 {
	near := rapid.SampledFrom([]int64{0, 1, 100, 101, 128_000, 128_001, 200_000, 200_001, 272_000, 272_001, 512_000, 512_001, most})
	return min(most, rapid.OneOf(near, rapid.Int64Range(0, most)).Draw(t, name))
}

// drawBound draws parts of text in and out, up to four of any other kinds, and perhaps the longest round.
func drawBound(t *rapid.T) (round int64, parts []call.Part) {
	parts = bounded(drawTokens(t, "input", 2_000_000), drawTokens(t, "output", 400_000))
	for range rapid.IntRange(0, 4).Draw(t, "parts") {
		units := rapid.SliceOfN(rapid.IntRange(0, int(call.Units)-1), 1, 4).Draw(t, "kinds")
		part := call.Part{Fixed: drawTokens(t, "of a part", 300_000)}
		for _, u := range units {
			part.Kinds |= call.Of(call.Unit(u))
		}
		if part.Kinds&call.Inputs != 0 && part.Kinds&^call.Inputs != 0 {
			part.Kinds &= call.Inputs // no part is of both sides
		}
		parts = append(parts, part)
	}
	if rapid.Bool().Draw(t, "rounds") {
		round = 1 + drawTokens(t, "round", 300_000)
	}
	return round, parts
}

// drawUsage draws what fits a bound: of each part so many, of any of its kinds.
func drawUsage(t *rapid.T, parts []call.Part) (u call.Usage) {
	for _, part := range parts {
		left := part.Fixed
		for unit := range part.Kinds.All() {
			n := drawTokens(t, "of "+unit.String(), left)
			u[unit] += n
			left -= n
		}
	}
	return u
}

func TestErrors(t *testing.T) {
	sonnet := lookup(t, "anthropic", "claude-sonnet-4-5", summer2026)
	embedding := lookup(t, "openai", "text-embedding-3-small", summer2026)
	for _, tt := range []struct {
		name  string
		price pricing.Price
		usage call.Usage
		want  error
	}{
		{"the zero price", pricing.Price{}, call.Usage{call.Input: 1}, pricing.ErrNoPrice},
		{"output of an embedding model", embedding, call.Usage{call.Input: 1, call.Output: 1}, pricing.ErrNoPrice},
		{"negative input", sonnet, call.Usage{call.Input: -1}, pricing.ErrUsage},
		{"negative part", sonnet, call.Usage{call.Input: 1, call.CachedInput: -1}, pricing.ErrUsage},
		{"more than 2^53-1 nano-USD", sonnet, call.Usage{call.Output: 601_000_000_000}, pricing.ErrOverflow},
		{"more tokens than can be", sonnet, call.Usage{call.Input: math.MaxInt64}, pricing.ErrOverflow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.price.Cost(tt.usage); !errors.Is(err, tt.want) {
				t.Errorf("Cost: error %v, want %v", err, tt.want)
			}
		})
	}
}

// TestWorstOfFallingTiers: where long requests are cheaper, the bound covers the dear short one.
func TestWorstOfFallingTiers(t *testing.T) {
	p, err := fallingTiers(t).Lookup("p", "falling", summer2026)
	if err != nil {
		t.Fatal(err)
	}
	for input, want := range map[int64]int64{100: 1000, 101: 1000, 2000: 2000} {
		if got, err := p.Worst(0, bounded(input, 0)...); err != nil || got != want {
			t.Errorf("worst case of %d tokens: %d nano-USD (%v), want %d", input, got, err, want)
		}
	}
}

func fallingTiers(t testing.TB) *pricing.Table {
	t.Helper()
	table, err := pricing.Load(fstest.MapFS{"table/p.json": {Data: []byte(`{"provider":"p","models":[
		{"id":"falling","names":["falling"],"prices":[{"tiers":[{"input":10000,"output":9},{"over":100,"input":1000,"output":10}]}]}]}`)}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLargestCost(t *testing.T) {
	const tokens = 20_394_401 // x 441,650,591 nano-USD a token = 2^53-1
	p, err := with(t, pricing.Override{Model: "m", Prices: flat("input", "441650.591")}).Lookup("mine", "m", summer2026)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Cost(call.Usage{call.Input: tokens}); err != nil || got != pricing.MaxCost {
		t.Errorf("cost %d (%v), want %d", got, err, int64(pricing.MaxCost))
	}
	if got, err := p.Cost(call.Usage{call.Input: tokens + 1}); !errors.Is(err, pricing.ErrOverflow) {
		t.Errorf("cost %d (%v), want ErrOverflow", got, err)
	}
}

func TestWorstOverflows(t *testing.T) {
	p := lookup(t, "openai", "o1-pro", summer2026) // output 600 USD per million, 600,000 nano-USD per token
	const fits = pricing.MaxCost / 600_000
	if worst, err := p.Worst(0, bounded(0, fits)...); err != nil || worst != fits*600_000 {
		t.Errorf("worst case %d (%v), want %d", worst, err, int64(fits*600_000))
	}
	if _, err := p.Worst(0, bounded(0, fits+1)...); !errors.Is(err, pricing.ErrOverflow) {
		t.Errorf("error %v, want ErrOverflow", err)
	}
}

func BenchmarkPrice(b *testing.B) {
	for _, name := range []struct{ provider, model string }{
		{"openai", "gpt-4o-mini-2024-07-18"}, {"azure", "gpt-4o"}, {"anthropic", "claude-sonnet-4-5-20250929"}, {"openai", "no-such-model"},
	} {
		b.Run(name.provider+"/"+name.model, func(b *testing.B) {
			table := pricing.Builtin()
			parts := bounded(1200, 500)
			usage := call.Usage{call.Input: 588, call.CachedInput: 512, call.Output: 200, call.Reasoning: 100}
			b.ReportAllocs()
			for b.Loop() {
				p, err := table.Lookup(name.provider, name.model, summer2026)
				if err != nil {
					continue
				}
				p.Worst(0, parts...)
				p.Cost(usage)
			}
		})
	}
}

func TestHas(t *testing.T) {
	for model, want := range map[string]bool{"gpt-audio": true, "gpt-4o-audio-preview": false, "gpt-4o": false} {
		if got := lookup(t, "openai", model, summer2026).Has(call.AudioOutput); got != want {
			t.Errorf("%s: %v, want %v", model, got, want)
		}
	}
	if !lookup(t, "openai", "gpt-4o", summer2026).Has(call.CachedVideoInput) {
		t.Error("what costs as something else has a price")
	}
	if (pricing.Price{}).Has(call.Input) {
		t.Error("the zero price tells a price")
	}
}
