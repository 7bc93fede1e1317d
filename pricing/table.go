// Package pricing knows what requests to models cost: at most, before they are sent, and exactly, once their usage is
// known.
//
// Money is int64 nano-USD, prices are int64 pico-USD per unit of package call; a cost is a sum of products, in 128 bits,
// rounded up once. No float touches a price. Whatever has no price is an error, never zero.
//
// The built-in table is one JSON file a provider under table/, and the limits of models in limits.json; NOTICE.md says
// where the figures are from, and which were left out. An operator's overrides go before it. A Table never changes: With
// returns another one.
package pricing

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

//go:embed table/*.json
var tableFiles embed.FS

// AsOf is the day whose prices the built-in table has. Later changes of price are not in it, except those that providers
// had announced.
const AsOf = "2026-11-30"

// Table is a price table with limits of models. It is safe for concurrent use.
type Table struct {
	providers map[string]*provider
	limits    map[string]*matcher[Limits] // by provider
	prices    overlay[*entry]
	caps      overlay[Limits]
	files     []*table.Provider // of which it is made
	builtin   string            // version without overrides
	version   string
}

type provider struct {
	matcher[*entry]
	fallback []string
	listed   []string // every name and the text of every pattern
}

// Builtin is the table that the program carries. It panics if the embedded files are damaged, which the tests exclude.
func Builtin() *Table { return builtin() }

var builtin = sync.OnceValue(func() *Table {
	t, err := load(tableFiles, limitsFile)
	if err != nil {
		panic(err)
	}
	return t
})

// Read is the table of another version of this package: of its files table/*.json and limits.json.
func Read(files fs.FS) (*Table, error) {
	limits, err := fs.ReadFile(files, "limits.json")
	if err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	t, err := load(files, limits)
	if err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	if len(t.providers) == 0 {
		return nil, errors.New("price table: there is no file like table/openai.json")
	}
	return t, nil
}

func load(files fs.FS, limits []byte) (*Table, error) {
	names, err := fs.Glob(files, "table/*.json")
	if err != nil {
		return nil, err
	}
	t := &Table{providers: map[string]*provider{}}
	content := sha256.New()
	for _, name := range names { // sorted
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		file, err := table.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if t.providers[file.Provider], err = compile(file); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		t.files = append(t.files, file)
		fmt.Fprintf(content, "%s %d\n", name, len(data))
		content.Write(data)
	}
	list, err := parseLimits(limits)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(content, "limits.json %d\n", len(limits))
	content.Write(limits)
	t.limits = compileLimits(list)
	t.builtin = hex.EncodeToString(content.Sum(nil))
	t.version = t.builtin
	return t, t.checkFallbacks()
}

func (t *Table) checkFallbacks() error {
	for id, p := range t.providers {
		for _, other := range p.fallback {
			if t.providers[other] == nil {
				return fmt.Errorf("price table of %q: the fallback %q is no provider", id, other)
			}
		}
	}
	return nil
}

// hash is the lowercase hex SHA-256 of a value's JSON. The value holds structs, slices and text only, so that its JSON is
// the same in every process.
func hash(value any) (string, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("price table: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Version is the lowercase hex SHA-256 of the table's content: of its files, and where there are overrides, of that hash
// and the overrides, written as JSON. Equal versions price and limit every request alike.
func (t *Table) Version() string { return t.version }

// Lookup is the price of a model at an instant, which ought to be the start of the request, at the standard service. Names
// are matched whole first, without regard to case, then by the patterns of the table. The error is ErrNoPrice.
func (t *Table) Lookup(providerID, model string, at time.Time) (Price, error) {
	if len(model) > maxModelName {
		return Price{}, fmt.Errorf("%w: the model name is longer than %d bytes", ErrNoPrice, maxModelName)
	}
	e, ok := t.prices.find(providerID, model)
	if !ok {
		e = t.entry(providerID, model)
	}
	unix := at.Unix()
	if e == nil || !e.sells(unix) {
		return Price{}, fmt.Errorf("%w for model %q of provider %q: give it one in the policy's prices", ErrNoPrice, model, providerID)
	}
	return Price{entry: e, schedule: e.at(unix, "", ""), unix: unix, factor: plain}, nil
}

// sells reports whether the entry has a price at a unix second, of whatever service.
func (e *entry) sells(unix int64) bool {
	return slices.ContainsFunc(e.schedules, func(s *schedule) bool { return s.holds(unix) })
}

// entry finds a model at a provider, or at those whose prices the provider shares (Azure sells OpenAI's models).
func (t *Table) entry(providerID, model string) *entry {
	p := t.providers[providerID]
	if p == nil {
		return nil
	}
	if e, ok := p.find(model); ok {
		return e
	}
	for _, other := range p.fallback {
		if e, ok := t.providers[other].find(model); ok {
			return e
		}
	}
	return nil
}

// Providers are the ids of the providers in the built-in table, sorted.
func (t *Table) Providers() []string { return slices.Sorted(maps.Keys(t.providers)) }

// Models are the names that the table prices for a provider, sorted: whole names, the texts of patterns, which price
// the releases of those names too, and the whole names that overrides price. A provider that is not known has only the
// latter.
func (t *Table) Models(providerID string) []string {
	names := t.prices.names(providerID)
	if p := t.providers[providerID]; p != nil {
		names = append(names, p.listed...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func compile(file *table.Provider) (*provider, error) {
	p := &provider{fallback: file.Fallback}
	for i := range file.Models {
		m := &file.Models[i]
		e, err := compileEntry(m.Prices)
		if err != nil {
			return nil, err
		}
		e.name, e.regions = file.Provider+"/"+m.ID, m.Regions
		e.limits = Limits{ContextTokens: m.ContextTokens, MaxOutputTokens: m.MaxOutputTokens}
		p.enter(m, e)
	}
	p.sort()
	return p, nil
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
func (p *provider) enter(m *table.Model, e *entry) {
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
