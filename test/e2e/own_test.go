package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/gatetest"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// ownRules put an upstream before the others that takes the client's own credential, in both
// dialects, with the one that has a key behind it.
var ownRules = strings.NewReplacer(
	"models:\n", "  - {name: own, base_url: %[2]s/v1, provider: openai, credential: client, dialects: [{name: openai, cap_field: max_completion_tokens}, {name: anthropic}]}\nmodels:\n",
	"upstreams: [sim]", "upstreams: [own, sim]",
	"generation: %d", "generation: %[1]d", "base_url: %s", "base_url: %[2]s", `"%s"`, `"%[3]s"`, "\n%s", "\n%[4]s",
).Replace(policyText)

// customer is a tenant whose client pays by itself.
type customer struct{ name, key, own string }

// ask is how a client may send both of its secrets.
type ask struct {
	name    string
	path    string // with KEY for the tenant's
	headers map[string]string
}

// fill puts a customer's secrets into what it asks.
func (a ask) fill(c, other customer) request {
	secrets := strings.NewReplacer("OTHERKEY", other.key, "OTHEROWN", other.own, "KEY", c.key, "OWN", c.own, "PROVIDER", upstreamSecret)
	q := request{path: secrets.Replace(a.path), headers: map[string]string{"Authorization": ""}, prompt: "from " + c.name, cap: 5, model: "gpt-4o-mini"}
	if strings.Contains(q.path, "/messages") {
		q.body = `{"model":"gpt-4o-mini","max_tokens":5,"messages":[{"role":"user","content":"from ` + c.name + `"}]}`
		q.headers["Anthropic-Version"] = "2023-06-01"
	}
	for name, value := range a.headers {
		q.headers[name] = secrets.Replace(value)
	}
	return q
}

const chat, messages = "/v1/chat/completions", "/v1/messages"

// served are the ways in which a client names its tenant and pays.
var served = []ask{
	{"a header", chat, map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer OWN"}},
	{"the base URL", "/key/KEY" + chat, map[string]string{"Authorization": "Bearer OWN"}},
	{"both", "/key/KEY/run/r" + chat, map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer OWN"}},
	{"a key of Messages", messages, map[string]string{"X-Aegis-Key": "KEY", "X-Api-Key": "OWN"}},
	{"a login of Messages", "/run/r/key/KEY" + messages, map[string]string{"Authorization": "Bearer OWN"}},
	{"our key strewn about", chat + "?key=KEY&api_key=KEY", map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer OWN", "X-Api-Key": "KEY",
		"Cookie": "k=KEY", "X-Forwarded-Uri": "/key/KEY/v1", "User-Agent": "app KEY", "Openai-Project": "KEY", "Referer": "http://proxy/key/KEY"}},
}

// refused are those in which nobody may get in.
var refused = []ask{
	{"nobody's", chat, map[string]string{"Authorization": "Bearer OWN"}},
	{"nobody's, with the provider's own secret", chat, map[string]string{"Authorization": "Bearer PROVIDER"}},
	{"no credential", chat, map[string]string{"X-Aegis-Key": "KEY"}},
	{"no credential, in the base URL", "/key/KEY" + chat, nil},
	{"a tenant's key alone", chat, map[string]string{"Authorization": "Bearer KEY"}},
	{"a tenant's key in both places", chat, map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer KEY"}},
	{"another tenant's key for a credential", chat, map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer OTHERKEY"}},
	{"another tenant's key in the base URL", "/key/OTHERKEY" + chat, map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer OWN"}},
	{"another tenant's key in the query", chat + "?key=OTHERKEY", map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer OWN"}},
	{"another tenant's key in a cookie", chat, map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer OWN", "Cookie": "k=OTHERKEY"}},
	{"two credentials", messages, map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Bearer OWN", "X-Api-Key": "OTHEROWN"}},
	{"a credential that is no bearer's", chat, map[string]string{"X-Aegis-Key": "KEY", "Authorization": "Basic OWN"}},
	{"a credential in another place", chat, map[string]string{"X-Aegis-Key": "KEY", "X-Upstream-Authorization": "Bearer OWN"}},
	{"a credential in the query", chat + "?key=OWN", map[string]string{"X-Aegis-Key": "KEY"}},
}

// TestTwoThatPay: two tenants with a credential each are behind one upstream. Each call goes out with
// the credential of its own client and with no other, is charged to its own tenant, and no
// tenant's key leaves; and nobody gets in without both.
func TestTwoThatPay(t *testing.T) {
	t.Parallel()
	const budget = "budgets: [{name: monthly, window: month, limit_usd: \"10\"}]"
	a, b := customer{name: "acme", own: "sk-own-of-acme"}, customer{name: "other", own: "sk-own-of-other"}
	w := newWorld(t, simulator.Config{Keys: []string{a.own, b.own}}, budget)
	w.layout = ownRules
	a.key, b.key = w.secret, w.addTenant(b.name, budget)
	w.writePolicy(2, budget)
	r := w.start("replica0")
	const rounds = 4
	var calls sync.WaitGroup
	for range rounds {
		for i, pair := range [][2]customer{{a, b}, {b, a}} {
			for _, s := range served {
				calls.Go(func() {
					if got, err := w.send(context.Background(), newClient(t), r, s.fill(pair[0], pair[1])); err != nil || got.status != http.StatusOK {
						t.Errorf("%s by %d: %d %s %v", s.name, i, got.status, got.body, err)
					}
				})
			}
			for _, s := range refused {
				calls.Go(func() {
					got, err := w.send(context.Background(), newClient(t), r, s.fill(pair[0], pair[1]))
					if err != nil || got.status != http.StatusUnauthorized || got.header.Get("X-Should-Retry") != "false" {
						t.Errorf("%s by %d: %d %s %v", s.name, i, got.status, got.body, err)
					}
					for _, secret := range []string{a.key, b.key, a.own, b.own} {
						if strings.Contains(got.body, secret) {
							t.Errorf("%s by %d: a secret is in the answer: %s", s.name, i, got.body)
						}
					}
				})
			}
		}
	}
	calls.Wait()
	w.checkPaid(r, a, rounds*len(served))
	w.checkPaid(r, b, rounds*len(served))
	if got := w.sim.Totals().Received; got != int64(2*rounds*len(served)) {
		t.Errorf("the provider got %d requests, want %d", got, 2*rounds*len(served))
	}
	if code := r.stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	w.mustReplay([]*replica{r})
	for _, secret := range []string{a.key, b.key, a.own, b.own} {
		checkKeptSecret(t, w, r, secret)
	}
}

// checkPaid: all that came from a customer went out with its credential and is charged to it.
func (w *world) checkPaid(r *replica, c customer, want int) {
	w.t.Helper()
	got := 0
	for _, call := range w.sim.Calls() {
		if !strings.Contains(string(call.Body), "from "+c.name) {
			continue
		}
		got++
		for name, values := range call.Header {
			if name != "Authorization" && name != "X-Api-Key" || values[0] == "" {
				continue
			}
			if key := strings.TrimPrefix(values[0], "Bearer "); key != c.own || len(values) > 1 {
				w.t.Errorf("a call of %s went out with %s %q", c.name, name, values)
			}
		}
	}
	if got != want {
		w.t.Errorf("%d calls of %s reached the provider, want %d", got, c.name, want)
	}
	allowed := 0
	for _, d := range gatetest.Receipts[audit.Decision](w.t, filepath.Join(r.data, "receipts")) {
		if d.Facts.Tenant == c.name && d.Verdict == audit.Allow {
			allowed++
			if d.Facts.Upstream != "own" || d.Facts.Cost == 0 {
				w.t.Errorf("%s was allowed at %q, held are %d", c.name, d.Facts.Upstream, d.Facts.Cost)
			}
		}
	}
	if allowed != want {
		w.t.Errorf("%d calls of %s are allowed by receipts, want %d", allowed, c.name, want)
	}
}

// checkKeptSecret: a secret stands in no log and no file that the proxy has written, and no key of
// ours went out.
func checkKeptSecret(t *testing.T, w *world, r *replica, secret string) {
	if r.logged(secret) {
		t.Errorf("the log has %s", secret)
	}
	if strings.HasPrefix(secret, "aegis-") {
		for _, leak := range w.sim.Leaks(secret) {
			t.Errorf("a key of ours went out: %s", leak)
		}
	}
	err := filepath.WalkDir(r.data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), secret) {
			t.Errorf("%s has %s", path, secret)
		}
		return err
	})
	if err != nil {
		t.Error(fmt.Errorf("read what the proxy wrote: %w", err))
	}
}
