package agents_test

import (
	"slices"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
)

// TestSessionHeaders: only a program that is known to have a session is asked for one.
func TestSessionHeaders(t *testing.T) {
	for _, row := range []struct {
		name, agent string
		want        []string
	}{
		{"Claude Code", "claude-cli/2.1.332 (external, sdk-cli)", []string{"X-Claude-Code-Session-Id"}},
		{"Codex", "codex_exec/0.171.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.171.0)", []string{"Session-Id", "Session_id", "Thread-Id"}},
		{"Codex on a screen", "codex-tui/0.171.0", []string{"Session-Id", "Session_id", "Thread-Id"}},
		{"a library", "OpenAI/Python 3.57.0", nil},
		{"nobody says who", "", nil},
		{"another one's name", "codexfoo/1.0", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			head := providers.Head{Header: map[string][]string{"User-Agent": {row.agent}}}
			if got := agents.SessionHeaders(head); !slices.Equal(got, row.want) {
				t.Errorf("%q", got)
			}
		})
	}
}
