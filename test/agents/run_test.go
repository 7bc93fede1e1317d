package agents

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// pythonPrograms and nodePrograms are how many programs are in plain.py and plain.mjs.
const (
	pythonPrograms = 10
	nodePrograms   = 5
)

// searchMark is the prompt of a case that searches the web.
const searchMark = "Look in the web for how the ledger is."

// search has the agent of such a case search by the tool of its provider, which Claude Code
// calls in a request of its own, and Codex offers with every one.
func search(r *simulator.Request) simulator.Answer {
	has := func(text string) bool { return bytes.Contains(r.Body, []byte(text)) }
	switch {
	case has(`"type":"web_search_`), has(searchMark) && has(`"type":"web_search"`):
		return simulator.Answer{Text: saidPlain, Searches: 1}
	case !has(searchMark):
		return simulator.Answer{Text: saidPlain}
	case has(`"name":"WebSearch","input"`):
		return simulator.Answer{Text: saidAfter}
	case slices.Contains(r.Tools, "WebSearch") || has(`"tool_reference"`):
		return simulator.Answer{Call: simulator.ToolCall{Name: "WebSearch", Arguments: `{"query":"how the ledger is"}`}}
	case slices.Contains(r.Tools, "ToolSearch"):
		return simulator.Answer{Call: simulator.ToolCall{Name: "ToolSearch", Arguments: `{"query":"select:WebSearch"}`}}
	}
	return simulator.Answer{Text: saidPlain}
}

// runCase is a command line behind aegis-proxy run.
type runCase struct {
	name, budget string
	line         []string
	says         string
	times        int // that it says so, at least
}

// runCases are what a user types.
func runCases() []runCase {
	claude := []string{installed("node/node_modules/.bin/claude"), "--model", "claude-opus-5", "--allowedTools", "WebSearch", "-p"}
	codex := []string{installed("node/node_modules/.bin/codex"), "exec", "--skip-git-repo-check", "-m", "gpt-5"}
	gemini := []string{installed("node/node_modules/.bin/gemini"), "--model", "gemini-2.5-flash", "--prompt"}
	aider := []string{installed("aider", "bin", "python"), "-m", "aider", "--model", "openai/gpt-5", "--no-git", "--yes-always", "--no-check-update",
		"--no-show-release-notes", "--no-show-model-warnings", "--analytics-disable", "--map-tokens", "0", "--message"}
	ask := func(agent []string, prompt string) []string { return append(slices.Clone(agent), prompt) }
	const say, exhausted = "Say how the ledger is.", "aegis: spend limit reached"
	return []runCase{
		{"claude", "5", ask(claude, say), saidPlain, 1},
		{"claude without money", "0.001", ask(claude, say), exhausted, 1},
		{"claude that searches", "20", ask(claude, searchMark), saidAfter, 1},
		{"codex", "5", ask(codex, say), saidPlain, 1},
		{"codex inside of a shell", "5", []string{"sh", "-c", "codex exec --skip-git-repo-check -m gpt-5 '" + say + "'"}, saidPlain, 1},
		{"claude inside of a shell", "5", []string{"sh", "-c", "claude --model claude-opus-5 -p '" + say + "'"}, saidPlain, 1},
		{"codex without money", "0.001", ask(codex, say), exhausted, 1},
		{"codex that searches", "20", ask(codex, searchMark), saidPlain, 1},
		{"gemini", "5", ask(gemini, say), saidPlain, 1},
		{"gemini inside of a shell", "5", []string{"sh", "-c", "gemini --model gemini-2.5-flash --prompt '" + say + "'"}, saidPlain, 1},
		{"gemini without money", "0.001", ask(gemini, say), exhausted, 1},
		{"aider", "5", ask(aider, say), saidPlain, 1},
		{"programs in Python", "5", []string{installed("sdks", "bin", "python"), source("python", "plain.py")}, saidPlain, pythonPrograms},
		{"programs in JavaScript", "5", []string{installed("node/node_modules/.bin/node"), source("node", "plain.mjs"), installed("node")}, saidPlain, nodePrograms},
	}
}

// TestRun: the agents find the proxy by themselves, do their work, search the web, are
// stopped by the budget, and the end says what it cost. So do programs with the
// libraries, which know nothing of a proxy.
func TestRun(t *testing.T) {
	sim := simulator.New(simulator.Config{Key: upstreamSecret, Script: search})
	upstream := httptest.NewServer(sim)
	t.Cleanup(func() {
		sim.Close()
		upstream.Close()
	})
	var searches atomic.Int64
	t.Run("of", func(t *testing.T) {
		for _, c := range runCases() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, upstream.URL)
				if slices.Contains(c.line, searchMark) {
					searches.Add(1)
				}
			})
		}
	})
	if got := sim.Totals().Billed.Searches; got != searches.Load() {
		t.Errorf("%d searches were billed, %d agents were asked for one", got, searches.Load())
	}
}

func (c runCase) run(t *testing.T, upstream string) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	command := exec.CommandContext(ctx, binary, append([]string{"run", "--budget", c.budget, "--data", filepath.Join(dir, "data"),
		"--upstream", "openai=" + upstream + "/v1", "--upstream", "anthropic=" + upstream + "/v1", "--upstream", "google=" + upstream, "--"}, c.line...)...)
	job{Dir: filepath.Join(dir, "work")}.chooseKey()
	command.Dir = dir
	command.Env = []string{"HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + dir, "LANG=C.UTF-8", "TERM=dumb", "PATH=" + installed("node/node_modules/.bin") + ":" + os.Getenv("PATH"),
		"OPENAI_API_KEY=" + upstreamSecret, "ANTHROPIC_API_KEY=" + upstreamSecret, "GEMINI_API_KEY=" + upstreamSecret, "GEMINI_CLI_TRUST_WORKSPACE=true",
		"LITELLM_LOCAL_MODEL_COST_MAP=True", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1", "DISABLE_AUTOUPDATER=1"}
	out, err := command.CombinedOutput()
	if strings.Count(spaces.ReplaceAllString(string(out), " "), c.says) < c.times || strings.Contains(string(out), upstreamSecret) {
		t.Errorf("%v: a person does not read %q, or reads the provider's key:\n%s", err, c.says, out)
	}
}
