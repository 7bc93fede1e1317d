package source

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// convert turns one provider into our format. Models without a price are dropped.
func convert(source sourceProvider, r *Report) (*table.Provider, error) {
	p := &table.Provider{Provider: source.ID, Fallback: source.Fallback}
	for _, model := range source.Models {
		what := source.ID + "/" + model.ID
		m := table.Model{ID: model.ID}
		if err := match(model.Match, &m); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		for i := range model.Prices {
			s, err := schedule(&model.Prices[i], what, r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", what, err)
			}
			m.Prices = append(m.Prices, s)
		}
		if slices.ContainsFunc(m.Prices, unpriced) {
			r.Dropped = append(r.Dropped, what+": no price")
			continue
		}
		tidy(&m)
		p.Models = append(p.Models, m)
	}
	slices.SortFunc(p.Models, table.Compare)
	return p, nil
}

// unpriced reports whether a schedule has a tier without any price, whose model is left out.
func unpriced(s table.Schedule) bool {
	return slices.ContainsFunc(s.Tiers, func(r table.Rates) bool {
		return !slices.ContainsFunc(r.Price[:], func(price int64) bool { return price != table.None })
	})
}

func schedule(source *sourceSchedule, model string, r *Report) (table.Schedule, error) {
	c := source.Constraint
	s := table.Schedule{From: c.StartDate, Start: clock(c.StartTime), End: clock(c.EndTime)}
	for _, over := range thresholds(source) {
		rates, err := ratesOver(over, source.Prices, model, r)
		if err != nil {
			return s, err
		}
		s.Tiers = append(s.Tiers, rates)
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

// unitOf are our units by the source's names, which end in what a price is written for.
var unitOf = map[string]call.Unit{
	"input_mtok":            call.Input,
	"cache_read_mtok":       call.CachedInput,
	"cache_write_mtok":      call.CacheWrite,
	"cache_write_1h_mtok":   call.CacheWrite1h,
	"input_audio_mtok":      call.AudioInput,
	"cache_audio_read_mtok": call.CachedAudioInput,
	"input_image_mtok":      call.ImageInput,
	"cache_image_read_mtok": call.CachedImageInput,
	"input_video_mtok":      call.VideoInput,
	"output_mtok":           call.Output,
	"output_reasoning_mtok": call.Reasoning,
	"output_audio_mtok":     call.AudioOutput,
	"output_image_mtok":     call.ImageOutput,
	"output_video_mtok":     call.VideoOutput,
	"output_citation_mtok":  call.Citation,
	"web_searches_kcount":   call.Searches,
	"requests_kcount":       call.Requests,
}

// freeSuffix ends the names of models that cost nothing. Any other 0 says that nobody knows.
const freeSuffix = ":free"

func ratesOver(over int64, prices map[string]sourcePrice, model string, r *Report) (table.Rates, error) {
	rates := table.NoRates()
	rates.Over = over
	free := strings.HasSuffix(model, freeSuffix)
	if len(prices) == 0 && free {
		rates.Price[call.Input], rates.Price[call.Output] = 0, 0
	}
	for name, source := range prices {
		unit, known := unitOf[name]
		if !known {
			return rates, fmt.Errorf("the generator does not know what %s is", name)
		}
		pico, err := picoUSD(source.at(over), call.Table[unit].Per, model+" "+name, r)
		if err != nil {
			return rates, fmt.Errorf("%s: %w", name, err)
		}
		if pico > 0 || free {
			rates.Price[unit] = pico
		}
	}
	return rates, nil
}

// Bounds of a price's text: an exponent can ask for numbers of any size.
const (
	maxPriceBytes = 32
	maxExponent   = 40
)

func isShort(price string) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(price), "e")
	n, err := strconv.Atoi(exponent)
	return len(price) <= maxPriceBytes && (exponent == "" || err == nil && -maxExponent <= n && n <= maxExponent)
}

// picoUSD is a decimal price in USD per so many units as pico-USD per unit. Where the source's own arithmetic left a
// fraction of a pico-USD, one within a millionth of an integer is that integer, and any other is rounded up.
func picoUSD(price json.Number, units int64, what string, r *Report) (int64, error) {
	if !isShort(price.String()) {
		return 0, fmt.Errorf("%.40q is not a price", price)
	}
	exact, ok := new(big.Rat).SetString(price.String())
	if !ok || exact.Sign() < 0 {
		return 0, fmt.Errorf("%q is not a price", price)
	}
	exact.Mul(exact, big.NewRat(1_000_000_000_000, units))
	if !exact.IsInt() {
		r.Rounded = append(r.Rounded, what+": "+price.String())
	}
	nearly := new(big.Rat).Sub(exact, big.NewRat(1, 1_000_000))
	up := new(big.Int).Add(nearly.Num(), new(big.Int).Sub(nearly.Denom(), big.NewInt(1)))
	up.Div(up, nearly.Denom())
	if !up.IsInt64() || up.Int64() > table.MaxPicoUSD {
		return 0, fmt.Errorf("%q is out of bounds", price)
	}
	return up.Int64(), nil
}
