// Package source reads the price files that others publish, in their own form, as price tables in ours: the v2 JSON of
// pydantic/genai-prices, and the JSON of BerriAI/litellm. It reads decimals exactly, and reports what it left out or
// rounded.
package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// Report is what a reader left out or changed, a line each, and where two sources differ.
type Report struct {
	Dropped, Rounded, Differ []string
}

// Parse reads a price file in either form, as tables sorted by provider.
func Parse(data []byte) ([]*table.Provider, *Report, error) {
	var r Report
	data = bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(data, []byte("[")):
		list, err := parseGenAI(data, &r)
		return list, &r, err
	case isOwn(data):
		list, err := parseOwn(data)
		return list, &r, err
	case bytes.HasPrefix(data, []byte("{")):
		list, err := parseLiteLLM(data, &r)
		return list, &r, err
	}
	return nil, nil, errors.New("neither a list of providers, as of genai-prices, nor an object of models, as of litellm")
}

func parseGenAI(data []byte, r *Report) ([]*table.Provider, error) {
	var sources []sourceProvider
	if err := json.Unmarshal(data, &sources); err != nil {
		return nil, fmt.Errorf("genai-prices: %w", err)
	}
	var list []*table.Provider
	for _, source := range sources {
		p, err := convert(source, r)
		if err != nil {
			return nil, fmt.Errorf("genai-prices: %w", err)
		}
		list = append(list, p)
	}
	sortProviders(list)
	return list, nil
}
