package agents

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// TestRun: what a user types. The agents find the proxy by themselves, do their work, are
// stopped by the budget, and the end says what it cost.
func TestRun(t *testing.T) {
	sim := simulator.New(simulator.Config{Key: upstreamSecret, Script: simulator.Always(simulator.Answer{Text: saidPlain})})
	upstream := httptest.NewServer(sim)
	t.Cleanup(func() {
		sim.Close()
		upstream.Close()
	})
	claude := []string{installed("node/node_modules/.bin/claude"), "-p", "Say how the ledger is.", "--model", "claude-opus-5"}
	codex := []string{installed("node/node_modules/.bin/codex"), "exec", "--skip-git-repo-check", "-m", "gpt-5", "Say how the ledger is."}
	for _, row := range []struct {
		name, budget string
		line         []string
		says         string
	}{
		{"claude", "5", claude, saidPlain},
		{"claude without money", "0.001", claude, "aegis: spend limit reached"},
		{"codex", "5", codex, saidPlain},
		{"codex without money", "0.001", codex, "aegis: spend limit reached"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), runLimit)
			defer cancel()
			command := exec.CommandContext(ctx, binary, append([]string{"run", "--budget", row.budget, "--data", filepath.Join(dir, "data"),
				"--upstream", "openai=" + upstream.URL + "/v1", "--upstream", "anthropic=" + upstream.URL + "/v1", "--"}, row.line...)...)
			command.Dir = dir
			command.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8", "TERM=dumb", "PATH=" + installed("node/node_modules/.bin") + ":" + os.Getenv("PATH"),
				"OPENAI_API_KEY=" + upstreamSecret, "ANTHROPIC_API_KEY=" + upstreamSecret,
				"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1", "DISABLE_AUTOUPDATER=1"}
			out, err := command.CombinedOutput()
			if !strings.Contains(spaces.ReplaceAllString(string(out), " "), row.says) || strings.Contains(string(out), upstreamSecret) {
				t.Errorf("%v: a person does not read %q, or reads the provider's key:\n%s", err, row.says, out)
			}
		})
	}
}
