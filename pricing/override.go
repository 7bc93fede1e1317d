package pricing

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// Limits of overrides.
const (
	maxOverrides   = 10_000
	maxPriceLength = 32 // bytes of one price
)

// Override is an operator's own price or limits of a model, which go before the table's. With any price it replaces all
// prices of the model; without, it sets limits only.
type Override struct {
	Provider string `json:"provider,omitempty"` // provider id; empty: any
	Model    string `json:"model"`              // model name, in which * stands for any text

	Prices  []List            `json:"prices,omitempty"`
	Regions map[string]string `json:"regions,omitempty"` // factors with up to three decimals, as "1.1"

	ContextTokens   int64 `json:"context_tokens,omitempty"`
	MaxOutputTokens int64 `json:"max_output_tokens,omitempty"`
}

// List is one price list of an override: of a service tier and a variant, above so many input tokens. Those of one
// service and variant follow each other by rising Over, the first 0. The table of package call says what is charged for
// a unit that has no price.
type List struct {
	Service string `json:"service,omitempty"` // "": the standard one
	Variant string `json:"variant,omitempty"`
	Over    int64  `json:"over,omitempty"` // tokens; above 0, absent prices are those of the list before
	// Prices are decimal US dollars by the names of units, such as "2.50" for a million tokens: see ParsePrice.
	Prices map[string]string `json:"prices"`
}

// With is the table with operator overrides before it, in place of any that it had. Of several that match, a whole name
// goes before a pattern, for whole names the override that names the provider goes first, and of patterns the first in
// the list. Prices and limits are found apart, so one override can price a model and another limit it.
func (t *Table) With(overrides []Override) (*Table, error) {
	if len(overrides) > maxOverrides {
		return nil, fmt.Errorf("%d price overrides are more than %d", len(overrides), maxOverrides)
	}
	with := &Table{providers: t.providers, limits: t.limits, builtin: t.builtin, version: t.builtin}
	for i := range overrides {
		if err := with.override(&overrides[i]); err != nil {
			return nil, fmt.Errorf("price override %d (provider %q, model %q): %w", i+1, overrides[i].Provider, overrides[i].Model, err)
		}
	}
	if len(overrides) == 0 {
		return with, nil
	}
	var err error
	with.version, err = hash(struct {
		Builtin   string     `json:"builtin"`
		Overrides []Override `json:"overrides"`
	}{t.builtin, overrides})
	return with, err
}

func (t *Table) override(o *Override) error {
	if o.Model == "" {
		return errors.New("model is empty: write * for every model")
	}
	if o.ContextTokens < 0 || o.MaxOutputTokens < 0 || o.ContextTokens > MaxTokens || o.MaxOutputTokens > MaxTokens {
		return fmt.Errorf("limits must be from 0 to %d tokens", int64(MaxTokens))
	}
	limits := Limits{ContextTokens: o.ContextTokens, MaxOutputTokens: o.MaxOutputTokens}
	if len(o.Prices) == 0 && limits == (Limits{}) {
		return errors.New("sets neither prices nor limits")
	}
	if len(o.Prices) > 0 {
		e, err := o.entry()
		if err != nil {
			return err
		}
		if err := t.prices.add(o.Provider, o.Model, e); err != nil {
			return err
		}
	}
	if limits != (Limits{}) {
		return t.caps.add(o.Provider, o.Model, limits)
	}
	return nil
}

// Check tells what is wrong with the override's prices, if anything.
func (o *Override) Check() error {
	_, err := o.entry()
	return err
}

// entry is what the override's prices say.
func (o *Override) entry() (*entry, error) {
	var schedules []table.Schedule
	for i := range o.Prices {
		if err := o.Prices[i].addTo(&schedules); err != nil {
			return nil, err
		}
	}
	e, err := compileEntry(schedules)
	if err != nil {
		return nil, err
	}
	e.name, e.own = o.Provider+"/"+o.Model+" (override)", true
	e.regions = map[string]int64{}
	for region, factor := range o.Regions {
		if e.regions[region], err = ParseFactor(factor); err != nil {
			return nil, fmt.Errorf("region %q: %w", region, err)
		}
	}
	return e, nil
}

// addTo adds the list as a schedule, or as a tier of the last one.
func (l *List) addTo(schedules *[]table.Schedule) error {
	var last *table.Schedule
	if n := len(*schedules); n > 0 {
		last = &(*schedules)[n-1]
	}
	if l.Over == 0 {
		for _, s := range *schedules {
			if s.Service == l.Service && s.Variant == l.Variant {
				return fmt.Errorf("service %q and variant %q have two price lists", l.Service, l.Variant)
			}
		}
		tier, err := l.rates(table.NoRates())
		if err == nil {
			*schedules = append(*schedules, table.Schedule{Service: l.Service, Variant: l.Variant, Tiers: []table.Rates{tier}})
		}
		return err
	}
	if last == nil || last.Service != l.Service || last.Variant != l.Variant || last.Tiers[len(last.Tiers)-1].Over >= l.Over {
		return fmt.Errorf("the prices over %d tokens do not follow prices over fewer", l.Over)
	}
	tier, err := l.rates(last.Tiers[len(last.Tiers)-1])
	tier.Over = l.Over
	last.Tiers = append(last.Tiers, tier)
	return err
}

// rates are the list's prices over those of the tier before.
func (l *List) rates(r table.Rates) (table.Rates, error) {
	for name, text := range l.Prices {
		unit, ok := call.ByName(name)
		if !ok {
			return r, fmt.Errorf("%.64q is not the name of a unit", name)
		}
		price, err := ParsePrice(unit, text)
		if err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
		r.Price[unit] = price
	}
	switch lacking := lacks(&r); {
	case len(l.Prices) == 0:
		return r, errors.New("a price list without prices")
	case lacking == call.Input.String():
		return r, errors.New("has prices and none for input: write input: \"0\" if it is free")
	case lacking != "":
		return r, fmt.Errorf("prices a part of the %s, and not the %s", lacking, lacking)
	}
	return r, nil
}

// lacks names a unit that has no price, while something that is a kind of it has one: input, or output beside a part of
// it.
func lacks(r *table.Rates) string {
	for u := call.Input; u <= call.Citation; u++ {
		if r.Price[u] == NoRate {
			continue
		}
		if r.Price[call.Input] == NoRate {
			return call.Input.String()
		}
		if u == call.Reasoning && r.Price[call.Output] == NoRate {
			return call.Output.String()
		}
	}
	return ""
}

// ParsePrice reads decimal USD per so many of a unit as its row says, as pico-USD per one: digits, and decimals down to a
// pico-USD, which are six for a million tokens.
func ParsePrice(u call.Unit, text string) (int64, error) {
	per := call.Table[u].Per
	price, err := parseDecimal(text, decimalsOf(per))
	if err != nil {
		return 0, fmt.Errorf("%w: write US dollars per %d %s, such as \"2.50\"", err, per, u)
	}
	if price > table.MaxPicoUSD {
		return 0, fmt.Errorf("%q is more than the greatest price, %d US dollars for each", text, int64(table.MaxPicoUSD/1_000_000_000_000))
	}
	return price, nil
}

// FormatPrice is the decimal that ParsePrice reads as so many pico-USD.
func FormatPrice(u call.Unit, pico int64) string {
	decimals := decimalsOf(call.Table[u].Per)
	digits := fmt.Sprintf("%0*d", decimals+1, pico)
	whole, rest := digits[:len(digits)-decimals], strings.TrimRight(digits[len(digits)-decimals:], "0")
	if rest == "" {
		return whole
	}
	return whole + "." + rest
}

// decimalsOf is how many decimals of a price for so many are at least a pico-USD for each.
func decimalsOf(per int64) int {
	decimals := 0
	for pico := picoPerUSD / per; pico > 1; pico /= 10 {
		decimals++
	}
	return decimals
}

// picoPerUSD is how many pico-USD are a US dollar.
const picoPerUSD = 1_000_000_000_000

// ParseFactor reads a region's factor, as thousandths.
func ParseFactor(text string) (int64, error) {
	factor, err := parseDecimal(text, 3)
	if err != nil || factor < table.MinFactor || factor > table.MaxFactor {
		return 0, fmt.Errorf("%.40q is no factor from 0.1 to 10 with at most three decimals, as \"1.1\"", text)
	}
	return factor, nil
}

// parseDecimal reads digits and decimals, as an integer of the smallest decimal.
func parseDecimal(text string, most int) (int64, error) {
	whole, decimals, point := strings.Cut(text, ".")
	if len(text) > maxPriceLength || whole == "" || point && decimals == "" || !isDigits(whole) || !isDigits(decimals) {
		return 0, fmt.Errorf("%.40q is not a price", text)
	}
	decimals = strings.TrimRight(decimals, "0")
	if len(decimals) > most {
		return 0, fmt.Errorf("%q has more than %d decimals, which are less than a pico-USD", text, most)
	}
	var n int64
	for _, digit := range whole + decimals + strings.Repeat("0", most-len(decimals)) {
		n = n*10 + int64(digit-'0')
		if n > math.MaxInt64/20 {
			return 0, fmt.Errorf("%q is too large", text)
		}
	}
	return n, nil
}

// isDigits says whether s has only decimal digits, if any.
func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// overlay holds what overrides set, by model name.
type overlay[T any] struct {
	exact map[overlayKey]T
	globs []glob[T]
}

type overlayKey struct{ provider, model string } // model folded

type glob[T any] struct {
	provider string
	model    string
	value    T
}

func (o *overlay[T]) add(provider, model string, value T) error {
	if strings.Contains(model, "*") {
		o.globs = append(o.globs, glob[T]{provider, model, value})
		return nil
	}
	model = names.Fold(model)
	if o.exact == nil {
		o.exact = map[overlayKey]T{}
	}
	key := overlayKey{provider, model}
	if _, twice := o.exact[key]; twice {
		return errors.New("overrides the same model twice")
	}
	o.exact[key] = value
	return nil
}

func (o *overlay[T]) find(provider, model string) (value T, ok bool) {
	if len(o.exact)+len(o.globs) == 0 {
		return value, false
	}
	model = names.Fold(model)
	if value, ok = o.exact[overlayKey{provider, model}]; ok {
		return value, true
	}
	if value, ok = o.exact[overlayKey{"", model}]; ok {
		return value, true
	}
	for i := range o.globs {
		g := &o.globs[i]
		if (g.provider == "" || g.provider == provider) && names.Match(g.model, model) {
			return g.value, true
		}
	}
	return value, false
}

// has reports whether an override names the provider.
func (o *overlay[T]) has(provider string) bool {
	for key := range o.exact {
		if key.provider == provider {
			return true
		}
	}
	return slices.ContainsFunc(o.globs, func(g glob[T]) bool { return g.provider == provider })
}

// names are the whole names that overrides give for a provider.
func (o *overlay[T]) names(provider string) []string {
	var names []string
	for key := range o.exact {
		if key.provider == "" || key.provider == provider {
			names = append(names, key.model)
		}
	}
	return names
}
