package pricing_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// TestSourceFollowsItsFile: a table is taken if its prices change by no more than the factor, or are confirmed. Whatever else the
// file becomes is told of, and leaves the old table in force.
func TestSourceFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prices.json")
	write(t, path, []byte(priced("1e-06")))
	told := make(chan error, 8)
	s, err := pricing.Watch(path, pricing.DefaultFactor, func(err error) { told <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := follower{s, told, path}

	f.refuses(t, path, `{"m": 7}`, "this is no price table")
	f.takes(t, path, priced("2e-06"), 2_000_000)
	f.refuses(t, path, priced("5e-06"), "p/m: input 2 -> 5 USD per 1000000")
	f.refuses(t, path, `{"other": {"litellm_provider": "p", "input_cost_per_token": 1e-06}}`, "p/m: input 2 -> none USD per 1000000")
	f.refuses(t, path, `{"aegis_prices":1,"providers":[{"provider":"p","models":[{"id":"m","names":["m"],"prices":[{"tiers":[{"input":0}]}]}]}]}`, "p/m: input 2 -> 0 USD per 1000000")
	f.refuses(t, path, priced("5e-06"), "p/m: input 2 -> 5 USD per 1000000")
	f.refuses(t, pricing.Confirmation(path), "that of another table", "prices confirm "+f.version(t)+" --prices "+path)
	f.takes(t, pricing.Confirmation(path), f.version(t)+"\n", 5_000_000)
	f.refuses(t, path, priced("2e-06"), "p/m: input 5 -> 2 USD per 1000000")
	f.takes(t, path, priced("4e-06"), 4_000_000)
}

// TestSourceBeginsWithAnyTable: there is none that the first one's prices could leap from.
func TestSourceBeginsWithAnyTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prices.json")
	if _, err := pricing.Watch(path, pricing.DefaultFactor, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	write(t, path, []byte(priced("1e-06")))
	s, err := pricing.Watch(path, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s.Refused() {
		t.Error("the first table is called refused")
	}
}

// priced is a price file with one model.
func priced(usd string) string {
	return `{"m": {"litellm_provider": "p", "input_cost_per_token": ` + usd + `}}`
}

// follower is a source, what it told, and its file.
type follower struct {
	*pricing.Source
	told chan error
	path string
}

// refuses has a file changed, and wants that told and the old table in force.
func (f follower) refuses(t *testing.T, path, text, reason string) {
	t.Helper()
	old := f.Current()
	write(t, path, []byte(text))
	select {
	case err := <-f.told:
		if !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), old.Version()) || f.Current() != old || !f.Refused() {
			t.Errorf("%s: told %v, want %q; refused %v", text, err, reason, f.Refused())
		}
	case <-time.After(patience):
		t.Fatalf("%s: nobody was told", text)
	}
}

// takes has a file changed, and wants the input at that price, in pico-USD.
func (f follower) takes(t *testing.T, path, text string, pico int64) {
	t.Helper()
	old := f.Current()
	write(t, path, []byte(text))
	for end := time.After(patience); f.Current() == old || f.Refused(); {
		select {
		case err := <-f.told:
			t.Fatalf("%s: %v", text, err)
		case <-end:
			t.Fatalf("%s is not in force", text)
		case <-time.After(10 * time.Millisecond):
		}
	}
	price, err := f.Current().Lookup("p", "m", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, rates := range price.Tiers() {
		if rates[call.Input] != pico {
			t.Errorf("input costs %d pico-USD, want %d", rates[call.Input], pico)
		}
	}
}

// version is that of the table in the file.
func (f follower) version(t *testing.T) string {
	t.Helper()
	table, err := pricing.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	return table.Version()
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
