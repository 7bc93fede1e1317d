package pricing

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

//go:embed limits.json
var limitsFile []byte

// Limits of a model, in tokens. 0 = not known. A limit that is known is never below the provider's own.
type Limits struct {
	ContextTokens, MaxOutputTokens int64
}

// limit is one entry of limits.json: the limits of a model's releases, as the source states them.
type limit struct {
	Provider        string `json:"provider"`
	Model           string `json:"model"`
	ContextTokens   int64  `json:"context_tokens,omitempty"`
	MaxOutputTokens int64  `json:"max_output_tokens,omitempty"`
	Source          string `json:"source"`
}

// Limits are the limits of a model: what overrides set, else what limits.json says of the model's releases at the
// provider, or at those whose models it sells, else what the source of its prices does. What none of them knows is 0.
func (t *Table) Limits(providerID, model string) Limits {
	if len(model) > maxModelName {
		return Limits{}
	}
	limits, _ := t.caps.find(providerID, model)
	limits = limits.or(t.limitsOf(providerID, model))
	if p := t.providers[providerID]; p != nil {
		for _, other := range p.models().fallback {
			limits = limits.or(t.limitsOf(other, model))
		}
	}
	if e := t.entry(providerID, model); e != nil {
		limits = limits.or(e.limits)
	}
	return limits
}

func (t *Table) limitsOf(providerID, model string) Limits {
	m := t.limits[providerID]
	if m == nil {
		return Limits{}
	}
	limits, _ := m.find(model)
	return limits
}

// or fills in what is not known.
func (l Limits) or(other Limits) Limits {
	if l.ContextTokens == 0 {
		l.ContextTokens = other.ContextTokens
	}
	if l.MaxOutputTokens == 0 {
		l.MaxOutputTokens = other.MaxOutputTokens
	}
	return l
}

func compileLimits(limits []limit) map[string]*matcher[Limits] {
	byProvider := map[string]*matcher[Limits]{}
	for _, l := range limits {
		m := byProvider[l.Provider]
		if m == nil {
			m = &matcher[Limits]{}
			byProvider[l.Provider] = m
		}
		value := Limits{ContextTokens: l.ContextTokens, MaxOutputTokens: l.MaxOutputTokens}
		m.addName(l.Model, value)
		m.addPattern(l.Model, false, value)
	}
	for _, m := range byProvider {
		m.sort()
	}
	return byProvider
}

func parseLimits(data []byte) ([]limit, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var limits []limit
	if err := dec.Decode(&limits); err != nil {
		return nil, fmt.Errorf("limits.json: %w", err)
	}
	for i, l := range limits {
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("limits.json, entry %d (%s/%s): %w", i+1, l.Provider, l.Model, err)
		}
	}
	return limits, nil
}

func (l *limit) check() error {
	switch {
	case l.Provider == "" || l.Model == "" || l.Source == "":
		return errors.New("provider, model and source must be given")
	case l.Model != names.Fold(l.Model):
		return errors.New("model must be in lower case")
	case l.ContextTokens < 0 || l.MaxOutputTokens < 0:
		return errors.New("a limit is negative")
	}
	return nil
}
