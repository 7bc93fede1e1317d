package source

import (
	"encoding/json"
	"errors"
	"fmt"
)

// sourceProvider is what the generator reads of one provider in genai-prices' v2 format.
type sourceProvider struct {
	ID       string        `json:"id"`
	Models   []sourceModel `json:"models"`
	Fallback []string      `json:"fallback_model_providers"`
}

// sourceModel leaves the context windows of the source alone: some are below the true ones, as where a model has grown.
type sourceModel struct {
	ID     string       `json:"id"`
	Match  clause       `json:"match"`
	Prices sourcePrices `json:"prices"`
}

// clause is a match clause: an object of one member.
type clause struct {
	Or         []clause `json:"or"`
	Equals     string   `json:"equals"`
	StartsWith string   `json:"starts_with"`
	EndsWith   string   `json:"ends_with"`
	Contains   string   `json:"contains"`
	Regex      string   `json:"regex"`
}

// sourcePrices are prices by unit, one object or a list of objects with constraints.
type sourcePrices []sourceSchedule

type sourceSchedule struct {
	Constraint struct {
		StartDate string `json:"start_date"`
		StartTime string `json:"start_time"`
		EndTime   string `json:"end_time"`
	} `json:"constraint"`
	Prices map[string]sourcePrice `json:"prices"`
}

// sourcePrice is a decimal, or decimals by context tier.
type sourcePrice struct {
	Base  json.Number `json:"base"`
	Tiers []struct {
		Start int64       `json:"start"`
		Price json.Number `json:"price"`
	} `json:"tiers"`
}

func (p *sourcePrices) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]sourceSchedule)(p))
	}
	var only sourceSchedule
	if err := json.Unmarshal(data, &only.Prices); err != nil {
		return err
	}
	*p = sourcePrices{only}
	return nil
}

func (p *sourcePrice) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '{' {
		type plain sourcePrice
		return json.Unmarshal(data, (*plain)(p))
	}
	return json.Unmarshal(data, &p.Base)
}

// at is the price in the tier that begins over so many tokens.
func (p *sourcePrice) at(over int64) json.Number {
	price := p.Base
	for _, tier := range p.Tiers {
		if tier.Start <= over {
			price = tier.Price
		}
	}
	return price
}

func (c *clause) UnmarshalJSON(data []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	if len(members) != 1 {
		return errors.New("a match clause must have one member")
	}
	for name := range members {
		switch name {
		case "or", "equals", "starts_with", "ends_with", "contains", "regex":
		default:
			return fmt.Errorf("match clause %q is not known to the generator", name)
		}
	}
	type plain clause
	return json.Unmarshal(data, (*plain)(c))
}
