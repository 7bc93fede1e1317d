package main

import (
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// corrections are entries of our own, for what the source gets wrong. It takes the names it prices away from the
// entries that have them.
func corrections(p *table.Provider) []table.Model {
	if p.Provider != "openai" {
		return nil
	}
	// The first gpt-4o was never repriced: 5 and 15 USD per million, no cached input.
	// https://platform.openai.com/docs/models/gpt-4o
	first := fixed("gpt-4o-2024-05-13", 5_000_000, 15_000_000)
	first.Names = []string{"gpt-4o-2024-05-13"}
	// Free. https://platform.openai.com/docs/models/omni-moderation-latest
	moderation := fixed("moderation", 0, 0)
	moderation.Names = []string{"omni-moderation-2024-09-26", "omni-moderation-latest",
		"text-moderation-007", "text-moderation-latest", "text-moderation-stable"}

	own := []table.Model{first, moderation}
	for i := range p.Models {
		p.Models[i].Names = slices.DeleteFunc(p.Models[i].Names, func(name string) bool {
			return slices.Contains(first.Names, name)
		})
	}
	return own
}

func fixed(id string, input, output int64) table.Model {
	rates := table.NoRates()
	rates.Price[call.Input], rates.Price[call.Output] = input, output
	return table.Model{ID: id, Prices: []table.Schedule{{Tiers: []table.Rates{rates}}}}
}
