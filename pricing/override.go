package pricing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// Limits of overrides.
const (
	maxOverrides   = 10_000
	maxPriceLength = 32 // bytes of one price
)

// Override is an operator's own price or limits of a model, which go before the table's. Prices are decimal US dollars
// per million tokens, such as "2.50" or "0.075", with at most six decimals: exactly what providers publish.
//
// An override with any price replaces all prices of the model, and needs Input. What is left out costs: Cached,
// CacheWrite, Audio as Input; Reasoning and AudioOutput as Output. Without Output the model bills none, and requests with
// output have no price. An override without any price sets limits only.
type Override struct {
	Provider string `json:"provider,omitempty" yaml:"provider"` // provider id; empty: any
	Model    string `json:"model" yaml:"model"`                 // model name, in which * stands for any text

	Input       string `json:"input,omitempty" yaml:"input"`
	Cached      string `json:"cached,omitempty" yaml:"cached"`
	CacheWrite  string `json:"cache_write,omitempty" yaml:"cache_write"`
	Audio       string `json:"audio,omitempty" yaml:"audio"`
	Output      string `json:"output,omitempty" yaml:"output"`
	Reasoning   string `json:"reasoning,omitempty" yaml:"reasoning"`
	AudioOutput string `json:"audio_output,omitempty" yaml:"audio_output"`
	Request     string `json:"request,omitempty" yaml:"request"` // US dollars per million requests

	ContextTokens   int64 `json:"context_tokens,omitempty" yaml:"context_tokens"`
	MaxOutputTokens int64 `json:"max_output_tokens,omitempty" yaml:"max_output_tokens"`
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
	s, err := o.schedule()
	if err != nil {
		return err
	}
	limits := Limits{ContextTokens: o.ContextTokens, MaxOutputTokens: o.MaxOutputTokens}
	if s == nil && limits == (Limits{}) {
		return errors.New("sets neither prices nor limits")
	}
	if s != nil {
		if err := t.prices.add(o.Provider, o.Model, s); err != nil {
			return err
		}
	}
	if limits != (Limits{}) {
		return t.caps.add(o.Provider, o.Model, limits)
	}
	return nil
}

// schedule is what the override's prices say, nil if it has none.
func (o *Override) schedule() (*schedule, error) {
	var rates table.Rates
	var input, request *int64
	priced := false
	for _, p := range []struct {
		name, text string
		price      **int64
	}{
		{"input", o.Input, &input}, {"cached", o.Cached, &rates.Cached}, {"cache_write", o.CacheWrite, &rates.CacheWrite},
		{"audio", o.Audio, &rates.Audio}, {"output", o.Output, &rates.Output}, {"reasoning", o.Reasoning, &rates.Reasoning},
		{"audio_output", o.AudioOutput, &rates.AudioOutput}, {"request", o.Request, &request},
	} {
		if p.text == "" {
			continue
		}
		price, err := parsePrice(p.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		*p.price, priced = &price, true
	}
	switch {
	case !priced:
		return nil, nil
	case input == nil:
		return nil, errors.New("has prices and none for input: write input: \"0\" if it is free")
	case rates.Output == nil && (rates.Reasoning != nil || rates.AudioOutput != nil):
		return nil, errors.New("prices a part of the output, and not the output")
	}
	rates.Input = *input
	s, err := compileSchedule(&table.Schedule{Request: or(request, 0), Tiers: []table.Rates{rates}})
	if err != nil {
		return nil, err
	}
	s.entry, s.own = o.Provider+"/"+o.Model+" (override)", true
	return s, nil
}

// parsePrice reads decimal USD per million as pico-USD per one: digits, and up to six decimals.
func parsePrice(text string) (int64, error) {
	whole, decimals, point := strings.Cut(text, ".")
	if len(text) > maxPriceLength || whole == "" || point && decimals == "" || !isDigits(whole) || !isDigits(decimals) {
		return 0, fmt.Errorf("%.40q is not a price: write US dollars per million, such as \"2.50\"", text)
	}
	decimals = strings.TrimRight(decimals, "0")
	if len(decimals) > 6 {
		return 0, fmt.Errorf("%q has more than six decimals, which are less than a pico-USD per token", text)
	}
	var price int64
	for _, digit := range whole + decimals + strings.Repeat("0", 6-len(decimals)) {
		price = price*10 + int64(digit-'0')
		if price > table.MaxPicoUSD {
			return 0, fmt.Errorf("%q is more than the greatest price, %d US dollars per million", text, int64(table.MaxPicoUSD/1_000_000))
		}
	}
	return price, nil
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
