package source

import (
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// announced are prices that begin on a day to come, which neither source has: in USD per million tokens times a million.
// https://ai.google.dev/gemini-api/docs/pricing
var announced = []struct {
	provider, model, from string
	input, cached, output int64
}{
	{"google", "gemini-3.8-flash", "2027-01-01", 1_500_000, 150_000, 7_500_000},
	{"google", "gemini-4-argon", "2026-12-01", 4_000_000, 200_000, 20_000_000},
}

// announce adds what is announced to the entries of a provider that have no later price yet.
func announce(p *table.Provider) {
	for _, a := range announced {
		if a.provider != p.Provider {
			continue
		}
		m := ofName(p, a.model)
		if m == nil || slices.ContainsFunc(m.Prices, func(s table.Schedule) bool { return s.From == a.from }) {
			continue
		}
		rates := table.NoRates()
		rates.Price[call.Input], rates.Price[call.CachedInput], rates.Price[call.Output] = a.input, a.cached, a.output
		m.Prices = append(m.Prices, later(m, table.Schedule{From: a.from, Tiers: []table.Rates{rates}})...)
	}
}

// corrections are entries of our own, for what no source has.
func corrections(p *table.Provider) []table.Model {
	if p.Provider != "openai" || ofName(p, "omni-moderation-latest") != nil && free(ofName(p, "omni-moderation-latest")) {
		return nil
	}
	// Free. https://platform.openai.com/docs/models/omni-moderation-latest
	moderation := fixed("moderation", 0, 0)
	moderation.Names = []string{"omni-moderation-2024-09-26", "omni-moderation-latest",
		"text-moderation-007", "text-moderation-latest", "text-moderation-stable"}
	return []table.Model{moderation}
}

func free(m *table.Model) bool { return m.Prices[0].Tiers[0].Price[call.Input] == 0 }

func fixed(id string, input, output int64) table.Model {
	rates := table.NoRates()
	rates.Price[call.Input], rates.Price[call.Output] = input, output
	return table.Model{ID: id, Prices: []table.Schedule{{Tiers: []table.Rates{rates}}}}
}
