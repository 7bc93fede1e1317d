package client_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/client"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/gatetest"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	signingKey = "hmac-sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	programKey = "sk-of-the-program"
	policyKey  = "sk-of-the-policy"
	keyVar     = "AEGIS_TEST_CLIENT_KEY"
	ample      = `budgets: [{name: daily, window: forever, limit_usd: "1"}]`
)

// policyText prices the toy model at 1 nano-USD an input token and 2 an output token.
const policyText = `generation: 1
upstreams:
  - {name: sim, base_url: "{up}/v1", provider: openai, cap_field: max_completion_tokens{upstream}}
  - {name: other, base_url: "{up}/other/v1", provider: openai, cap_field: max_completion_tokens}
  - {name: claude, base_url: "{up}/v1", provider: anthropic, dialects: [{name: anthropic}]}
free_upstream: sim
models:
  - {match: "claude-*", upstreams: [claude]}
  - {match: "toy", upstreams: [sim, other], default_output_cap: 100, price: {input_usd_per_million: "0.001", output_usd_per_million: "0.002"}}
  - {match: "cheap", upstreams: [sim], price: {input_usd_per_million: "0.0001", output_usd_per_million: "0.0001"}}
  - {match: "text-*", upstreams: [sim]}
plans: {every: {denial_receipts_per_second: 1000000}}
tenants:
  - {name: acme, plan: every, {tenant}}
`

// setting is what a test's world is made of.
type setting struct {
	upstream string // members of the first upstream, each with a comma before it
	tenant   string // members of the tenant; "": an ample budget
	handler  http.Handler
}

// world is a program with a gate of its own, and an upstream.
type world struct {
	t      testing.TB
	dir    string
	policy *policy.Policy
	gate   *gate.Gate
	ledger *embedded.Ledger
	up     *httptest.Server
	base   *http.Transport
	client *client.Transport
}

func newWorld(t testing.TB, s setting) *world {
	t.Helper()
	t.Setenv(keyVar, policyKey)
	w := &world{t: t, dir: t.TempDir(), up: httptest.NewServer(s.handler), base: &http.Transport{}}
	t.Cleanup(func() { w.base.CloseIdleConnections(); w.up.Close() })
	if s.tenant == "" {
		s.tenant = ample
	}
	text := strings.NewReplacer("{up}", w.up.URL, "{upstream}", s.upstream, "{tenant}", s.tenant).Replace(policyText)
	var err error
	if w.policy, err = policy.Parse("policy.yaml", []byte(text)); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.client = &client.Transport{Gate: w.gate, Tenant: "acme", Base: w.base}
	return w
}

func (w *world) open() {
	w.t.Helper()
	signer, err := audit.ParseSigner([]byte(signingKey))
	w.must(err)
	log, err := audit.Open(audit.Config{Dir: filepath.Join(w.dir, "receipts"), Signer: signer, Sync: audit.SyncNever})
	w.must(err)
	w.ledger, err = embedded.Open(embedded.Config{Dir: filepath.Join(w.dir, "ledger")})
	w.must(err)
	w.gate, err = gate.Open(context.Background(), gate.Config{Policy: w.policy, Ledger: w.ledger, Log: log})
	w.must(err)
	w.t.Cleanup(w.close)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// request is what a program sends, to a path of its upstream.
func (w *world) request(ctx context.Context, path, body string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.up.URL+path, strings.NewReader(body))
	w.must(err)
	r.Header.Set("Authorization", "Bearer "+programKey)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// do sends a request and reads the whole answer.
func (w *world) do(r *http.Request) (*http.Response, string) {
	w.t.Helper()
	resp, err := (&http.Client{Transport: w.client}).Do(r)
	w.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp, string(body)
}

// close waits for what runs, and for its receipts.
func (w *world) close() {
	w.t.Helper()
	w.must(w.gate.Close())
}

// read returns the receipts of one kind. Close before.
func read[B audit.Body](w *world) []B {
	w.t.Helper()
	return gatetest.Receipts[B](w.t, filepath.Join(w.dir, "receipts"))
}

// mustReplay holds the receipts against a replay.
func (w *world) mustReplay() {
	w.t.Helper()
	if report := gatetest.Replay(w.t, filepath.Join(w.dir, "receipts"), w.policy); !report.OK() {
		w.t.Errorf("honest receipts do not follow: %v, unchecked %v", report.Findings, report.Unchecked)
	}
}

// mustHaveEnded closes the gate: the one call was granted and ended once, on that basis,
// and nothing is held. It returns the settlement.
func (w *world) mustHaveEnded(basis string) audit.Settlement {
	w.t.Helper()
	w.close()
	ends := read[audit.Settlement](w)
	if len(ends) != 1 || ends[0].Basis != basis {
		w.t.Fatalf("ended as %+v, want once and %s", ends, basis)
	}
	if spent, held := w.balance(); spent != ends[0].Charge || held != 0 {
		w.t.Errorf("spent %d, held %d; charged %d", spent, held, ends[0].Charge)
	}
	return ends[0]
}

// balance is what acme has spent and holds. Close before.
func (w *world) balance() (spent, held int64) {
	w.t.Helper()
	ledger, err := embedded.Open(embedded.Config{Dir: filepath.Join(w.dir, "ledger")})
	w.must(err)
	defer func() { w.must(ledger.Close()) }()
	return gatetest.Balance(w.t, ledger, w.policy)
}

// proxyKey is a tenant's key at the proxy that these tests compare with.
const proxyKey = "aegis-key-of-these-tests"

var proxyKeyHash = fmt.Sprintf("%x", sha256.Sum256([]byte(proxyKey)))
