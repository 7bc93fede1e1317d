package agents_test

import (
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
)

// TestMannerOf: programs that are known to read a status otherwise get another; whoever
// only looks like them does not.
func TestMannerOf(t *testing.T) {
	const claude, codex = "claude-cli/2.1.332 (external, sdk-cli)", "codex_exec/0.171.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.171.0)"
	for _, row := range []struct {
		name, agent string
		class       call.Class
		want        agents.Manner
	}{
		{"nobody says who", "", call.Exhausted, agents.Manner{Status: 402}},
		{"a library", "OpenAI/Python 3.57.0", call.Forbidden, agents.Manner{Status: 403}},
		{"Claude Code, exhausted", claude, call.Exhausted, agents.Manner{Status: 402}},
		{"Claude Code, refused", claude, call.Forbidden, agents.Manner{Status: 405}},
		{"Claude Code, held", claude, call.Held, agents.Manner{Status: 429}},
		{"Codex, exhausted", codex, call.Exhausted, agents.Manner{Status: 400, Bare: true}},
		{"Codex, refused", codex, call.Forbidden, agents.Manner{Status: 400, Bare: true}},
		{"Codex, held", codex, call.Held, agents.Manner{Status: 503}},
		{"Codex, ledger down", codex, call.Down, agents.Manner{Status: 503}},
		{"Claude Code, ledger down", claude, call.Down, agents.Manner{Status: 503, Final: true}},
		{"Gemini CLI, ledger down", "GeminiCLI/0.61.0/gemini-2.5-flash (linux; x64; terminal)", call.Down, agents.Manner{Status: 424, Final: true}},
		{"Gemini CLI in an editor, ledger down", "GeminiCLI-acp-vscode/0.61.0", call.Down, agents.Manner{Status: 424, Final: true}},
		{"Gemini CLI, exhausted", "GeminiCLI/0.61.0/gemini-2.5-flash (linux; x64; terminal)", call.Exhausted, agents.Manner{Status: 402}},
		{"Claude Code, no room", claude, call.Unavailable, agents.Manner{Status: 503}},
		{"Codex, no key", codex, call.Unidentified, agents.Manner{Status: 400, Bare: true}},
		{"Codex by another of its names", "codex_cli_rs/0.171.0", call.Exhausted, agents.Manner{Status: 400, Bare: true}},
		{"Codex on a screen", "codex-tui/0.171.0 (Debian 12.0.0; x86_64) xterm-256color (codex-tui; 0.171.0)", call.Forbidden, agents.Manner{Status: 400, Bare: true}},
		{"Codex with a window", "Codex Desktop/1.0", call.Exhausted, agents.Manner{Status: 400, Bare: true}},
		{"another one's name", "codexfoo/1.0", call.Exhausted, agents.Manner{Status: 402}},
		{"named in the middle", "proxy for codex_exec/0.171.0", call.Exhausted, agents.Manner{Status: 402}},
	} {
		t.Run(row.name, func(t *testing.T) {
			head := providers.Head{Header: map[string][]string{"User-Agent": {row.agent}}}
			if got := agents.MannerOf(head, &call.Denial{Class: row.class}); got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}
