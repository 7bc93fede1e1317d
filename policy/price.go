package policy

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// Bounds of a model's own prices.
const (
	maxPriceTiers = 16 // context tiers of one list
	maxPriceLists = 64 // services and variants
)

// priceDoc is a model's own price: of the standard service and variant, and of
// others.
type priceDoc struct {
	listDoc
	Services named[listDoc] `yaml:"services"`
	Variants named[listDoc] `yaml:"variants"`
	Regions  factors        `yaml:"regions"`
}

// listDoc is one price list: prices by unit, and by context tier.
type listDoc struct {
	ratesDoc
	Tiers list[tierDoc] `yaml:"tiers"`
}

// tierDoc is what else holds for requests with more input.
type tierDoc struct {
	ratesDoc
	Over scalar `yaml:"over_input_tokens"`
}

// ratesDoc has a field for each unit of package call's table, under the unit's name.
type ratesDoc struct{ units map[call.Unit]*scalar }

// earlierNames are those that fields of a price had before they were the units'.
var earlierNames = map[string]call.Unit{
	"input_usd_per_million":        call.Input,
	"cached_input_usd_per_million": call.CachedInput,
	"cache_write_usd_per_million":  call.CacheWrite,
	"output_usd_per_million":       call.Output,
}

// other finds the entry of a unit; nil if there is none of that name.
func (d *ratesDoc) other(name string) *entry {
	unit, ok := call.ByName(name)
	if !ok {
		unit, ok = earlierNames[name]
	}
	if !ok {
		return nil
	}
	if d.units == nil {
		d.units = map[call.Unit]*scalar{}
	}
	if d.units[unit] == nil {
		d.units[unit] = &scalar{}
	}
	return &d.units[unit].entry
}

func (d *ratesDoc) others() []string {
	names := make([]string, call.Units)
	for u := range call.Units {
		names[u] = u.String()
	}
	return names
}

// factors is a mapping from regions to factors.
type factors struct{ entry }

// price is a model's own price, nil if it has none.
func (l *loader) price(model string, s *section[priceDoc]) *pricing.Override {
	if !s.given() {
		return nil
	}
	before := len(l.problems)
	d := s.read(&l.reader)
	own := &pricing.Override{Model: model, Prices: l.priceList(&d.listDoc, pricing.List{}), Regions: l.factors(&d.Regions)}
	for name, list := range d.Services.read(&l.reader) {
		own.Prices = append(own.Prices, l.priceList(list, pricing.List{Service: l.name(&name)})...)
	}
	for name, list := range d.Variants.read(&l.reader) {
		own.Prices = append(own.Prices, l.priceList(list, pricing.List{Variant: name.node.Value})...)
	}
	if len(own.Prices) > maxPriceLists {
		l.refuse(&s.entry, "%d price lists are more than %d", len(own.Prices), maxPriceLists)
	} else if err := own.Check(); err != nil && len(l.problems) == before {
		l.refuse(&s.entry, "%v", err)
	}
	return own
}

// priceList is a list and its context tiers.
func (l *loader) priceList(d *listDoc, of pricing.List) []pricing.List {
	of.Prices = l.rates(&d.ratesDoc)
	lists := []pricing.List{of}
	for n, tier := range d.Tiers.read(&l.reader) {
		of.Over = l.count(&tier.Over, 0, 1, maxTokens)
		of.Prices = l.rates(&tier.ratesDoc)
		l.require(n, &tier.Over.entry, "over_input_tokens", "say above how much input the tier begins")
		if len(lists) <= maxPriceTiers {
			lists = append(lists, of)
		}
	}
	if len(lists) > maxPriceTiers {
		l.refuse(&d.Tiers.entry, "there are more than %d tiers", maxPriceTiers)
	}
	return lists
}

// rates are the prices of a list by the names of units, as text for the price table
// to parse.
func (l *loader) rates(d *ratesDoc) map[string]string {
	prices := map[string]string{}
	for unit := range call.Units {
		s := d.units[unit]
		if s == nil {
			continue
		}
		text, ok := l.text(s)
		if !ok {
			continue
		}
		if _, err := pricing.ParsePrice(unit, text); err != nil {
			l.refuse(&s.entry, "%v", err)
		}
		prices[unit.String()] = text
	}
	return prices
}

// factors are those of regions, as text.
func (l *loader) factors(f *factors) map[string]string {
	if !f.given() || !l.isMapping(&f.entry) {
		return nil
	}
	all := map[string]string{}
	for key, value := range l.pairs(f.node) {
		s := &scalar{entry{key.Value, value}}
		text, ok := l.text(s)
		if !ok {
			continue
		}
		if _, err := pricing.ParseFactor(text); err != nil {
			l.refuse(&s.entry, "%v", err)
		}
		all[key.Value] = text
	}
	return all
}
