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
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
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
	builtin   string // version without overrides
	version   string
}

// Builtin is the table that the program carries. Its look-ups panic if the embedded files are damaged, which the tests
// exclude.
func Builtin() *Table { return builtin() }

var builtin = sync.OnceValue(func() *Table {
	names, err := fs.Glob(tableFiles, tablePattern)
	if err != nil {
		panic(err)
	}
	t, err := load(names, tableFiles.ReadFile, limitsFile)
	if err != nil {
		panic(err)
	}
	return t
})

// tablePattern is where a table's files are: one a provider, named for it.
const tablePattern = "table/*.json"

// Read is the table of another version of this package: of its files table/*.json and limits.json.
func Read(files fs.FS) (*Table, error) {
	limits, err := fs.ReadFile(files, "limits.json")
	if err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	t, err := read(files, limits)
	if err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	if len(t.providers) == 0 {
		return nil, errors.New("price table: there is no file like table/openai.json")
	}
	return t, nil
}

// read keeps the files, which may change, and checks them.
func read(files fs.FS, limits []byte) (*Table, error) {
	names, err := fs.Glob(files, tablePattern)
	if err != nil {
		return nil, err
	}
	texts := map[string][]byte{}
	for _, name := range names {
		if texts[name], err = fs.ReadFile(files, name); err != nil {
			return nil, err
		}
	}
	t, err := load(names, func(name string) ([]byte, error) { return texts[name], nil }, limits)
	if err != nil {
		return nil, err
	}
	return t, t.check()
}

// load is the table of files that the caller vouches for: each is parsed when one of its models is asked for.
func load(names []string, text func(name string) ([]byte, error), limits []byte) (*Table, error) {
	t := &Table{providers: map[string]*provider{}}
	content := sha256.New()
	for _, name := range names { // sorted
		data, err := text(name)
		if err != nil {
			return nil, err
		}
		id := strings.TrimSuffix(path.Base(name), ".json")
		t.providers[id] = newProvider(id, func() ([]byte, error) { return text(name) })
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
	return t, nil
}

// check parses every file once.
func (t *Table) check() error {
	for _, id := range t.Providers() {
		m, err := t.providers[id].compile()
		if err != nil {
			return err
		}
		for _, other := range m.fallback {
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

// cure is what to do where there is no price.
const cure = "give it one by the line price: {input: N, output: N} at the model in the policy, or in the table of --prices"

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
		return Price{}, fmt.Errorf("%w for model %q of provider %q: ask for a model that has one, or %s", ErrNoPrice, model, providerID, cure)
	}
	return Price{entry: e, schedule: e.at(unix, "", ""), unix: unix, factor: plain}, nil
}

// Sells is nil if the table, or an override that names the provider, prices a model of it. Else it is ErrNoPrice, with the
// provider of the table that is likely meant.
func (t *Table) Sells(providerID string) error {
	if t.providers[providerID] != nil || t.prices.has(providerID) {
		return nil
	}
	if near := names.Nearest(providerID, t.Providers()); near != "" {
		return fmt.Errorf("%w is known for provider %q; did you mean %s?", ErrNoPrice, providerID, near)
	}
	return fmt.Errorf("%w is known for provider %q: name one that aegis-proxy prices show lists, or price its models in the policy or in the table of --prices", ErrNoPrice, providerID)
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
	models := p.models()
	if e, ok := models.find(model); ok {
		return e
	}
	for _, other := range models.fallback {
		if e, ok := t.providers[other].models().find(model); ok {
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
		names = append(names, p.models().listed...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
