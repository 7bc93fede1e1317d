package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

const (
	ownPage   = "https://app.example.com"
	otherPage = "https://evil.example"
)

// pages is a world whose policy says which web pages may read answers; "" says nothing.
func pages(t *testing.T, cors string, upstream http.Handler) *world {
	return newWorld(t, setting{upstreams: []http.Handler{upstream}, policy: `generation: 1
` + cors + `
upstreams: [{name: up, base_url: "{up}/v1", provider: openai, cap_field: max_completion_tokens}]
models:
  - {match: toy, upstreams: [up], price: {input_usd_per_million: "0.001", output_usd_per_million: "0.002"}}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    ` + ampleBudget + "\n"})
}

// TestPreflight: a browser that asks for a page which the policy names is answered on any
// path, without a key; any other OPTIONS is an operation that no API has.
func TestPreflight(t *testing.T) {
	const own, every = `cors: {origins: ["` + ownPage + `", "http://localhost:3000"]}`, `cors: {origins: ["*"]}`
	for _, row := range []struct {
		name, cors, origin, path string
		asks                     bool
		allow                    string // the answer's Access-Control-Allow-Origin; "": it is no preflight
	}{
		{"a page that is named", own, ownPage, chatPath, true, ownPage},
		{"the other one", own, "http://localhost:3000", chatPath, true, "http://localhost:3000"},
		{"in a run", own, ownPage, "/run/a//v1/chat/completions", true, ownPage},
		{"an action", own, ownPage, "/aegis/v1/authorize", true, ownPage},
		{"an operation that is denied", own, ownPage, "/v1/files", true, ownPage},
		{"one that no API has", own, ownPage, "/v9/everything", true, ownPage},
		{"every page", every, otherPage, chatPath, true, "*"},
		{"a page without an origin", every, "null", chatPath, true, "*"},
		{"a page that is not named", own, otherPage, chatPath, true, ""},
		{"one that only begins so", own, ownPage + ".evil.example", chatPath, true, ""},
		{"another scheme", own, "http://app.example.com", chatPath, true, ""},
		{"another port", own, ownPage + ":8443", chatPath, true, ""},
		{"an origin that is none", own, "null", chatPath, true, ""},
		{"no origin", own, "", chatPath, true, ""},
		{"no question", own, ownPage, chatPath, false, ""},
		{"no policy", "", ownPage, chatPath, true, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := pages(t, row.cors, http.NotFoundHandler())
			r, _ := http.NewRequest(http.MethodOptions, w.front.URL+row.path, nil)
			if row.origin != "" {
				r.Header.Set("Origin", row.origin)
			}
			if row.asks {
				r.Header.Set("Access-Control-Request-Method", "POST")
				r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
			}
			a := w.do(r)
			if got := a.header.Get("Access-Control-Allow-Origin"); row.allow != "" && got != row.allow {
				t.Errorf("it allows %q, want %q", got, row.allow)
			}
			switch {
			case row.allow == "":
				if a.status != http.StatusNotFound || a.code() != "unknown_route" || a.header.Get("Access-Control-Allow-Methods") != "" {
					t.Errorf("%d %v", a.status, a.header)
				}
			case a.status != http.StatusNoContent || a.body != "" || a.header.Get("Access-Control-Allow-Credentials") != "" ||
				a.header.Get("Access-Control-Allow-Headers") != "authorization,content-type" || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST"):
				t.Errorf("%d %v", a.status, a.header)
			}
			w.nothingReserved()
		})
	}
}

// TestPagesReadAnswers: every answer and every denial says which page may read it, once,
// and nothing of what the upstream says of that passes.
func TestPagesReadAnswers(t *testing.T) {
	sim := simulator.New(simulator.Config{})
	defer sim.Close()
	open := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.WriteHeader(http.StatusEarlyHints)
		sim.ServeHTTP(w, r)
	})
	const own, every = `cors: {origins: ["` + ownPage + `"]}`, `cors: {origins: ["*"]}`
	for _, row := range []struct{ name, cors, origin, allow string }{
		{"a page that is named", own, ownPage, ownPage},
		{"another", own, otherPage, ""},
		{"no page", own, "", ""},
		{"every page", every, otherPage, "*"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := pages(t, row.cors, open)
			for what, send := range map[string]struct {
				method, path, body, key string
				status                  int
			}{
				"answered":  {"POST", chatPath, hello, tenantKey, 200},
				"streamed":  {"POST", chatPath, stream, tenantKey, 200},
				"listed":    {"GET", "/v1/models", "", tenantKey, 200},
				"denied":    {"POST", chatPath, strings.Replace(hello, "20", "900000000", 1), tenantKey, 402},
				"no key":    {"POST", chatPath, hello, "nobody", 401},
				"no route":  {"POST", "/v1/nothing", hello, tenantKey, 404},
				"an action": {"POST", "/aegis/v1/authorize", `{"action_id":"1","kind":"payment","amount":"0.01"}`, tenantKey, 0},
			} {
				headers := []string{"Authorization", "Bearer " + send.key}
				if row.origin != "" {
					headers = append(headers, "Origin", row.origin)
				}
				r := request(t.Context(), w.front.URL+send.path, send.body, headers...)
				r.Method = send.method
				a := w.do(r)
				if send.status != 0 && a.status != send.status {
					t.Errorf("%s: %d %s", what, a.status, a.body)
				}
				if got := strings.Join(a.header["Access-Control-Allow-Origin"], "|"); got != row.allow {
					t.Errorf("%s: it allows %q, want %q", what, got, row.allow)
				}
				if got := strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "X-Aegis-Receipt"); got != (row.allow != "") {
					t.Errorf("%s: our headers are exposed: %v", what, got)
				}
				if vary := strings.Join(a.header["Vary"], "|"); (row.cors == own) != (vary == "Origin") {
					t.Errorf("%s: Vary %q", what, vary)
				}
				if a.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s: cookies are allowed", what)
				}
			}
			w.settled(2)
			if n := len(read[audit.Decision](w)); n < 3 {
				t.Errorf("%d decisions", n)
			}
		})
	}
}

// TestPagesWithoutAPolicy: what the upstream says of them passes.
func TestPagesWithoutAPolicy(t *testing.T) {
	w := pages(t, "", raw(func(w http.ResponseWriter) { w.Header().Set("Access-Control-Allow-Origin", "https://its.example") }))
	a := w.post(chatPath, hello, "Origin", ownPage)
	if got := a.header["Access-Control-Allow-Origin"]; len(got) != 1 || got[0] != "https://its.example" || a.header.Get("Vary") != "" {
		t.Errorf("%v", a.header)
	}
}
