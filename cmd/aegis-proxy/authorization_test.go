package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

// guardedPolicy is actionsPolicy with an upstream that gets authorizations.
const guardedPolicy = `generation: 1
upstreams:
  - {name: sim, base_url: "%s/v1", provider: openai, cap_field: max_completion_tokens, attach_authorization: true}
models:
  - {match: "gpt-*", upstreams: [sim]}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "d09623623d80eedc090c10e98d38736eb4efa3e6a00063ccfd6cc257c884c63c"}]
    budgets: [{name: total, window: forever, limit_usd: "1"}]
`

// TestAuthorizationsAreTheSame: what an upstream got, what an agent got and
// what the command makes of the receipt afterwards are the same bytes. They
// verify by the published keys, once.
func TestAuthorizationsAreTheSame(t *testing.T) {
	var attached []byte
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attached, _ = base64.StdEncoding.DecodeString(r.Header.Get("X-Aegis-Authorization"))
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"model":"gpt-4o-mini","usage":{"prompt_tokens":3,"completion_tokens":1}}`)
	}))
	defer upstream.Close()
	h := openUnder(t, "", fmt.Sprintf(guardedPolicy, upstream.URL))

	called := h.post("/v1/chat/completions", `{"model":"gpt-4o-mini","max_completion_tokens":9,"messages":[{"role":"user","content":"hi"}]}`)
	var leave, again struct {
		Lease, Receipt string
		Authorization  json.RawMessage
	}
	const pay = `{"id":"invoice-7","action":"payment","amount_usd":"0.25","target":"acme.example","tool":"bank"}`
	acted := h.post("/aegis/v1/authorize", pay)
	h.decode(acted.body, &leave)
	h.decode(h.post("/aegis/v1/authorize", pay).body, &again)
	denied := h.post("/aegis/v1/authorize", `{"id":"invoice-8","action":"payment","amount_usd":"9"}`)
	extended := h.post("/aegis/v1/extend", fmt.Sprintf(`{"lease":%q,"total_usd":"0.5"}`, leave.Lease))
	keys, err := oxdeai.ParseKeySets(h.get(keySetPath))
	if err != nil {
		t.Fatal(err)
	}
	h.close()
	h.close = func() {}

	var used oxdeai.ConsumedIDs
	for _, c := range []struct {
		name, receipt, id, audience string
		got                         []byte
		fresh                       bool
	}{
		{"a call", called.receipt, called.receipt, "sim", attached, true},
		{"an action", leave.Receipt, leave.Lease, "actions/payment", leave.Authorization, true},
		{"a repeated action", again.Receipt, leave.Lease, "actions/payment", again.Authorization, false},
	} {
		status, made, problem := h.authorization(c.receipt)
		if status != 0 || made != string(c.got) {
			t.Errorf("%s: got\n%s\nits receipt gives (%d, %s)\n%s", c.name, c.got, status, problem, made)
		}
		auth, err := oxdeai.DecodeAuthorization(c.got)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		now := time.Now().Unix()
		result := oxdeai.VerifyAuthorization(auth, now, oxdeai.AuthorizationOptions{
			Mode: oxdeai.ModeStrict, Trust: oxdeai.Trust{KeySets: keys}, ExpectedIssuer: issuer, ExpectedAudience: c.audience,
		})
		id, _ := auth.Text("auth_id")
		if !result.OK() || id != c.id {
			t.Errorf("%s: auth_id %s, want %s; %+v", c.name, id, c.id, result)
		}
		if fresh, err := used.Consume(id, now+60, now); fresh != c.fresh || err != nil {
			t.Errorf("%s: fresh %v, want %v: %v", c.name, fresh, c.fresh, err)
		}
	}
	for name, id := range map[string]string{"a denial": denied.receipt, "an extension": extended.receipt} {
		if status, made, problem := h.authorization(id); status != 1 || made != "" || !strings.Contains(problem, "has no authorization") {
			t.Errorf("%s: %d %q %q", name, status, made, problem)
		}
	}
	h.refusesOtherKeys(called.receipt)
	const client = "import json, sys; from aegis_actions import canonical; sys.stdout.buffer.write(canonical(json.loads(sys.argv[1])))"
	if text, err := h.example("python3", "-c", client, string(leave.Authorization)); err != nil || text != string(leave.Authorization) {
		t.Errorf("the example's canonical form: %v\n%s", err, text)
	}
}

// refusesOtherKeys: with a key that did not seal the receipt there would be
// another authorization.
func (h *actionsHouse) refusesOtherKeys(receipt string) {
	h.t.Helper()
	other := h.t.TempDir()
	if err := writeSigner(other, audit.AlgEd25519); err != nil {
		h.t.Fatal(err)
	}
	status, made, problem := h.authorization(receipt, "--signing-key", other+"/"+signingKeyFile)
	if status != 1 || made != "" || !strings.Contains(problem, "is sealed with key ") {
		h.t.Errorf("another key: %d %q %q", status, made, problem)
	}
	if status, _, problem := h.authorization("00-1"); status != 1 || !strings.Contains(problem, "no receipt 00-1 is in these files") {
		h.t.Errorf("unknown receipt: %d %q", status, problem)
	}
}

// authorization runs the command.
func (h *actionsHouse) authorization(id string, flags ...string) (status int, stdout, stderr string) {
	h.t.Helper()
	var out, problem bytes.Buffer
	args := append([]string{"authorization", id, h.config.DataDir}, flags...)
	status = run(h.t.Context(), args, &out, &problem)
	return status, out.String(), problem.String()
}

// told is an answer of the proxy.
type told struct {
	receipt string
	body    []byte
}

func (h *actionsHouse) post(path, body string) told {
	h.t.Helper()
	req, err := http.NewRequest(http.MethodPost, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer aegis-script-test-key")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return told{resp.Header.Get("X-Aegis-Receipt"), text}
}

func (h *actionsHouse) get(path string) []byte {
	h.t.Helper()
	resp, err := http.Get(h.url + path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
	return text
}

func (h *actionsHouse) decode(text []byte, into any) {
	h.t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		h.t.Fatalf("%v: %s", err, text)
	}
}
