package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// TestUpstreamThatFailsIsTriedLast: after three failures in a row a request goes to the fallback at once, which is
// then the first of its decisions.
func TestUpstreamThatFailsIsTriedLast(t *testing.T) {
	for _, row := range []struct {
		status int
		want   []string // upstreams of the decisions of five requests
	}{
		{http.StatusServiceUnavailable, []string{"up1", "up2", "up1", "up2", "up1", "up2", "up2", "up2"}},
		{http.StatusTooManyRequests, []string{"up1", "up2", "up1", "up2", "up1", "up2", "up1", "up2", "up1", "up2"}},
		{529, []string{"up1", "up2", "up1", "up2", "up1", "up2", "up2", "up2"}},
		{http.StatusInternalServerError, []string{"up1", "up2", "up1", "up2", "up1", "up2", "up1", "up2", "up1", "up2"}},
	} {
		t.Run(fmt.Sprint(row.status), func(t *testing.T) {
			bad := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(row.status)
				fmt.Fprint(w, `{"error":{"message":"no"}}`)
			})
			w := newWorld(t, setting{upstreams: []http.Handler{bad, simulator.New(simulator.Config{})}})
			for range 5 {
				if a := w.post(chatPath, hello); a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
			}
			var got []string
			for _, d := range read[audit.Decision](w) {
				got = append(got, d.Facts.Upstream)
			}
			if fmt.Sprint(got) != fmt.Sprint(row.want) {
				t.Errorf("asked leave for %v, want %v", got, row.want)
			}
		})
	}
}

// An upstream is tried last until it has had time to recover, and is well again with its first answer.
func TestHealth(t *testing.T) {
	now := time.Now()
	h := proxy.NewHealth(func() time.Time { return now })
	for i := range 3 {
		if h.Cools("a") {
			t.Fatalf("it is last after %d failures", i)
		}
		h.Failed("a")
	}
	if !h.Cools("a") || h.Cools("b") {
		t.Error("it is not last, or another one is")
	}
	now = now.Add(proxy.CoolFor)
	if h.Cools("a") {
		t.Error("it is last for ever")
	}
	if h.Failed("a"); !h.Cools("a") {
		t.Error("it failed again, and is not last")
	}
	if h.Answered("a"); h.Cools("a") {
		t.Error("it has answered, and is last")
	}
}

// sharedPolicy has a model that two upstreams share: the second one's price is told by its provider.
const sharedPolicy = `generation: 1
upstreams:
  - {name: up1, base_url: "{up}/v1", api_key_env: AEGIS_TEST_UPSTREAM_KEY, provider: openai, cap_field: max_completion_tokens}
  - {name: up2, base_url: "{up2}/v1", api_key_env: AEGIS_TEST_UPSTREAM_KEY, provider: {provider}, cap_field: max_completion_tokens}
models:
  - {match: "gpt-4o-mini", upstreams: [up1, up2], {more}}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    budgets: [{name: daily, window: forever, limit_usd: "1"}]
`

const ask4o = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":5}`

// asked are the verdicts and upstreams of all decisions, in their order.
func asked(w *world) (list []string) {
	for _, d := range read[audit.Decision](w) {
		list = append(list, d.Verdict+" "+d.Facts.Upstream)
	}
	return list
}

// TestWeights: upstreams that share a model are called first in proportion, and the other one where that fails.
func TestWeights(t *testing.T) {
	ok := simulator.New(simulator.Config{})
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for _, row := range []struct {
		name, more, provider string
		second               http.Handler
		want                 string
	}{
		{"three to one", "weights: [3, 1]", "openai", ok, "[allow up1 allow up1 allow up2 allow up1 allow up1 allow up1 allow up2 allow up1]"},
		{"as a fallback alone", "weights: [1, 0]", "openai", ok, "[allow up1 allow up1 allow up1 allow up1 allow up1 allow up1 allow up1 allow up1]"},
		{"without weights", "default_output_cap: 9", "openai", ok, "[allow up1 allow up1 allow up1 allow up1 allow up1 allow up1 allow up1 allow up1]"},
		{"one that fails cools", "weights: [1, 3]", "openai", broken,
			"[allow up2 allow up1 allow up1 allow up2 allow up1 allow up2 allow up1 allow up1 allow up1 allow up1 allow up1]"},
		{"one without a price denies nobody", "weights: [1, 3]", "nobody", ok, "[deny up2 allow up1 allow up1 deny up2 allow up1 deny up2 allow up1 deny up2 allow up1 allow up1 deny up2 allow up1 deny up2 allow up1]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := strings.NewReplacer("{more}", row.more, "{provider}", row.provider).Replace(sharedPolicy)
			w := newWorld(t, setting{upstreams: []http.Handler{ok, row.second}, policy: text})
			for range 8 {
				if a := w.post(chatPath, ask4o); a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
			}
			if got := fmt.Sprint(asked(w)); got != row.want {
				t.Errorf("asked leave for %s, want %s", got, row.want)
			}
			w.close()
			w.mustReplay()
		})
	}
}

// A limit of one client's own account puts nobody else's upstream last: each request asks it first.
func TestOwnAccountsAreNoFailure(t *testing.T) {
	sim := simulator.New(simulator.Config{})
	both := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/other/") {
			sim.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusTooManyRequests)
	})
	text := strings.NewReplacer("{more}", "default_output_cap: 9", "{provider}", "openai", "{up2}", "{up}/other", "api_key_env: AEGIS_TEST_UPSTREAM_KEY", "credential: client").Replace(sharedPolicy)
	w := newWorld(t, setting{upstreams: []http.Handler{both}, policy: text})
	for range 5 {
		if a := w.post(chatPath, ask4o, "X-Aegis-Key", tenantKey, "Authorization", "Bearer sk-own"); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if got, want := fmt.Sprint(asked(w)), fmt.Sprint(slices.Repeat([]string{"allow up1", "allow up2"}, 5)); got != want {
		t.Errorf("asked leave for %v, want %v", got, want)
	}
}

// TestCooledPrimaryIsAskedStill: where the upstream that is tried in the place of one that cools is denied, the latter is
// asked for before anybody is.
func TestCooledPrimaryIsAskedStill(t *testing.T) {
	sick := true
	first := simulator.New(simulator.Config{})
	up1 := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		first.ServeHTTP(w, r)
	})
	text := strings.NewReplacer("{more}", "default_output_cap: 9", "{provider}", "nobody").Replace(sharedPolicy)
	w := newWorld(t, setting{upstreams: []http.Handler{up1, simulator.New(simulator.Config{})}, policy: text})
	for range 3 {
		w.post(chatPath, ask4o)
	}
	sick = false
	if a := w.post(chatPath, ask4o); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
