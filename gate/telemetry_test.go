package gate_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestSlogTelemetryTellsOfEachCall: a line for each decision and each charge, and
// at Debug what the ledger and the log took.
func TestSlogTelemetryTellsOfEachCall(t *testing.T) {
	for level, want := range map[slog.Level][]string{
		slog.LevelInfo: {
			`msg="policy in force" tenants=1`,
			`msg=decided tenant=acme verdict=allow reason=""`,
			`msg=charged tenant=acme model=toy nano_usd=110 input=90 output=10`,
			`msg=decided tenant=acme verdict=deny reason=budget_exhausted`,
		},
		slog.LevelDebug: {
			`msg=held tenant=acme nano_usd=200 leases=1`, `msg=held tenant=acme nano_usd=-200 leases=-1`,
			`msg=ledger verb=reserve`, `msg=ledger verb=settle`, `msg=receipt`,
		},
	} {
		p := newParts(t)
		var text bytes.Buffer
		p.config.Telemetry = gate.SlogTelemetry(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: level})))
		g, err := gate.Open(t.Context(), p.config)
		p.must(err)
		p.call(g)
		if _, err := askFor(g, 1000); !isDenied(err, policy.BudgetExhausted) {
			t.Error(err)
		}
		p.must(g.Close())
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		for _, line := range want {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, line) }) {
				t.Errorf("at %v: no line has %s:\n%s", level, line, text.String())
			}
		}
		if level == slog.LevelInfo && len(lines) != len(want) {
			t.Errorf("%d lines, want %d:\n%s", len(lines), len(want), text.String())
		}
	}
}
