package pricing_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// TestBytesAreReadBack: a table that is written as a file is the same table, of one version however it was made.
func TestBytesAreReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prices.json")
	data, err := pricing.Builtin().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, data)
	table, err := pricing.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if changes := pricing.Builtin().Changes(table); len(changes) > 0 {
		t.Errorf("%d prices are others, %+v first", len(changes), changes[0])
	}
	if again, err := table.Bytes(); err != nil || string(again) != string(data) {
		t.Errorf("it is written otherwise again (%v)", err)
	}
	same, err := table.Update(table, time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC))
	if err != nil || same.Version() != table.Version() {
		t.Errorf("brought up to date by itself it is another table: %v, %d changes", err, len(table.Changes(same)))
	}
}

func TestReadFileRefusesAProviderTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prices.json")
	const provider = `{"provider":"p","models":[{"id":"m","names":["m"],"prices":[{"tiers":[{"input":1}]}]}]}`
	write(t, path, []byte("{\"aegis_prices\":1,\"providers\":["+provider+","+provider+"]}"))
	if _, err := pricing.ReadFile(path); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("error %v", err)
	}
}

func TestFactorOfAChange(t *testing.T) {
	for _, tt := range []struct{ old, new, want int64 }{{10, 20, 2}, {20, 10, 2}, {10, 21, 3}, {pricing.NoRate, 5, 0}, {pricing.NoRate, 0, 0}, {0, 5, math.MaxInt64},
		{5, 0, math.MaxInt64}, {5, pricing.NoRate, math.MaxInt64}, {0, pricing.NoRate, math.MaxInt64}, {5, 5, 1}, {1, math.MaxInt64, math.MaxInt64}} {
		if got := (pricing.Change{Old: tt.old, New: tt.new}).Factor(); got != tt.want {
			t.Errorf("from %d to %d is a factor of %d, want %d", tt.old, tt.new, got, tt.want)
		}
	}
}
