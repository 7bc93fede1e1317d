package table_test

import (
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

func TestParseRefuses(t *testing.T) {
	const tiers = `"tiers":[{"input":1,"output":1}]`
	model := func(id, members string) string { return `{"id":"` + id + `",` + members + `}` }
	prices := func(schedule string) string { return `"names":["a"],"prices":[{` + schedule + `}]` }
	for _, tt := range []struct{ name, models, want string }{
		{"unknown member", model("a", prices(tiers+`,"inputs":1`)), "unknown field"},
		{"a fraction", model("a", prices(`"tiers":[{"input":1.5}]`)), "not whole"},
		{"a negative price", model("a", prices(`"tiers":[{"input":-1}]`)), "out of bounds"},
		{"a price beyond bounds", model("a", prices(`"tiers":[{"input":1,"output":1000000000000001}]`)), "out of bounds"},
		{"a unit that is none", model("a", prices(`"tiers":[{"input":1,"thoughts":1}]`)), "not the name of a unit"},
		{"a tier without prices", model("a", prices(`"tiers":[{}]`)), "without prices"},
		{"a region's factor beyond bounds", model("a", prices(tiers)+`,"regions":{"us":11000}`), "out of bounds"},
		{"no tiers", model("a", prices(`"tiers":[]`)), "first tier"},
		{"a first tier above 0", model("a", prices(`"tiers":[{"over":1,"input":1}]`)), "first tier"},
		{"tiers that fall", model("a", prices(`"tiers":[{"input":1},{"over":5,"input":1},{"over":5,"input":1}]`)), "must rise"},
		{"no such day", model("a", prices(`"from":"2026-02-30",`+tiers)), "from"},
		{"a start without end", model("a", prices(`"start":"10:00",`+tiers)), "end"},
		{"an end before the start", model("a", prices(`"start":"10:00","end":"09:00",`+tiers)), "not after"},
		{"no prices", model("a", `"names":["a"],"prices":[]`), "no prices"},
		{"no names", model("a", `"prices":[{`+tiers+`}]`), "matches no name"},
		{"an empty prefix", model("a", `"prefixes":[""],"prices":[{`+tiers+`}]`), "every name"},
		{"models out of order", model("b", prices(tiers)) + "," + model("a", prices(tiers)), "not sorted"},
		{"more than one value", model("a", prices(tiers)) + "]} {\"models\":[", "more than one"},
		{"a model twice", model("a", prices(tiers)) + "," + model("a", prices(tiers)), "not sorted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := table.Parse([]byte(`{"provider":"p","models":[` + tt.models + `]}`))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := table.Parse([]byte(`{"provider":"p","models":[` + model("a", prices(tiers)) + `]}`)); err != nil {
		t.Errorf("a right file: %v", err)
	}
}
