// Package e2e runs the real binary against real HTTP, a real Redis server and
// a simulated provider whose own books are the truth.
package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// binary is the proxy under test, built once with the race detector.
var binary string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "aegis-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "aegis-proxy")
	build := exec.Command("go", "build", "-race", "-o", binary, "../../cmd/aegis-proxy")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// upstreamSecret is the key of the simulated provider. It must never be seen
// on the client's side.
const upstreamSecret = "sk-upstream-secret"

// startLimit bounds how long a proxy may take until it is ready.
const startLimit = 20 * time.Second

// stopLimit bounds how long one may take to end.
const stopLimit = 45 * time.Second

// world is a simulated provider with a policy that leads to it.
type world struct {
	t        testing.TB
	sim      *simulator.Server
	upstream *httptest.Server
	dir      string
	policy   string // path
	layout   string // of the policy; see policyText
	secret   string // the key of tenant acme
	hash     string

	program     string   // to run as the proxy; "": binary
	environment []string // of proxies, beside the test's own
}

// newWorld starts a provider and writes a policy whose tenant acme has the
// given rules, as YAML members.
func newWorld(t testing.TB, config simulator.Config, rules string) *world {
	t.Helper()
	config.Key = upstreamSecret
	w := &world{t: t, sim: simulator.New(config), dir: t.TempDir(), layout: policyText}
	w.upstream = httptest.NewServer(w.sim)
	t.Cleanup(func() {
		w.sim.Close()
		w.upstream.Close()
	})
	secret, hash := policy.NewSecret()
	w.secret, w.hash = secret, hex.EncodeToString(hash[:])
	w.policy = filepath.Join(w.dir, "policy.yaml")
	w.writePolicy(1, rules)
	return w
}

// policyText is a policy with one upstream and one tenant, made from its
// generation, the upstream's URL, the key's hash and the tenant's rules.
const policyText = `generation: %d
upstreams:
  - name: sim
    base_url: %s/v1
    api_key_env: SIM_KEY
    provider: openai
    cap_field: max_completion_tokens
models:
  - match: "*"
    upstreams: [sim]
    default_output_cap: 100
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "%s", trusted: true}]
%s
`

func (w *world) writePolicy(generation int, rules string) {
	w.t.Helper()
	w.writeFile(w.policy, w.policyText(generation, rules))
}

func (w *world) policyText(generation int, rules string) string {
	indented := "    " + strings.ReplaceAll(strings.TrimSpace(rules), "\n", "\n    ")
	return fmt.Sprintf(w.layout, generation, w.upstream.URL, w.hash, indented)
}

func (w *world) writeFile(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// replica is one running proxy.
type replica struct {
	t     testing.TB
	cmd   *exec.Cmd
	data  string
	url   string
	admin string

	mu   sync.Mutex
	logs bytes.Buffer
	done chan struct{}
}

// start runs a proxy with a data directory of that name and waits until it is
// ready.
func (w *world) start(name string, args ...string) *replica {
	w.t.Helper()
	r, err := w.tryStart(name, args...)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, r.log())
	}
	return r
}

// tryStart is start for a proxy that may refuse.
func (w *world) tryStart(name string, args ...string) (*replica, error) {
	w.t.Helper()
	r := &replica{t: w.t, data: filepath.Join(w.dir, name), done: make(chan struct{})}
	if _, err := os.Stat(r.data); errors.Is(err, os.ErrNotExist) {
		w.init(r.data)
	}
	r.cmd = exec.Command(cmp.Or(w.program, binary), append([]string{"serve", "--policy", w.policy, "--data", r.data,
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	r.cmd.Env = append(append(os.Environ(), "SIM_KEY="+upstreamSecret), w.environment...)
	w.t.Cleanup(r.attachLog)
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ready := make(chan [2]string, 1)
	go r.read(stderr, ready)
	w.t.Cleanup(r.kill)
	select {
	case addresses := <-ready:
		r.url, r.admin = "http://"+addresses[0], "http://"+addresses[1]
		return r, nil
	case <-r.done:
		return r, errors.New("proxy did not start")
	case <-time.After(startLimit):
		return r, errors.New("proxy was not ready in time")
	}
}

// init makes a data directory with a signing key.
func (w *world) init(dir string) {
	w.t.Helper()
	out, err := exec.Command(binary, "init", "--policy", filepath.Join(dir+".init.yaml"), "--data", dir).CombinedOutput()
	if err != nil {
		w.t.Fatalf("init: %v\n%s", err, out)
	}
}

func (r *replica) read(stderr io.Reader, ready chan<- [2]string) {
	defer close(r.done)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r.mu.Lock()
		r.logs.Write(lines.Bytes())
		r.logs.WriteByte('\n')
		r.mu.Unlock()
		var line struct{ Msg, Listen, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
			ready <- [2]string{line.Listen, line.Admin}
		}
	}
	r.cmd.Wait()
}

func (r *replica) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logs.String()
}

// attachLog shows what the proxy said if the test has failed.
func (r *replica) attachLog() {
	if r.t.Failed() {
		r.t.Logf("log of %s:\n%s", filepath.Base(r.data), r.log())
	}
}

// logged reports whether the proxy has said that.
func (r *replica) logged(text string) bool { return strings.Contains(r.log(), text) }

// kill ends the proxy as a power failure would.
func (r *replica) kill() { r.signal(syscall.SIGKILL) }

// stop ends the proxy as an operator would, and reports its exit code.
func (r *replica) stop() int {
	r.signal(syscall.SIGTERM)
	return r.cmd.ProcessState.ExitCode()
}

func (r *replica) signal(s syscall.Signal) {
	r.cmd.Process.Signal(s)
	select {
	case <-r.done:
	case <-time.After(stopLimit):
		r.t.Errorf("the proxy did not end within %v of %v", stopLimit, s)
		r.cmd.Process.Kill()
		<-r.done
	}
	if strings.Contains(r.log(), "DATA RACE") {
		r.t.Errorf("the proxy has a data race:\n%s", r.log())
	}
}

// aegis runs a command of the binary and returns what it printed.
func aegis(t testing.TB, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	return string(out), err
}

// request is one call of a client.
type request struct {
	model   string
	prompt  string
	cap     int64
	stream  bool
	headers map[string]string
	path    string // "": /v1/chat/completions
	body    string // in place of one made of the fields above
}

func (q request) json() string {
	if q.body != "" {
		return q.body
	}
	model, prompt := q.model, q.prompt
	if model == "" {
		model = "gpt-4o-mini"
	}
	if prompt == "" {
		prompt = "Say hello."
	}
	body := map[string]any{
		"model":    model,
		"messages": []map[string]string{{"role": "user", "content": prompt}},
	}
	if q.cap > 0 {
		body["max_completion_tokens"] = q.cap
	}
	if q.stream {
		body["stream"] = true
	}
	text, _ := json.Marshal(body)
	return string(text)
}

// response is what a client got.
type response struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// code is the error code in the body.
func (r response) code() string {
	var body struct{ Error struct{ Code string } }
	json.Unmarshal([]byte(r.body), &body)
	return body.Error.Code
}

// callLimit bounds one call of a client, its whole answer included, and one
// command of the binary.
const callLimit = 2 * time.Minute

// newClient has connections of its own, which are closed at the test's end. Who
// makes many of them closes each one's when it is done: a connection has two
// goroutines and their buffers, which cost many times as much under the race
// detector, and that bears 8,128 goroutines.
func newClient(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: callLimit}
}

// send makes a call with acme's key.
func (w *world) send(ctx context.Context, client *http.Client, r *replica, q request) (response, error) {
	path := q.path
	if path == "" {
		path = "/v1/chat/completions"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path, strings.NewReader(q.json()))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.secret)
	for name, value := range q.headers {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(body), err}, nil
}

// must is send where the client must get an answer.
func (w *world) must(r *replica, q request) response {
	w.t.Helper()
	resp, err := w.send(context.Background(), newClient(w.t), r, q)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// exactPrompt bills what the proxy's exact bound is, so that a request whose
// output fills its cap costs its bound.
func exactPrompt(r *simulator.Request) int64 {
	parsed, err := openai.Parse(openai.ChatCompletions, r.Body)
	if err != nil {
		return 0
	}
	total, err := parsed.Overhead(parsed.Model, 0)
	if err != nil {
		return 0
	}
	encoding, _ := tokenizer.ForModel(parsed.Model)
	for _, text := range parsed.Texts {
		n, _ := encoding.Count(text)
		total += n
	}
	return total
}

// balance is one budget as the operator sees it.
type balance struct {
	Budget string `json:"budget"`
	Spent  string `json:"spent_usd"`
	Held   string `json:"held_usd"`
	Limit  string `json:"limit_usd"`
}

// balances asks a proxy for acme's budgets.
func (r *replica) balances() map[string]balance {
	r.t.Helper()
	byName, err := r.tryBalances()
	if err != nil {
		r.t.Fatal(err)
	}
	return byName
}

// tryBalances is balances for a proxy that may not be able to tell.
func (r *replica) tryBalances() (map[string]balance, error) {
	status, body, err := r.ask("/admin/v1/budgets?tenant=acme")
	if err != nil {
		return nil, err
	}
	var view struct{ Budgets []balance }
	if err := json.Unmarshal([]byte(body), &view); err != nil {
		return nil, fmt.Errorf("%d %s: %w", status, body, err)
	}
	byName := map[string]balance{}
	for _, b := range view.Budgets {
		byName[b.Budget] = b
	}
	return byName, nil
}

// ask sends a GET to the operators' side.
func (r *replica) ask(path string) (status int, body string, err error) {
	client := http.Client{Timeout: askLimit}
	defer client.CloseIdleConnections()
	resp, err := client.Get(r.admin + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// askLimit bounds one question to the operators' side.
const askLimit = 10 * time.Second

// awaitReadiness waits until /readyz says so: what it tells was seen a moment ago.
func awaitReadiness(t testing.TB, r *replica, want int) {
	t.Helper()
	eventually(t, restLimit, func() error {
		if status, why := r.ready(); status != want {
			return fmt.Errorf("/readyz says %d %s, want %d", status, why, want)
		}
		return nil
	})
}

// ready reports what /readyz says.
func (r *replica) ready() (status int, why string) {
	status, why, err := r.ask("/readyz")
	if err != nil {
		return 0, err.Error()
	}
	return status, why
}

// metric sums the samples of a metric whose labels contain a text.
func (r *replica) metric(name, labels string) float64 {
	r.t.Helper()
	_, body, err := r.ask("/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, name+"{") || !strings.Contains(line, labels) {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			r.t.Fatal(err)
		}
		sum += value
	}
	return sum
}

// pollEvery is the pause between two looks at what a test waits for.
const pollEvery = 50 * time.Millisecond

// eventually waits until look finds nothing to complain of.
func eventually(t testing.TB, limit time.Duration, look func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(pollEvery) {
		if err = look(); err == nil {
			return
		}
	}
	t.Fatalf("still after %v: %v", limit, err)
}

// receipts reads what a replica has written. Of one that runs the last line may be there in part, until the
// whole of it is written.
func (r *replica) receipts() (list []audit.Receipt) {
	r.t.Helper()
	eventually(r.t, restLimit, func() (err error) {
		list, err = r.readReceipts()
		return err
	})
	return list
}

func (r *replica) readReceipts() (list []audit.Receipt, err error) {
	sources, err := audit.Files(filepath.Join(r.data, "receipts"))
	if err != nil {
		return nil, err
	}
	for receipt, err := range audit.Read(sources...) {
		if err != nil {
			return nil, err
		}
		list = append(list, receipt)
	}
	return list, nil
}
