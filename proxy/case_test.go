package proxy_test

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// wireCase is what one client asks, what the upstream answers, and what must come
// of it: in bytes, and in money. A table of them is played by play.
type wireCase struct {
	name   string
	policy string // whole, by casePolicy; "": gpt
	method string // "": POST
	path   string // "": chat completions
	header map[string]string
	body   string // of the request
	times  int    // that it is sent; 0: once

	reply reply // the upstream's, to each attempt that reaches it
	want  want
}

// reply is an answer of the upstream.
type reply struct {
	status int    // 0: 200
	kind   string // content type; "": application/json, none: no such header
	header map[string]string
	body   string
	chunks bool                                     // no Content-Length
	play   func(http.ResponseWriter, *http.Request) // in place of all the above, if set
}

// none is a content type that is left out.
const none = "none"

// want says what must come of a case. What is left out is not looked at.
type want struct {
	status  int                                                 // that the client gets; 0: the upstream's
	code    string                                              // of an error that the proxy answers
	says    []string                                            // what stands in the body that the client gets
	body    *string                                             // that the client gets, byte for byte; nil: the upstream's, unless the proxy answers
	basis   string                                              // of each charge; "": nothing was sent, and no settlement is there
	charge  int64                                               // nano-USD, each time; with basis unknown at least the hold
	within  bool                                                // the charge is at most the hold
	atLeast bool                                                // the charge may be more
	sent    func(t *testing.T, header http.Header, body string) // looks at what the upstream gets
}

// Policies of cases.
var (
	gpt   = casePolicy("openai", "max_completion_tokens", `{match: "gpt-*", upstreams: [up]}`, "1")
	local = casePolicy("vllm", "max_tokens",
		`{match: "local", upstreams: [up], max_output_tokens: 4096, context_tokens: 32768, price: {input_usd_per_million: "1", output_usd_per_million: "2"}}`, "0.02")
)

// casePolicy is a policy with one upstream, the entries of its models, and a
// budget of one day.
func casePolicy(provider, capField, models, limitUSD string) string {
	return `generation: 1
upstreams:
  - {name: up, base_url: "{up}/v1", api_key_env: ` + upstreamVar + `, provider: ` + provider + `, cap_field: ` + capField + `}
models:
  - ` + strings.Join(strings.Split(models, "\n"), "\n  - ") + `
tenants:
  - name: acme
    keys: [{id: k, sha256: "{hash}"}]
    budgets: [{name: b, window: day, limit_usd: "` + limitUSD + `"}]
`
}

// upstreamWith adds members to the upstream of a policy.
func upstreamWith(policy, members string) string {
	return strings.Replace(policy, ", cap_field:", ", "+members+", cap_field:", 1)
}

// play runs each case through the proxy, with a ledger and a receipt log of its
// own.
func play(t *testing.T, cases []wireCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.play(t) })
	}
}

func (c *wireCase) play(t *testing.T) {
	if c.policy == "" {
		c.policy = gpt
	}
	up := &caseUpstream{reply: c.reply}
	w := newWorld(t, setting{upstreams: []http.Handler{up}, policy: c.policy})
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range max(1, c.times) {
		c.checkAnswer(t, w.do(c.request(t, w.front.URL)))
	}
	if c.want.basis == "" {
		if n := len(up.requests()); n > 0 {
			t.Errorf("%d requests were sent: %q", n, up.requests()[0].body)
		}
		w.nothingReserved()
		return
	}
	for _, s := range w.settled(max(1, c.times)) {
		c.checkCharge(t, s)
	}
	for _, r := range up.requests() {
		if c.want.sent != nil {
			c.want.sent(t, r.header, r.body)
		}
	}
	if _, held := w.balance(); held != 0 {
		t.Errorf("%d is held", held)
	}
}

func (c *wireCase) request(t *testing.T, front string) *http.Request {
	path := c.path
	if path == "" {
		path = chatPath
	}
	r := request(t.Context(), front+path, c.body)
	if c.method != "" {
		r.Method = c.method
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	return r
}

func (c *wireCase) checkAnswer(t *testing.T, a answer) {
	t.Helper()
	status := c.want.status
	if status == 0 {
		status = max(c.reply.status, http.StatusOK)
	}
	if c.reply.play != nil && c.want.status == 0 {
		status = a.status
	}
	if a.status != status || a.code() != c.want.code && c.want.code != "" {
		t.Errorf("%d %s, want %d %s: %s", a.status, a.code(), status, c.want.code, a.body)
	}
	for _, text := range c.want.says {
		if !strings.Contains(a.body, text) {
			t.Errorf("%s\ndoes not say %q", a.body, text)
		}
	}
	body := c.want.body
	if body == nil && c.want.basis != "" && c.reply.play == nil {
		body = &c.reply.body
	}
	if body != nil && a.body != *body {
		t.Errorf("the client got\n%q\nwant\n%q", a.body, *body)
	}
}

func (c *wireCase) checkCharge(t *testing.T, s audit.Settlement) {
	t.Helper()
	charge := c.want.charge
	if c.want.basis == audit.BasisUnknown {
		charge = max(charge, s.Hold)
	}
	if s.Basis != c.want.basis || s.Charge != charge && (!c.want.atLeast || s.Charge < charge) {
		t.Errorf("charge %d on the basis %s, want %d on %s (hold %d, lines %+v)",
			s.Charge, s.Basis, charge, c.want.basis, s.Hold, s.Lines)
	}
	if c.want.within && s.Overrun != 0 {
		t.Errorf("charge %d is above the hold of %d", s.Charge, s.Hold)
	}
}

// caseUpstream answers every request alike, and keeps what it got.
type caseUpstream struct {
	reply reply
	mu    sync.Mutex
	got   []caseRequest
}

type caseRequest struct {
	header http.Header
	body   string
}

func (u *caseUpstream) requests() []caseRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.got
}

func (u *caseUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.got = append(u.got, caseRequest{maps.Clone(r.Header), string(body)})
	u.mu.Unlock()
	u.reply.write(w, r)
}

func (p *reply) write(w http.ResponseWriter, r *http.Request) {
	if p.play != nil {
		p.play(w, r)
		return
	}
	switch p.kind {
	case none:
		w.Header()["Content-Type"] = nil
	case "":
		w.Header().Set("Content-Type", "application/json")
	default:
		w.Header().Set("Content-Type", p.kind)
	}
	for name, value := range p.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(max(p.status, http.StatusOK))
	if p.chunks {
		_ = http.NewResponseController(w).Flush()
	}
	_, _ = io.WriteString(w, p.body)
}

// Requests and answers that cases are made of.
const (
	gptChat   = `{"model":"gpt-4o-mini","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}`
	gptStream = `{"model":"gpt-4o-mini","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	localChat = `{"model":"local","max_tokens":2000,"messages":[{"role":"user","content":"hi"}]}`
)

// says is a chat completion of that text and usage.
func says(model, text, usage string) string {
	return `{"id":"c","object":"chat.completion","created":1,"model":"` + model + `","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		text + `"},"finish_reason":"stop"}],"usage":` + usage + `}`
}

// events is a stream of these events, ended by [DONE].
func events(list ...string) string {
	return "data: " + strings.Join(append(list, "[DONE]"), "\n\ndata: ") + "\n\n"
}

// Events of streams.
const (
	delta       = `{"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}`
	lastDelta   = `{"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	usage20and4 = `{"prompt_tokens":20,"completion_tokens":4,"total_tokens":24}` // 5400 nano-USD of gpt-4o-mini
)
