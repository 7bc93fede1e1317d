package pricing

import (
	"fmt"
	"slices"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// provider is one file of the table. It is parsed when one of its models is first asked for: most processes ask for those
// of one or two of more than a hundred, and all of them, compiled, would be most of what a process holds in memory.
type provider struct {
	id     string
	text   func() ([]byte, error)
	models func() *models
}

// models are what a provider's file says, compiled.
type models struct {
	matcher[*entry]
	fallback []string
	listed   []string // every name and the text of every pattern
}

// newProvider is the provider of a text that compiles, or its look-ups panic.
func newProvider(id string, text func() ([]byte, error)) *provider {
	p := &provider{id: id, text: text}
	p.models = sync.OnceValue(func() *models {
		all, err := p.compile()
		if err != nil {
			panic(err)
		}
		return all
	})
	return p
}

// file is the text, parsed anew.
func (p *provider) file() *table.Provider {
	file, err := p.parse()
	if err != nil {
		panic(err)
	}
	return file
}

func (p *provider) parse() (*table.Provider, error) {
	text, err := p.text()
	if err != nil {
		return nil, err
	}
	file, err := table.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("table of %s: %w", p.id, err)
	case file.Provider != p.id:
		return nil, fmt.Errorf("table of %s: it is of the provider %q", p.id, file.Provider)
	}
	return file, nil
}

// compile parses the text and makes its models findable.
func (p *provider) compile() (*models, error) {
	file, err := p.parse()
	if err != nil {
		return nil, err
	}
	all := &models{fallback: file.Fallback}
	for i := range file.Models {
		m := &file.Models[i]
		e, err := compileEntry(m.Prices)
		if err != nil {
			return nil, err
		}
		e.name, e.regions = file.Provider+"/"+m.ID, m.Regions
		e.limits = Limits{ContextTokens: m.ContextTokens, MaxOutputTokens: m.MaxOutputTokens}
		all.enter(m, e)
	}
	all.sort()
	return all, nil
}

func compileEntry(prices []table.Schedule) (*entry, error) {
	e := &entry{}
	for i := range prices {
		s, err := compileSchedule(&prices[i])
		if err != nil {
			return nil, err
		}
		e.schedules = append(e.schedules, s)
	}
	return e, nil
}

// enter makes an entry findable.
func (p *models) enter(m *table.Model, e *entry) {
	for _, name := range m.Names {
		p.addName(name, e)
	}
	p.listed = slices.Concat(p.listed, m.Names, m.Prefixes, m.Infixes)
	for _, text := range m.Prefixes {
		p.addPattern(text, false, e)
	}
	for _, text := range m.Infixes {
		p.addPattern(text, true, e)
	}
}

func compileSchedule(file *table.Schedule) (*schedule, error) {
	s := &schedule{service: file.Service, variant: file.Variant}
	var err error
	if s.from, err = file.FromUnix(); err != nil {
		return nil, err
	}
	if s.start, s.end, err = file.Hours(); err != nil {
		return nil, err
	}
	for i := range file.Tiers {
		s.tiers = append(s.tiers, compileRates(&file.Tiers[i]))
	}
	return s, nil
}

// compileRates fills in absent prices by package call's table.
func compileRates(file *table.Rates) rates {
	r := rates{over: file.Over}
	for u := range call.Units {
		r.per[u] = fallback(file, u)
	}
	return r
}

// fallback is a unit's own price, else the dearest of the own prices of the units that it names, else what these fall
// back to.
func fallback(file *table.Rates, u call.Unit) int64 {
	if file.Price[u] != NoRate {
		return file.Price[u]
	}
	if call.Table[u].Free {
		return 0
	}
	price := int64(NoRate)
	for _, other := range call.Table[u].Else {
		price = max(price, file.Price[other])
	}
	if price != NoRate {
		return price
	}
	for _, other := range call.Table[u].Else {
		price = max(price, fallback(file, other))
	}
	return price
}
