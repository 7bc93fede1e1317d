package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// report collects what was left out or changed, for the person who runs the generator.
type report struct {
	dropped, rounded []string
}

// convert turns one provider into our format. Models that our usage cannot price are dropped.
func convert(source sourceProvider, r *report) (*table.Provider, error) {
	p := &table.Provider{Provider: source.ID, Fallback: source.Fallback}
	for _, model := range source.Models {
		if why := unpriceable(&model); why != "" {
			r.dropped = append(r.dropped, source.ID+"/"+model.ID+": "+why)
			continue
		}
		m := table.Model{ID: model.ID}
		if err := match(model.Match, &m); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", source.ID, model.ID, err)
		}
		for i := range model.Prices {
			s, err := schedule(&model.Prices[i], source.ID+"/"+model.ID, r)
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", source.ID, model.ID, err)
			}
			m.Prices = append(m.Prices, s)
		}
		tidy(&m)
		p.Models = append(p.Models, m)
	}
	p.Models = append(p.Models, corrections(p)...)
	slices.SortFunc(p.Models, table.Compare)
	return p, nil
}

// unpriceable says why a model is left out: its bill has units that usage does not count apart, which are dearer than
// those that it does, or it has no price at all and its name does not say that it is free.
func unpriceable(m *sourceModel) string {
	if strings.Contains(m.ID, "-image") {
		return "makes images, whose tokens are not counted in usage"
	}
	for _, s := range m.Prices {
		for _, unit := range slices.Sorted(maps.Keys(s.Prices)) {
			if strings.Contains(unit, "image") || strings.Contains(unit, "video") || strings.Contains(unit, "citation") {
				return unit + " is not counted in usage"
			}
		}
		_, input := s.Prices["input_mtok"]
		free := len(s.Prices) == 0 && strings.HasSuffix(m.ID, ":free")
		if !input && !free {
			return "no input price"
		}
	}
	return ""
}

func schedule(source *sourceSchedule, model string, r *report) (table.Schedule, error) {
	c := source.Constraint
	s := table.Schedule{From: c.StartDate, Start: clock(c.StartTime), End: clock(c.EndTime)}
	for _, over := range thresholds(source) {
		rates, err := ratesOver(over, source.Prices, model, r)
		if err != nil {
			return s, err
		}
		s.Tiers = append(s.Tiers, rates)
	}
	if fee, ok := source.Prices["requests_kcount"]; ok {
		price, err := picoUSD(fee.Base, 1_000, model, r) // USD per thousand requests
		if err != nil {
			return s, err
		}
		s.Request = price
	}
	return s, nil
}

// clock shortens "00:30:00Z" to "00:30".
func clock(text string) string { return strings.TrimSuffix(text, ":00Z") }

// thresholds are the token counts at which the tiers of a schedule begin, the first 0.
func thresholds(s *sourceSchedule) []int64 {
	all := []int64{0}
	for _, price := range s.Prices {
		for _, tier := range price.Tiers {
			all = append(all, tier.Start)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func ratesOver(over int64, prices map[string]sourcePrice, model string, r *report) (table.Rates, error) {
	rates := table.Rates{Over: over}
	if len(prices) == 0 {
		rates.Output = new(int64) // a model named :free
		return rates, nil
	}
	input := &rates.Input
	for unit, price := range map[string]**int64{
		"input_mtok": &input, "cache_read_mtok": &rates.Cached, "cache_write_mtok": &rates.CacheWrite,
		"cache_write_1h_mtok": &rates.LongCacheWrite, "input_audio_mtok": &rates.Audio, "cache_audio_read_mtok": &rates.CachedAudio,
		"output_mtok": &rates.Output, "output_reasoning_mtok": &rates.Reasoning, "output_audio_mtok": &rates.AudioOutput,
	} {
		source, ok := prices[unit]
		if !ok {
			continue
		}
		pico, err := picoUSD(source.at(over), 1_000_000, model+" "+unit, r)
		if err != nil {
			return rates, fmt.Errorf("%s: %w", unit, err)
		}
		*price = &pico
	}
	rates.Input = *input
	return rates, nil
}

// picoUSD is a decimal price in USD per so many units as pico-USD per unit. Where the source's own arithmetic left a
// fraction of a pico-USD, one within a millionth of an integer is that integer, and any other is rounded up.
func picoUSD(price json.Number, units int64, what string, r *report) (int64, error) {
	exact, ok := new(big.Rat).SetString(price.String())
	if !ok || exact.Sign() < 0 {
		return 0, fmt.Errorf("%q is not a price", price)
	}
	exact.Mul(exact, big.NewRat(1_000_000_000_000, units))
	if !exact.IsInt() {
		r.rounded = append(r.rounded, what+": "+price.String())
	}
	nearly := new(big.Rat).Sub(exact, big.NewRat(1, 1_000_000))
	up := new(big.Int).Add(nearly.Num(), new(big.Int).Sub(nearly.Denom(), big.NewInt(1)))
	up.Div(up, nearly.Denom())
	if !up.IsInt64() || up.Int64() > table.MaxPicoUSD {
		return 0, fmt.Errorf("%q is out of bounds", price)
	}
	return up.Int64(), nil
}
