package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a provider on loopback and the program's own policy, led to it.
type stage struct {
	t    *testing.T
	sim  *simulator.Server
	args []string
	dir  string
}

func newStage(t *testing.T, limit string) *stage {
	t.Setenv("OPENAI_API_KEY", "sk-test")
	s := &stage{t: t, dir: t.TempDir(), sim: simulator.New(simulator.Config{
		Key: "sk-test", Script: simulator.Always(simulator.Answer{OutputTokens: 40}),
	})}
	server := httptest.NewServer(s.sim)
	t.Cleanup(func() { s.sim.Close(); server.Close() })
	text, err := os.ReadFile("policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("https://api.openai.com"), []byte(server.URL), 1)
	text = bytes.Replace(text, []byte(`limit_usd: "1"`), []byte(`limit_usd: "`+limit+`"`), 1)
	path := filepath.Join(s.dir, "policy.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{"-policy", path, "-data", filepath.Join(s.dir, "data")}
	return s
}

// run runs the program once, with these arguments too.
func (s *stage) run(more ...string) (string, error) {
	var out strings.Builder
	err := run(s.t.Context(), &out, append(s.args, more...))
	return out.String(), err
}

// billed is what the provider's books say, at gpt-4o-mini's prices.
func (s *stage) billed() string {
	total := s.sim.Totals().Billed
	return policy.USD(total.Prompt*150 + total.Completion*600)
}

var left = regexp.MustCompile(`cost (\S+ USD), receipt \S+\nbudget "daily" has (\S+ USD) of 1.00 USD left\n$`)

// TestQuestionsCostWhatTheProviderBilled: streamed or not, over restarts, with
// receipts that verify.
func TestQuestionsCostWhatTheProviderBilled(t *testing.T) {
	s := newStage(t, "1")
	for i, flags := range [][]string{{"What is a lease?"}, {"-stream", "And a hold?"}} {
		out, err := s.run(flags...)
		if err != nil {
			t.Fatal(err)
		}
		match := left.FindStringSubmatch(out)
		if match == nil || len(out) < len(match[0])+40 {
			t.Fatalf("printed %q", out)
		}
		if got := s.billed(); i == 0 && got != match[1] {
			t.Errorf("cost %s, the provider billed %s", match[1], got)
		}
	}
	s.verify()
}

// TestQuestionThatDoesNotFitIsNotAsked: and the refusal says what would.
func TestQuestionThatDoesNotFitIsNotAsked(t *testing.T) {
	s := newStage(t, "0.000001")
	_, err := s.run("What is a lease?")
	refusal, ok := errors.AsType[*gate.Refusal](err)
	if !ok || refusal.Budget != "daily" || refusal.Receipt == "" {
		t.Errorf("got %v", err)
	}
	if calls := s.sim.Calls(); len(calls) != 0 {
		t.Errorf("the provider got %d calls", len(calls))
	}
	s.verify()
}

// TestAnswerIsCappedAtWhatFits: the policy clamps.
func TestAnswerIsCappedAtWhatFits(t *testing.T) {
	s := newStage(t, "0.00003")
	if _, err := s.run("What is a lease?"); err != nil {
		t.Fatal(err)
	}
	var body struct {
		Cap int64 `json:"max_completion_tokens"`
	}
	if err := json.Unmarshal(s.sim.Calls()[0].Body, &body); err != nil || body.Cap <= 0 || body.Cap >= 50 {
		t.Errorf("asked for %d tokens: %v", body.Cap, err)
	}
}

// TestCommandsOfTheCommentWork: right after the program's first run, and for
// one whose keys file is gone after the next.
func TestCommandsOfTheCommentWork(t *testing.T) {
	s := newStage(t, "1")
	if _, err := s.run("What is a lease?"); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "aegis-proxy")
	s.exec("go", "build", "-o", program, "../../cmd/aegis-proxy")
	data := filepath.Join(s.dir, "data")
	s.exec(program, "verify", data)
	s.exec(program, "replay", data, "--policy", filepath.Join(s.dir, "policy.yaml"))
	if err := os.Remove(filepath.Join(data, "keys.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.run("And a hold?"); err != nil {
		t.Fatal(err)
	}
	s.exec(program, "verify", data)
}

func (s *stage) exec(name string, args ...string) {
	s.t.Helper()
	if out, err := exec.CommandContext(s.t.Context(), name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func (s *stage) verify() {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "keys.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	keys, err := audit.ParseKeys(text)
	if err != nil {
		s.t.Fatal(err)
	}
	sources, err := audit.Files(filepath.Join(s.dir, "data", "receipts"))
	if err != nil {
		s.t.Fatal(err)
	}
	report, err := audit.Verify(s.t.Context(), sources, audit.VerifyOptions{Keys: keys})
	if err != nil || !report.OK() || report.GapCount != 0 {
		s.t.Error(fmt.Sprint("receipts: ", report.Findings, report.Gaps, err))
	}
}
