package pricing

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/source"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// maxFileBytes bounds a price file.
const maxFileBytes = 64 << 20

// ReadFile is the table that one file holds, whole: in our own form, that of genai-prices or that of litellm. What it does
// not say of a model's limits is as in the built-in limits.json.
func ReadFile(path string) (*Table, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	list, _, err := source.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t, err := tableOf(list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxFileBytes)
	}
	return data, err
}

// tableOf checks providers. Their version is that of the file that they would be written as.
func tableOf(list []*table.Provider) (*Table, error) {
	if len(list) == 0 {
		return nil, errors.New("no provider has a price in it")
	}
	t := &Table{providers: map[string]*provider{}}
	for _, p := range list {
		if t.providers[p.Provider] != nil {
			return nil, fmt.Errorf("the provider %q is in it twice", p.Provider)
		}
		var text bytes.Buffer
		if err := p.Write(&text); err != nil {
			return nil, err
		}
		t.providers[p.Provider] = newProvider(p.Provider, func() ([]byte, error) { return text.Bytes(), nil })
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	text, err := source.Write(list)
	if err != nil {
		return nil, err
	}
	limits, err := parseLimits(limitsFile)
	if err != nil {
		return nil, err
	}
	content := sha256.New()
	content.Write(text)
	content.Write(limitsFile)
	t.limits = compileLimits(limits)
	t.builtin = hex.EncodeToString(content.Sum(nil))
	t.version = t.builtin
	return t, nil
}

// files are the table's providers, parsed anew, sorted.
func (t *Table) files() []*table.Provider {
	var list []*table.Provider
	for _, id := range t.Providers() {
		list = append(list, t.providers[id].file())
	}
	return list
}

// Update is the table with a newer one over it: the newer's price of a unit wins, and what only this one has stays.
// Overrides are neither's.
func (t *Table) Update(newer *Table, day time.Time) (*Table, error) {
	return tableOf(source.Merge(t.files(), newer.files(), day.UTC().Format(time.DateOnly), &source.Report{}))
}

// Bytes is the table as a file of our own form, which ReadFile reads. Overrides are not in it.
func (t *Table) Bytes() ([]byte, error) { return source.Write(t.files()) }

// Change is one price that differs between two tables, in pico-USD per unit; NoRate where one of them has none.
type Change struct {
	Entry    string // "provider/model id"
	List     string // "", or what tells its list from the standard one, as "priority from 2027-01-01"
	Over     int64  // input tokens
	Unit     call.Unit
	Old, New int64
}

// Factor is how many times the dearer price is the cheaper one, rounded up: more than any where a price is gone, becomes
// nothing or was nothing, and 0 where there was none before.
func (c Change) Factor() int64 {
	low, high := min(c.Old, c.New), max(c.Old, c.New)
	switch {
	case c.Old == NoRate:
		return 0
	case low <= 0:
		return math.MaxInt64
	}
	return (high-1)/low + 1
}

// String is the change in a line, for people.
func (c Change) String() string {
	text := c.Entry
	if c.List != "" {
		text += " (" + c.List + ")"
	}
	if c.Over > 0 {
		text += fmt.Sprintf(" over %d", c.Over)
	}
	return fmt.Sprintf("%s: %s %s -> %s USD per %d", text, c.Unit, priceText(c.Unit, c.Old), priceText(c.Unit, c.New), call.Table[c.Unit].Per)
}

func priceText(u call.Unit, pico int64) string {
	if pico == NoRate {
		return "none"
	}
	return FormatPrice(u, pico)
}

// DefaultFactor is how many times a price may be another's before somebody has to confirm it.
const DefaultFactor = 2

// Changes lists how a newer table differs from this one, sorted.
func (t *Table) Changes(newer *Table) []Change {
	old, now := t.flat(), newer.flat()
	var list []Change
	for key, price := range now {
		was, ok := old[key]
		if !ok {
			was = NoRate
		}
		if was != price {
			list = append(list, Change{key.entry, key.list, key.over, key.unit, was, price})
		}
	}
	for key, price := range old {
		if _, ok := now[key]; !ok {
			list = append(list, Change{key.entry, key.list, key.over, key.unit, price, NoRate})
		}
	}
	slices.SortFunc(list, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.List, b.List), cmp.Compare(a.Over, b.Over), cmp.Compare(a.Unit, b.Unit))
	})
	return list
}

type priceKey struct {
	entry, list string
	over        int64
	unit        call.Unit
}

func (t *Table) flat() map[priceKey]int64 {
	all := map[priceKey]int64{}
	for _, p := range t.files() {
		for _, m := range p.Models {
			for _, s := range m.Prices {
				for _, tier := range s.Tiers {
					for u, price := range tier.Price {
						if price != NoRate {
							all[priceKey{p.Provider + "/" + m.ID, listName(&s), tier.Over, call.Unit(u)}] = price
						}
					}
				}
			}
		}
	}
	return all
}

func listName(s *table.Schedule) string {
	words := []string{s.Service, s.Variant}
	if s.From != "" {
		words = append(words, "from "+s.From)
	}
	if s.Start != "" {
		words = append(words, s.Start+" to "+s.End)
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// Current is the table itself, for ever.
func (t *Table) Current() *Table { return t }
