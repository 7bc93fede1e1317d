package pricing_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// leapsBetween are the leaps from one file's table to another's, each with the models of a provider p.
func leapsBetween(t *testing.T, old, newer string) []pricing.Change {
	t.Helper()
	read := func(models string) *pricing.Table {
		path := filepath.Join(t.TempDir(), "prices.json")
		write(t, path, []byte(`{"aegis_prices":1,"providers":[{"provider":"p","models":[`+models+`]}]}`))
		table, err := pricing.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	return read(old).Leaps(read(newer), pricing.DefaultFactor)
}

// TestLeapsOfNames: what a model's name costs cannot leap unseen, by whatever entry, list, tier or region it comes to its
// price. What only adds to a table is no leap.
func TestLeapsOfNames(t *testing.T) {
	const tiers = `"prices":[{"tiers":[{"input":1000,"output":2000}]}]`
	const old = `{"id":"m","names":["m","m-mini"],"prefixes":["m"],` + tiers + `}`
	changed := func(more string) string { return `{"id":"m","names":["m","m-mini"],"prefixes":["m"],` + more + `}` }
	for _, row := range []struct{ name, old, newer, want string }{
		{"nothing", old, old, ""},
		{"a new model", old, old + `,{"id":"n","names":["n"],"prices":[{"tiers":[{"input":1}]}]}`, ""},
		{"a new service", old, changed(`"prices":[{"tiers":[{"input":1000,"output":2000}]},{"service":"flex","tiers":[{"input":1,"output":1}]}]`), ""},
		{"a new unit", old, changed(`"prices":[{"tiers":[{"input":1000,"output":2000,"searches":5}]}]`), ""},
		{"a new fee of requests", old, changed(`"prices":[{"tiers":[{"input":1000,"output":2000,"requests":5}]}]`), ""},
		{"a price within the factor", old, changed(`"prices":[{"tiers":[{"input":500,"output":4000}]}]`), ""},
		{"an entry that is more specific", old, old + `,{"id":"r","names":["m-2026-01-01"],"prices":[{"tiers":[{"input":1,"output":2}]}]}`, "p/m-2026-01-01: input"},
		{"a pattern that is more specific", old, old + `,{"id":"r","prefixes":["m-preview"],"prices":[{"tiers":[{"input":1,"output":2}]}]}`, "p/m-preview: input"},
		{"a name that moves", old, `{"id":"m","names":["m"],"prefixes":["m"],` + tiers + `},{"id":"s","names":["m-mini"],"prices":[{"tiers":[{"input":1,"output":2}]}]}`, "p/m-mini: input"},
		{"a name that goes", old, `{"id":"m","names":["m"],` + tiers + `}`, "p/m-mini: input 0.001 -> none"},
		{"a list from a day on", old, changed(`"prices":[{"tiers":[{"input":1000,"output":2000}]},{"from":"2027-01-01","tiers":[{"input":1,"output":2}]}]`), "p/m: input"},
		{"a list of some hours", old, changed(`"prices":[{"tiers":[{"input":1000,"output":2000}]},{"start":"01:00","end":"05:00","tiers":[{"input":1,"output":2}]}]`), "p/m: input"},
		{"a context tier", old, changed(`"prices":[{"tiers":[{"input":1000,"output":2000},{"over":10,"input":1,"output":2}]}]`), "p/m over 10: input"},
		{"a unit that had another's price", old, changed(`"prices":[{"tiers":[{"input":1000,"output":2000,"cached_input":1}]}]`), "p/m: cached_input"},
		{"a region", changed(`"regions":{"us":1100},` + tiers), changed(`"regions":{"us":3000},` + tiers), "p/m (us): input"},
	} {
		var got []string
		for _, c := range leapsBetween(t, row.old, row.newer) {
			got = append(got, c.String())
		}
		if text := strings.Join(got, "; "); !strings.HasPrefix(text, row.want) || row.want == "" && text != "" {
			t.Errorf("%s: %q, want %q", row.name, text, row.want)
		}
	}
}

// A table leaps from itself nowhere.
func TestBuiltinTableDoesNotLeapFromItself(t *testing.T) {
	if leaps := pricing.Builtin().Leaps(pricing.Builtin(), 1); len(leaps) > 0 {
		t.Error(fmt.Sprint(leaps[:min(5, len(leaps))]))
	}
}
