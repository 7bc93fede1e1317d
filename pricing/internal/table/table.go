// Package table is the file format of the price table: one JSON file a provider, one model a line, so that a changed
// price is a changed line.
//
// Prices are integers: pico-USD (1e-12 USD) per unit of package call, by the unit's name. For tokens that is the US
// dollars per million that providers publish, times a million. An absent price is not zero: it is that of the units
// that package call's table names for it, and where there are none usage of the unit cannot be priced.
package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// MaxPicoUSD bounds one price: 1,000 USD a unit.
const MaxPicoUSD = 1_000_000_000_000_000

// A region's factor is from 0.1 to 10, in thousandths.
const (
	MinFactor = 100
	MaxFactor = 10_000
)

// Provider is one file: the models of one provider, sorted by id.
type Provider struct {
	Provider string   `json:"provider"`
	Fallback []string `json:"fallback,omitempty"` // providers whose prices hold for models that are not listed here
	Models   []Model  `json:"models"`
}

// Model is one entry: which names it prices, and how.
//
// Names are whole model names. A prefix, or an infix that begins the name or follows a separator, must be followed by
// the end of the name or by a release: a date, a version, "latest", "preview". So a prefix prices the releases of one
// model and never another model whose name happens to go on from it.
type Model struct {
	ID       string     `json:"id"`
	Names    []string   `json:"names,omitempty"`
	Prefixes []string   `json:"prefixes,omitempty"`
	Infixes  []string   `json:"infixes,omitempty"`
	Prices   []Schedule `json:"prices"`
	// Limits of the model in tokens, where the source tells them; 0: it does not.
	ContextTokens   int64 `json:"context_tokens,omitempty"`
	MaxOutputTokens int64 `json:"max_output_tokens,omitempty"`
	// Regions are the factors of the regions whose prices differ, in thousandths, for the units that are scaled.
	Regions map[string]int64 `json:"regions,omitempty"`
}

// Schedule is what a model costs while it holds. The last schedule of a service and variant that holds at an instant
// counts.
type Schedule struct {
	Service string  `json:"service,omitempty"` // the service tier whose price it is; "": the standard one
	Variant string  `json:"variant,omitempty"` // of the model, as "720p"
	From    string  `json:"from,omitempty"`    // first day, "2006-01-02", UTC
	Start   string  `json:"start,omitempty"`   // from this time of day, "15:04", UTC
	End     string  `json:"end,omitempty"`     // to before this time of day; later than Start
	Tiers   []Rates `json:"tiers"`             // by rising Over, the first 0
}

// Parse reads and checks one file. Unknown members are errors.
func Parse(data []byte) (*Provider, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var p Provider
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("price table of %q: more than one JSON value", p.Provider)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("price table of %q: %w", p.Provider, err)
	}
	return &p, nil
}

// Write writes the file that Parse reads, one model a line.
func (p *Provider) Write(w io.Writer) error {
	var b bytes.Buffer
	head, err := json.Marshal(struct {
		Provider string   `json:"provider"`
		Fallback []string `json:"fallback,omitempty"`
	}{p.Provider, p.Fallback})
	if err != nil {
		return err
	}
	b.Write(bytes.TrimSuffix(head, []byte("}")))
	b.WriteString(",\"models\":[")
	for i, m := range p.Models {
		line, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	_, err = w.Write(b.Bytes())
	return err
}

func (p *Provider) check() error {
	if p.Provider == "" {
		return errors.New("provider is empty")
	}
	for i, m := range p.Models {
		if i > 0 && m.ID <= p.Models[i-1].ID {
			return fmt.Errorf("model %q: not sorted by id, or twice", m.ID)
		}
		if err := m.check(); err != nil {
			return fmt.Errorf("model %q: %w", m.ID, err)
		}
	}
	return nil
}

func (m *Model) check() error {
	switch {
	case len(m.Names)+len(m.Prefixes)+len(m.Infixes) == 0:
		return errors.New("matches no name")
	case slices.Contains(m.Prefixes, "") || slices.Contains(m.Infixes, ""):
		return errors.New("an empty pattern matches every name")
	case len(m.Prices) == 0:
		return errors.New("no prices")
	}
	if m.ContextTokens < 0 || m.MaxOutputTokens < 0 {
		return errors.New("a limit is negative")
	}
	for region, factor := range m.Regions {
		if region == "" || factor < MinFactor || factor > MaxFactor {
			return fmt.Errorf("region %q: a factor of %d thousandths is out of bounds", region, factor)
		}
	}
	for _, s := range m.Prices {
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Schedule) check() error {
	if _, err := s.FromUnix(); err != nil {
		return err
	}
	if _, _, err := s.Hours(); err != nil {
		return err
	}
	if len(s.Tiers) == 0 || s.Tiers[0].Over != 0 {
		return errors.New("the first tier must begin at 0 tokens")
	}
	for i, r := range s.Tiers {
		if i > 0 && r.Over <= s.Tiers[i-1].Over {
			return fmt.Errorf("tier over %d tokens: tiers must rise", r.Over)
		}
	}
	return nil
}

// FromUnix is the second at which the schedule begins, the smallest int64 where it has no first day.
func (s *Schedule) FromUnix() (int64, error) {
	if s.From == "" {
		return -1 << 63, nil
	}
	day, err := time.Parse(time.DateOnly, s.From)
	if err != nil {
		return 0, fmt.Errorf("from: %w", err)
	}
	return day.Unix(), nil
}

// Hours are the seconds of the UTC day from which and before which the schedule holds.
func (s *Schedule) Hours() (start, end int64, err error) {
	if s.Start == "" && s.End == "" {
		return 0, 24 * 60 * 60, nil
	}
	from, err := time.Parse("15:04", s.Start)
	if err != nil {
		return 0, 0, fmt.Errorf("start: %w", err)
	}
	to, err := time.Parse("15:04", s.End)
	if err != nil {
		return 0, 0, fmt.Errorf("end: %w", err)
	}
	start, end = secondOfDay(from), secondOfDay(to)
	if start >= end {
		return 0, 0, fmt.Errorf("end %s is not after start %s", s.End, s.Start)
	}
	return start, end, nil
}

func secondOfDay(t time.Time) int64 { return int64(t.Hour()*3600 + t.Minute()*60) }

// Compare orders models as the file has them: by id.
func Compare(a, b Model) int { return strings.Compare(a.ID, b.ID) }
