package proxy_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/gatetest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// signingKey signs nothing outside this package's tests.
	signingKey   = "hmac-sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	tenantKey    = "aegis-tenant-key"
	upstreamKey  = "sk-upstream-key"
	upstreamVar  = "AEGIS_TEST_UPSTREAM_KEY"
	ampleBudget  = `budgets: [{name: daily, window: forever, limit_usd: "1"}]`
	settleLimit  = 10 * time.Second
	defaultModel = "toy"
)

// policyText prices the toy model at 1 nano-USD an input token, 2 an output token and
// 1,000 a search, so that charges can be read off. A judge's cost 10 and 20.
const policyText = `generation: 1
upstreams:
%smodels:
  - {match: "toy", upstreams: [%s], default_output_cap: 100, price: {input: "0.001", output: "0.002", searches: "0.001"}}
  - {match: "judge", upstreams: [up1], price: {input: "0.01", output: "0.02"}}
  - {match: "*", upstreams: [%s]}
plans: {every: {denial_receipts_per_second: 1000000}} # a receipt for every denial
tenants:
  - name: acme
    plan: every
    keys: [{id: acme-1, sha256: "%s", trusted: true}]
    %s
`

// setting is what a test's world is made of.
type setting struct {
	upstreams []http.Handler // primary first
	upstream  string         // members of every upstream, each with a comma before it
	provider  string         // "": openai
	tenant    string         // members of the tenant; "": an ample budget
	bodyLimit int64
	memory    int64                           // for bodies
	connState func(net.Conn, http.ConnState)  // told of connections to upstreams
	secure    bool                            // upstreams speak TLS
	listen    func(net.Listener) net.Listener // wraps those of upstreams
	authority *gate.Authority
	dialects  providers.Registry // nil: all
	// policy is a whole one in place of policyText, with {up} for the address of
	// the first upstream and {hash} for the hash of the tenant's key.
	policy string
}

// world is a proxy in front of upstreams of the test's making, with a real
// ledger and a real receipt log behind it.
type world struct {
	t      testing.TB
	dir    string
	policy *policy.Policy
	ledger *embedded.Ledger
	log    *audit.Log
	gate   *gate.Gate
	proxy  *proxy.Proxy
	front  *httptest.Server
	client *http.Client

	upstreams []*httptest.Server
}

func newWorld(t testing.TB, s setting) *world {
	t.Helper()
	t.Setenv(upstreamVar, upstreamKey)
	w := &world{t: t, dir: t.TempDir()}
	w.policy = w.parse(s)
	rules, err := gate.NewRules(w.policy)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.ParseSigner([]byte(signingKey))
	if err != nil {
		t.Fatal(err)
	}
	if w.log, err = audit.Open(audit.Config{Dir: w.dir + "/receipts", Signer: signer, Sync: audit.SyncNever}); err != nil {
		t.Fatal(err)
	}
	if w.ledger, err = embedded.Open(embedded.Config{Dir: w.dir + "/ledger"}); err != nil {
		t.Fatal(err)
	}
	if err := w.ledger.Provision(context.Background(), "acme"); err != nil {
		t.Fatal(err)
	}
	outbox, err := gate.OpenOutbox(w.dir+"/outbox", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.gate = gate.New(gate.Config{Ledger: w.ledger, Log: w.log, Outbox: outbox, Authority: s.authority})
	if s.dialects == nil {
		s.dialects = dialects.All()
	}
	w.proxy = proxy.New(proxy.Config{
		Gate: w.gate, Dialects: s.dialects, Rules: func() *gate.Rules { return rules }, BodyLimit: s.bodyLimit, BodyMemory: s.memory,
	})
	if s.secure {
		w.trust()
	}
	w.front = httptest.NewServer(w.proxy)
	w.client = newClient(t)
	t.Cleanup(w.close)
	return w
}

// parse starts the upstreams and writes the policy that leads to them.
func (w *world) parse(s setting) *policy.Policy {
	w.t.Helper()
	if s.tenant == "" {
		s.tenant = ampleBudget
	}
	if s.provider == "" {
		s.provider = "openai"
	}
	var list, names []string
	for i, h := range s.upstreams {
		server := httptest.NewUnstartedServer(h)
		server.Config.ConnState = s.connState
		if s.listen != nil {
			server.Listener = s.listen(server.Listener)
		}
		if s.secure {
			server.StartTLS()
		} else {
			server.Start()
		}
		w.t.Cleanup(server.Close)
		w.upstreams = append(w.upstreams, server)
		name := fmt.Sprintf("up%d", i+1)
		names = append(names, name)
		list = append(list, fmt.Sprintf("  - {name: %s, base_url: %q, api_key_env: %s, provider: %s, cap_field: max_completion_tokens%s}\n",
			name, server.URL+"/v1", upstreamVar, s.provider, s.upstream))
	}
	hash := sha256.Sum256([]byte(tenantKey))
	all := strings.Join(names, ", ")
	text := fmt.Sprintf(policyText, strings.Join(list, ""), all, all, hex.EncodeToString(hash[:]), strings.ReplaceAll(s.tenant, "\n", "\n    "))
	if s.policy != "" {
		text = strings.NewReplacer("{up}", w.upstreams[0].URL, "{up2}", w.upstreams[len(w.upstreams)-1].URL, "{hash}", hex.EncodeToString(hash[:])).Replace(s.policy)
	}
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// trust has the proxy take the certificates of the upstreams, which nobody signed.
func (w *world) trust() {
	for i, server := range w.upstreams {
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		w.proxy.Trust(w.policy.Upstreams[fmt.Sprintf("up%d", i+1)], roots)
	}
}

func (w *world) close() {
	w.front.Close()
	w.proxy.Close()
	if err := errors.Join(w.log.Close(), w.ledger.Close()); err != nil {
		w.t.Error(err)
	}
}

func newClient(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// simulated is a world around a simulated provider.
func simulated(t testing.TB, config simulator.Config, s setting) (*world, *simulator.Server) {
	t.Helper()
	config.Key = upstreamKey
	sim := simulator.New(config)
	s.upstreams = append([]http.Handler{sim}, s.upstreams...)
	w := newWorld(t, s)
	t.Cleanup(sim.Close)
	return w, sim
}

const (
	chatPath = "/v1/chat/completions"
	hello    = `{"model":"toy","max_completion_tokens":20,"messages":[{"role":"user","content":"hello"}]}`
	stream   = `{"model":"toy","max_completion_tokens":20,"stream":true,"messages":[{"role":"user","content":"hello"}]}`
)

// request makes one with the tenant's key.
func request(ctx context.Context, url, body string, headers ...string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+tenantKey)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the call, or of reading the body
}

func (a answer) code() string {
	var body struct{ Error struct{ Code string } }
	_ = json.Unmarshal([]byte(a.body), &body)
	return body.Error.Code
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	resp, err := w.client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

// post sends a body to a path of the proxy.
func (w *world) post(path, body string, headers ...string) answer {
	w.t.Helper()
	return w.do(request(context.Background(), w.front.URL+path, body, headers...))
}

func read[B audit.Body](w *world) []B {
	w.t.Helper()
	return gatetest.Receipts[B](w.t, filepath.Join(w.dir, "receipts"))
}

// settled waits until so many calls were settled, and returns their receipts.
func (w *world) settled(n int) []audit.Settlement {
	w.t.Helper()
	for end := time.Now().Add(settleLimit); ; time.Sleep(2 * time.Millisecond) {
		list := read[audit.Settlement](w)
		if len(list) >= n {
			return list
		}
		if time.Now().After(end) {
			w.t.Fatalf("%d settlements, want %d", len(list), n)
		}
	}
}

// mustReplay checks that the receipts follow from the policy. Those of the tenant's
// provisioning are not there, since nobody sweeps.
func (w *world) mustReplay() {
	w.t.Helper()
	report := gatetest.Replay(w.t, filepath.Join(w.dir, "receipts"), w.policy)
	for what, n := range report.Unchecked {
		w.t.Errorf("%d receipts are not checked: %s", n, what)
	}
	for _, f := range report.Findings {
		if f.Fault != gate.EventGap {
			w.t.Errorf("it does not follow: %v", f)
		}
	}
}

// balance is what acme has spent and holds.
func (w *world) balance() (spent, held int64) {
	w.t.Helper()
	return gatetest.Balance(w.t, w.ledger, w.policy)
}

func (w *world) mustBalance(spent, held int64) {
	w.t.Helper()
	if s, h := w.balance(); s != spent || h != held {
		w.t.Errorf("spent %d, held %d; want spent %d, held %d", s, h, spent, held)
	}
}

// nothingReserved checks that no request has got as far as the ledger.
func (w *world) nothingReserved() {
	w.t.Helper()
	w.mustBalance(0, 0)
	for _, d := range read[audit.Decision](w) {
		if d.Verdict == audit.Allow {
			w.t.Errorf("a request was admitted: %+v", d.Facts)
		}
	}
}
