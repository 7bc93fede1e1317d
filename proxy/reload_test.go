package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// generation is the world's policy under another version.
func (w *world) generation(n int64) *gate.Rules {
	w.t.Helper()
	p := *w.policy
	p.Version = budget.PolicyVersion{Generation: n, Hash: strings.Repeat("0", 63) + string(rune('0'+n))}
	rules, err := gate.NewRules(&p)
	if err != nil {
		w.t.Fatal(err)
	}
	return rules
}

// TestRequestInFlightAcrossAReload: it came under the old policy, and another
// request of its tenant has reserved under the new one since.
func TestRequestInFlightAcrossAReload(t *testing.T) {
	for _, row := range []struct {
		name        string
		then        int64 // the generation that the proxy loads meanwhile
		status      int
		generations []int64 // of the decisions
	}{
		{"served under the newer policy", 2, 200, []int64{2, 1, 2}},
		{"still behind after its reload", 1, 503, []int64{2, 1, 1}},
		{"no newer policy", 0, 503, []int64{2, 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, sim := simulated(t, simulator.Config{}, setting{})
			serve := func(rules func() *gate.Rules) *httptest.ResponseRecorder {
				p := proxy.New(proxy.Config{Gate: w.gate, Dialects: dialects.All(), Rules: rules})
				defer p.Close()
				recorder := httptest.NewRecorder()
				p.ServeHTTP(recorder, request(t.Context(), "http://proxy"+chatPath, hello))
				return recorder
			}
			old, newest := w.generation(1), w.generation(2)
			if a := serve(func() *gate.Rules { return newest }); a.Code != http.StatusOK {
				t.Fatalf("%d %s", a.Code, a.Body)
			}
			asked := 0
			got := serve(func() *gate.Rules {
				asked++
				switch {
				case asked == 1 || row.then == 0:
					return old
				case row.then == 2:
					return newest
				}
				return w.generation(row.then)
			})
			if got.Code != row.status {
				t.Errorf("%d %s", got.Code, got.Body)
			}
			if stale := strings.Contains(got.Body.String(), "policy is older"); stale != (row.status == 503) {
				t.Errorf("answer %s", got.Body)
			}
			w.mustDecide(row.generations)
			if _, held := w.balance(); held != 0 {
				t.Errorf("%d held", held)
			}
			if n := sim.Totals().Received; (n == 2) != (row.status == 200) {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

// TestDowngradeAcrossAReload: another request of the tenant reserves under a newer policy just before the cheaper model is
// asked for in the place of the one that the client named. The newer policy decides about that one.
func TestDowngradeAcrossAReload(t *testing.T) {
	got := new(received)
	w := newWorld(t, setting{upstreams: []http.Handler{recorder(got)}, policy: downgraded("{use: cheap}", "up1", `{name: daily, window: forever, limit_usd: "0.002"}`)})
	old, newest := w.generation(1), w.generation(2)
	serve := func(spoken providers.Registry, model string, rules func() *gate.Rules) *httptest.ResponseRecorder {
		p := proxy.New(proxy.Config{Gate: w.gate, Dialects: spoken, Rules: rules})
		defer p.Close()
		recorder := httptest.NewRecorder()
		body := `{"model":"` + model + `","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":50}`
		p.ServeHTTP(recorder, request(t.Context(), "http://proxy"+chatPath, body))
		return recorder
	}
	reload := sync.OnceFunc(func() {
		if a := serve(dialects.All(), "cheap", func() *gate.Rules { return newest }); a.Code != http.StatusOK {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	})
	asked := 0
	a := serve(providers.Registry{renaming{openai.Dialect{}, reload}}, "dear", func() *gate.Rules {
		if asked++; asked == 1 {
			return old
		}
		return newest
	})
	if a.Code != http.StatusOK || a.Header().Get("X-Aegis-Instead-Of") != "dear" || !strings.HasPrefix(string(got.body), `{"model":"cheap",`) {
		t.Errorf("%d %v %s; the upstream got %s", a.Code, a.Header(), a.Body, got.body)
	}
	w.close()
	var decided []string
	for _, d := range read[audit.Decision](w) {
		decided = append(decided, fmt.Sprintf("%d %s %s for %q", d.Generation, d.Verdict, d.Facts.Model, d.Facts.InsteadOf))
	}
	want := []string{`1 deny dear for ""`, `2 allow cheap for ""`, `1 deny cheap for "dear"`, `2 deny dear for ""`, `2 allow cheap for "dear"`}
	if !slices.Equal(decided, want) {
		t.Errorf("receipts say %q, want %q", decided, want)
	}
}

// renaming is a dialect that does something when one of its requests is to ask for the cheaper model.
type renaming struct {
	openai.Dialect
	then func()
}

func (d renaming) Parse(op providers.Operation, h providers.Head, body []byte) (providers.Request, error) {
	r, err := d.Dialect.Parse(op, h, body)
	return renamed{r, d.then}, err
}

type renamed struct {
	providers.Request
	then func()
}

func (r renamed) Rename(model string) {
	if model == "cheap" {
		r.then()
	}
	r.Request.Rename(model)
}

// mustDecide compares the generations of the decisions, of which all under the
// first one are denied as stale.
func (w *world) mustDecide(generations []int64) {
	w.t.Helper()
	list := read[audit.Decision](w)
	if len(list) != len(generations) {
		w.t.Fatalf("%d decisions, want %d", len(list), len(generations))
	}
	for i, d := range list {
		stale := strings.Join(d.Reasons, ",") == string(policy.StalePolicy)
		if d.Generation != generations[i] || stale != (d.Generation == 1) {
			w.t.Errorf("decision %d under generation %d: %v", i+1, d.Generation, d.Reasons)
		}
	}
}
