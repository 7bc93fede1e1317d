package agents_test

import (
	"maps"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
)

func TestShowGauge(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, row := range []struct {
		name                string
		told                string // by the upstream
		gauge               call.Gauge
		used, window, reset string
	}{
		{"of a day", "", call.Gauge{Percent: 76, Window: day, ResetsAt: 1_800_000_000_999}, "76", "1440", "1800000000"},
		{"of a week", "", call.Gauge{Percent: 0, Window: 7 * day, ResetsAt: 1_800_000_000_000}, "0", "10080", "1800000000"},
		{"of February", "", call.Gauge{Percent: 1, Window: 28 * day}, "1", "43200", ""},
		{"of a long month", "", call.Gauge{Percent: 1, Window: 31*day + time.Hour}, "1", "43200", ""},
		{"for good", "", call.Gauge{Percent: 100}, "100", "", ""},
		{"the upstream's is fuller", "80.5", call.Gauge{Percent: 79, Window: day}, "80.5", "300", "7"},
		{"the upstream's is as full", "80", call.Gauge{Percent: 80, Window: day}, "80", "300", "7"},
		{"ours is fuller", "80.5", call.Gauge{Percent: 81}, "81", "", ""},
		{"the upstream's is no number", "much", call.Gauge{Percent: 81}, "much", "300", "7"},
	} {
		t.Run(row.name, func(t *testing.T) {
			answer := map[string][]string{}
			if row.told != "" {
				answer = map[string][]string{"X-Codex-Primary-Used-Percent": {row.told}, "X-Codex-Primary-Window-Minutes": {"300"}, "X-Codex-Primary-Reset-At": {"7"}}
			}
			agents.ShowGauge(answer, row.gauge)
			want := map[string]string{"X-Codex-Primary-Used-Percent": row.used, "X-Codex-Primary-Window-Minutes": row.window, "X-Codex-Primary-Reset-At": row.reset}
			maps.DeleteFunc(want, func(_, v string) bool { return v == "" })
			got := map[string]string{}
			for name, values := range answer {
				got[name] = values[0]
			}
			if !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestHasGauge: nobody but Codex is told.
func TestHasGauge(t *testing.T) {
	for agent, want := range map[string]bool{"codex-tui/0.171.0": true, "codex_exec/0.171.0": true, "claude-cli/2.1.332": false, "OpenAI/Python 3.57.0": false, "": false} {
		if got := agents.HasGauge(providers.Head{Header: map[string][]string{"User-Agent": {agent}}}); got != want {
			t.Errorf("%q: %v", agent, got)
		}
	}
}
