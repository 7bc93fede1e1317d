package policy_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// priced is a policy with one model of that price.
func priced(t *testing.T, price string) (*pricing.Override, error) {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(`generation: 1
upstreams:
  - {name: up, base_url: "http://localhost:1/v1", provider: house, cap_field: max_tokens}
models:
  - {match: "m", upstreams: [up], price: {`+price+`}}
tenants: [{name: acme}]
`))
	if err != nil {
		return nil, err
	}
	return p.Models[0].Price, nil
}

// TestEarlierPriceNames: a policy that was written before prices had the names of units
// means the same.
func TestEarlierPriceNames(t *testing.T) {
	old, err := priced(t, `input_usd_per_million: "1", cached_input_usd_per_million: "0.1", cache_write_usd_per_million: "1.25", output_usd_per_million: "4"`)
	if err != nil {
		t.Fatal(err)
	}
	now, err := priced(t, `input: "1", cached_input: "0.1", cache_write: "1.25", output: "4"`)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(old, now) {
		t.Errorf("%+v is not %+v", old, now)
	}
}

// TestEveryPriceCanBeSet: what a policy sets is what the table charges, in each unit.
func TestEveryPriceCanBeSet(t *testing.T) {
	for u := range call.Units {
		prices := map[string]string{"input": "0", "output": "0"}
		prices[u.String()] = "3"
		var fields []string
		for name, price := range prices {
			fields = append(fields, name+`: "`+price+`"`)
		}
		own, err := priced(t, strings.Join(fields, ", "))
		if err != nil {
			t.Errorf("%s: %v", u, err)
			continue
		}
		table, err := pricing.Builtin().With([]pricing.Override{*own})
		if err != nil {
			t.Fatal(err)
		}
		price, err := table.Lookup("house", "m", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var usage call.Usage
		usage[u] = call.Table[u].Per
		if cost, err := price.Cost(usage); err != nil || cost != 3_000_000_000 {
			t.Errorf("%d %s cost %d nano-USD (%v), want 3 USD", call.Table[u].Per, u, cost, err)
		}
	}
}

func TestPriceListsOfServicesVariantsTiersAndRegions(t *testing.T) {
	got, err := priced(t, `input: "1", output: "2", tiers: [{over_input_tokens: 100, input: "3"}], services: {priority: {input: "4", tiers: [{over_input_tokens: 7, input: "5"}]}},
      variants: {"720p": {video_seconds_out: "0.1"}}, regions: {us: "1.1"}`)
	if err != nil {
		t.Fatal(err)
	}
	list := func(l pricing.List, prices ...string) pricing.List {
		l.Prices = map[string]string{}
		for i := 0; i < len(prices); i += 2 {
			l.Prices[prices[i]] = prices[i+1]
		}
		return l
	}
	want := &pricing.Override{Model: "m", Regions: map[string]string{"us": "1.1"}, Prices: []pricing.List{
		list(pricing.List{}, "input", "1", "output", "2"),
		list(pricing.List{Over: 100}, "input", "3"),
		list(pricing.List{Service: "priority"}, "input", "4"),
		list(pricing.List{Service: "priority", Over: 7}, "input", "5"),
		list(pricing.List{Variant: "720p"}, "video_seconds_out", "0.1"),
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("prices %+v, want %+v", got, want)
	}
}

func TestPricesThatAreRefused(t *testing.T) {
	for price, want := range map[string]string{
		`input: "1", input_usd_per_million: "1"`:      "already given as input",
		`output: "1"`:                                 "none for input",
		`input: "1", thoughts: "1"`:                   "unknown field \"thoughts\" in price",
		`input: "1.0000001"`:                          "more than 6 decimals",
		`input: "1", reasoning: "1"`:                  "not the output",
		`input: "1", regions: {us: "0"}`:              "is no factor",
		`input: "1", regions: [us]`:                   "must be a mapping",
		`input: "1", tiers: [{input: "2"}]`:           "over_input_tokens is missing",
		`input: "1", tiers: [{over_input_tokens: 5}]`: "without prices",
		`input: "1", tiers: [{over_input_tokens: 5, input: "1"}, {over_input_tokens: 5, input: "1"}]`: "do not follow",
		`input: "1", services: {priority: {}}`:                                                        "without prices",
	} {
		if _, err := priced(t, price); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", price, err, want)
		}
	}
}
