package agents

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// binary is the proxy under test.
var binary string

func TestMain(m *testing.M) {
	code, done, err := isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !done {
		code = testMain(m)
	}
	os.Exit(code)
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "aegis-agents")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "aegis-proxy")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/aegis-proxy").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

const upstreamSecret = "sk-upstream-secret"

// startLimit bounds how long a proxy may take until it is ready.
const startLimit = 20 * time.Second

// world is a provider, a proxy with a budget for each case, one whose ledger is down, and
// the front that counts what the clients send.
type world struct {
	sim      *simulator.Server
	upstream *httptest.Server
	front    *front
	dir      string
	keys     map[string]string // by tenant
	proxy    *server
	broken   *server // its ledger is not there
	blocked  blockers
}

func newWorld(t *testing.T) *world {
	w := &world{dir: t.TempDir(), keys: map[string]string{}, front: newFront()}
	w.sim = simulator.New(simulator.Config{Key: upstreamSecret, Script: w.script, Models: []string{"claude-opus-5", "gpt-5", "gpt-5.4"}})
	w.upstream = httptest.NewServer(w.sim)
	t.Cleanup(func() {
		w.front.server.Close()
		w.sim.Close()
		w.upstream.Close()
	})
	policyFile := filepath.Join(w.dir, "policy.yaml")
	if err := os.WriteFile(policyFile, []byte(w.policy()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.proxy = w.serve(t, policyFile, "proxy")
	w.broken = w.serve(t, policyFile, "broken", "--ledger", "redis://127.0.0.1:1")
	return w
}

// policyText is the part of the policy that all tenants share: the provider in both dialects,
// and a model of which each token costs a dollar, to hold budgets with.
const policyText = `generation: 1
upstreams:
  - {name: openai, base_url: "%[1]s/v1", api_key_env: SIM_KEY, provider: openai, cap_field: max_completion_tokens, stream_usage: true}
  - {name: claude, base_url: "%[1]s/v1", api_key_env: SIM_KEY, key_header: x-api-key, provider: anthropic, dialects: [{name: anthropic}]}
  - {name: google, base_url: "%[1]s", api_key_env: SIM_KEY, key_header: x-goog-api-key, provider: google, dialects: [{name: gemini}]}
models:
  - {match: "gemini-*", upstreams: [google], default_output_cap: 32000}
  - {match: "claude-*", upstreams: [claude], default_output_cap: 32000}
  - {match: "blocker", upstreams: [openai], default_output_cap: 100, max_output_tokens: 1000, context_tokens: 2000, price: {input: "0", output: "1000000"}}
  - {match: "*", upstreams: [openai], default_output_cap: 32000}
tenants:
`

// blockerUSD is the budget of a tenant of the case "held", and what one call of the model
// blocker with as many tokens holds of it.
const blockerUSD = 100

func (w *world) policy() string {
	var out strings.Builder
	fmt.Fprintf(&out, policyText, w.upstream.URL)
	add := func(name, rules string) {
		secret, hash := policy.NewSecret()
		w.keys[name] = secret
		fmt.Fprintf(&out, "  - name: %s\n    keys: [{id: %s, sha256: \"%s\"}]\n    on_kill: cut\n    hosted_tools: [{kind: web_search, when_offered: strip}]\n%s", name, name, hex.EncodeToString(hash[:]), rules)
	}
	budget := func(usd string) string {
		return fmt.Sprintf("    budgets: [{name: monthly, window: month, limit_usd: \"%s\"}]\n", usd)
	}
	add("ample", budget("100000"))
	add("spent", budget("0.000001"))
	add("refused", budget("100000")+"    models: {allow: [\"other-*\"]}\n")
	for _, c := range clients {
		add("held-"+c.Name, budget(fmt.Sprint(blockerUSD)))
		add("waiting-"+c.Name, budget(fmt.Sprint(blockerUSD))+"    when_held: wait\n    wait_limit: 60s\n")
	}
	return out.String()
}

// server is a running proxy.
type server struct {
	url, admin string

	mu   sync.Mutex
	logs bytes.Buffer
	done chan struct{}
}

// serve starts a proxy and waits until it says where it listens.
func (w *world) serve(t *testing.T, policyFile, name string, args ...string) *server {
	t.Helper()
	data := filepath.Join(w.dir, name)
	if out, err := exec.Command(binary, "init", "--policy", data+".init.yaml", "--data", data).CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	s := &server{done: make(chan struct{})}
	command := exec.Command(binary, append([]string{"serve", "--policy", policyFile, "--data", data, "--drain-limit", "1s",
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	command.Env = append(os.Environ(), "SIM_KEY="+upstreamSecret)
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan [2]string, 1)
	go s.read(command, stderr, ready)
	t.Cleanup(func() {
		command.Process.Kill()
		<-s.done
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, s.log())
		}
	})
	select {
	case addresses := <-ready:
		s.url, s.admin = "http://"+addresses[0], "http://"+addresses[1]
	case <-s.done:
		t.Fatalf("the proxy did not start:\n%s", s.log())
	case <-time.After(startLimit):
		t.Fatalf("the proxy was not ready in time:\n%s", s.log())
	}
	return s
}

func (s *server) read(command *exec.Cmd, stderr io.Reader, ready chan<- [2]string) {
	defer close(s.done)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s.mu.Lock()
		s.logs.Write(append(lines.Bytes(), '\n'))
		s.mu.Unlock()
		var line struct{ Msg, Listen, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Listen != "" {
			select {
			case ready <- [2]string{line.Listen, line.Admin}:
			default:
			}
		}
	}
	command.Wait()
}

func (s *server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs.String()
}

// kill throws the kill switch of a run.
func (w *world) kill(tenant, run string) error {
	out, err := exec.Command(binary, "kill", "--admin", w.proxy.admin, "--tenant", tenant, "--run", run, "--reason", "test").CombinedOutput()
	if err != nil {
		return fmt.Errorf("kill: %w\n%s", err, out)
	}
	return nil
}

// blocker is a call that holds a tenant's budget until it is released.
type blocker struct{ begun, released chan struct{} }

// blockers are the calls under way, by tenant.
type blockers struct {
	mu    sync.Mutex
	calls map[string]blocker
}

func (b *blockers) open(tenant string) blocker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls == nil {
		b.calls = map[string]blocker{}
	}
	b.calls[tenant] = blocker{make(chan struct{}), make(chan struct{})}
	return b.calls[tenant]
}

// hold waits in the provider until the call of that tenant is released.
func (b *blockers) hold(tenant string) {
	b.mu.Lock()
	call := b.calls[tenant]
	b.mu.Unlock()
	close(call.begun)
	<-call.released
}

// block holds all of a tenant's budget until release is called, which waits for its end.
func (w *world) block(t *testing.T, tenant string) (release func()) {
	t.Helper()
	call := w.blocked.open(tenant)
	body := fmt.Sprintf(`{"model":"blocker","max_completion_tokens":%d,"messages":[{"role":"user","content":"block"}],"user":%q}`, blockerUSD, tenant)
	request, err := http.NewRequest(http.MethodPost, w.proxy.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+w.keys[tenant])
	request.Header.Set("Content-Type", "application/json")
	ended := make(chan error, 1)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				said, _ := io.ReadAll(answer.Body)
				err = fmt.Errorf("the call that holds the budget was answered %s: %s", answer.Status, said)
			}
		}
		ended <- err
	}()
	select {
	case <-call.begun:
	case err := <-ended:
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		close(call.released)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
