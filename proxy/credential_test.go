package proxy_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// ownTenants have a key each, of the form that NewSecret makes. The model "toy" is at
// an upstream that takes the client's own credential, "ours" at one that has a key.
const ownTenants = `generation: 1
upstreams:
  - {name: own, base_url: "{up}/v1", provider: openai, credential: client, allow: {queries: [team]}, dialects: [{name: openai, cap_field: max_completion_tokens}, {name: anthropic}, {name: gemini, base_url: "{up}"}]}
  - {name: ours, base_url: "{up}/v1", provider: openai, api_key_env: ` + upstreamVar + `, cap_field: max_completion_tokens}
models:
  - {match: toy, upstreams: [own, ours], price: {input: "0.001", output: "0.002"}}
  - {match: ours, upstreams: [ours, own], price: {input: "0.001", output: "0.002"}}
tenants:
  - name: acme
    keys: [{id: a, sha256: "%s"}, {id: b, sha256: "%s"}, {id: c, sha256: "%s"}]
    ` + ampleBudget + "\n"

// deniedCredentials are what a client reads.
var deniedCredentials = map[string]string{
	"no_credential": "aegis: upstream own takes the client's own credential",
	"two_keys":      "aegis: the request has two keys of this proxy that differ",
	"unknown_key":   "aegis: this API key belongs to no tenant",
	"unknown_name":  "aegis: the key in X-Aegis-Key, or behind /key/ in the base URL, belongs to no tenant",
	"no_key":        "aegis: the key in the path is empty",
	"key_in_path":   "aegis: a key of this proxy stands inside of the path",
}

// TestClientsOwnCredential: the tenant is named beside the client's credential, which
// travels on unchanged to an upstream that takes it, and to no other; a key of a tenant
// never leaves, wherever it stands.
func TestClientsOwnCredential(t *testing.T) {
	const own, login = "Bearer sk-client-own", "Bearer sk-ant-oat01-client"
	key, hash := policy.NewSecret()
	other, otherHash := policy.NewSecret()
	strange, _ := policy.NewSecret() // of no tenant, any more
	escaped := "%61" + key[1:]
	short := sha256.Sum256([]byte("short")) // a key that no NewSecret has made
	account := []string{"Openai-Organization", "org-1", "Openai-Project", "proj-1", "Chatgpt-Account-Id", "acc-1"}
	for _, row := range []struct {
		name, path, model string
		header            []string
		status            int
		code              string            // of a denial
		sent              map[string]string // "": absent
	}{
		{"named in a header", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", own}, 200, "", map[string]string{"Authorization": own, "X-Aegis-Key": ""}},
		{"in the path", "/key/" + key + "/v1", "toy", []string{"Authorization", own}, 200, "", map[string]string{"Authorization": own}},
		{"escaped", "/key/" + escaped + "/v1", "toy", []string{"Authorization", own}, 200, "", map[string]string{"Authorization": own}},
		{"before a run", "/key/" + key + "/run/r/depth/1/v1", "toy", []string{"Authorization", own}, 200, "", map[string]string{"Authorization": own}},
		{"behind a run", "/run/r/key/" + key + "/v1", "toy", []string{"Authorization", own}, 200, "", map[string]string{"Authorization": own}},
		{"in header and path", "/key/" + key + "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", own}, 200, "", map[string]string{"Authorization": own}},
		{"with an account", "/v1", "toy", append([]string{"X-Aegis-Key", key, "Authorization", own}, account...), 200, "",
			map[string]string{"Authorization": own, "Openai-Organization": "org-1", "Openai-Project": "proj-1", "Chatgpt-Account-Id": "acc-1"}},
		{"to an upstream with a key", "/v1", "ours", append([]string{"X-Aegis-Key", key, "Authorization", own}, account...), 200, "",
			map[string]string{"Authorization": "Bearer " + upstreamKey, "Openai-Organization": "", "Openai-Project": "", "Chatgpt-Account-Id": ""}},
		{"without one of its own, to an upstream with a key", "/v1", "ours", []string{"X-Aegis-Key", key}, 200, "", map[string]string{"Authorization": "Bearer " + upstreamKey}},
		{"without one of its own", "/v1", "toy", []string{"X-Aegis-Key", key}, 401, "no_credential", nil},
		{"without being named", "/v1", "toy", []string{"Authorization", "Bearer " + key}, 401, "no_credential", nil},
		{"the same key in both places", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", "Bearer " + key}, 401, "no_credential", nil},
		{"the same key in both, to an upstream with a key", "/v1", "ours", []string{"X-Aegis-Key", key, "Authorization", "Bearer " + key}, 200, "", map[string]string{"Authorization": "Bearer " + upstreamKey}},
		{"another key of ours", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", "Bearer " + other}, 401, "two_keys", nil},
		{"one that is no tenant's any more", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", "Bearer " + strange}, 401, "two_keys", nil},
		{"another of ours, of a form of its own", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", "Bearer short"}, 401, "two_keys", nil},
		{"another in the path", "/key/" + other + "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", own}, 401, "two_keys", nil},
		{"two in the path", "/key/" + other + "/run/r/key/" + key + "/v1", "toy", []string{"Authorization", own}, 401, "two_keys", nil},
		{"two in headers", "/v1", "toy", []string{"X-Aegis-Key", key, "X-Aegis-Key", other, "Authorization", own}, 401, "two_keys", nil},
		{"an unknown key", "/v1", "toy", []string{"X-Aegis-Key", strange, "Authorization", own}, 401, "unknown_name", nil},
		{"only a credential of its own", "/v1", "toy", []string{"Authorization", own}, 401, "unknown_key", nil},
		{"an empty key in the path", "/key//v1", "toy", []string{"Authorization", own}, 401, "no_key", nil},
		{"Basic, which may hide a key", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+key))}, 401, "no_credential", nil},
		{"in another header too", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", own, "X-Other", "key=" + key, "X-Kept", "1"}, 200, "", map[string]string{"X-Other": "", "X-Kept": "1"}},
		{"escaped, in a header of a hop before", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", own, "X-Forwarded-Uri", "/key/" + escaped + "/v1"}, 200, "", map[string]string{"X-Forwarded-Uri": ""}},
		{"Basic, in Messages", "/messages", "toy", []string{"X-Aegis-Key", key, "Anthropic-Version", "2023-06-01", "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+key))}, 401, "no_credential", nil},
		{"in a parameter that the policy admits", "/v1?team=x" + key, "toy", []string{"X-Aegis-Key", key, "Authorization", own}, 200, "", map[string]string{"Authorization": own}},
		{"with a _ in its name", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", own, "X_Aegis_Key", key}, 200, "", map[string]string{"X_aegis_key": ""}},
		{"as an account", "/v1", "toy", []string{"X-Aegis-Key", key, "Authorization", own, "Openai-Project", key}, 200, "", map[string]string{"Openai-Project": ""}},
		{"without a name, in another header too", "/v1", "ours", []string{"Authorization", "Bearer " + key, "X-Other", key}, 200, "", map[string]string{"X-Other": ""}},
		{"in the query", "/v1?key=" + key, "toy", []string{"X-Aegis-Key", key, "Authorization", own}, 200, "", map[string]string{"Authorization": own}},
		{"a login", "/messages", "toy", []string{"X-Aegis-Key", key, "Authorization", login, "Anthropic-Beta", "oauth-2025-04-20", "Anthropic-Version", "2023-06-01"}, 200, "",
			map[string]string{"Authorization": login, "Anthropic-Beta": "oauth-2025-04-20", "X-Api-Key": ""}},
		{"a login, our key where the API has its own", "/messages", "toy", []string{"X-Aegis-Key", key, "X-Api-Key", key, "Authorization", login, "Anthropic-Version", "2023-06-01"}, 200, "",
			map[string]string{"Authorization": login, "X-Api-Key": ""}},
		{"a key of the API", "/messages", "toy", []string{"X-Aegis-Key", key, "X-Api-Key", "sk-ant-own", "Anthropic-Version", "2023-06-01"}, 200, "", map[string]string{"X-Api-Key": "sk-ant-own", "Authorization": ""}},
		{"two that differ", "/messages", "toy", []string{"X-Aegis-Key", key, "X-Api-Key", "sk-ant-own", "Authorization", login, "Anthropic-Version", "2023-06-01"}, 401, "no_credential", nil},
		{"Google's key", "/gemini", "toy", []string{"X-Aegis-Key", key, "X-Goog-Api-Key", "AIza-own", "X-Goog-User-Project", "p"}, 200, "",
			map[string]string{"X-Goog-Api-Key": "AIza-own", "X-Goog-User-Project": "p"}},
		{"Google's key in the query, which travels nowhere", "/gemini?key=AIza-own", "toy", []string{"X-Aegis-Key", key, "X-Goog-User-Project", "p"}, 401, "no_credential", nil},
		{"our key where a model's name stands", "/gemini/" + key, "toy", []string{"X-Aegis-Key", key, "X-Goog-Api-Key", "AIza-own"}, 401, "key_in_path", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			var raw string
			var got http.Header
			sim := simulator.New(simulator.Config{})
			w := newWorld(t, setting{
				upstreams: []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					dump, _ := httputil.DumpRequest(r, true)
					raw, got = raw+string(dump), r.Header.Clone()
					sim.ServeHTTP(w, r)
				})},
				policy: fmt.Sprintf(ownTenants, hex.EncodeToString(hash[:]), hex.EncodeToString(otherHash[:]), hex.EncodeToString(short[:])),
			})
			path, query, _ := strings.Cut(row.path, "?")
			body := `{"model":"` + row.model + `","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`
			switch {
			case path == "/messages":
				path = "/v1/messages"
			case strings.HasPrefix(path, "/gemini"):
				path = "/v1beta/models/" + cmp.Or(strings.TrimLeft(strings.TrimPrefix(path, "/gemini"), "/"), row.model) + ":generateContent"
				body = `{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":10}}`
			default:
				path += "/chat/completions"
			}
			r, err := http.NewRequest(http.MethodPost, w.front.URL+path+"?"+query, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(row.header); i += 2 {
				r.Header[row.header[i]] = append(r.Header[row.header[i]], row.header[i+1])
			}
			resp, err := w.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != row.status {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, row.status, answer)
			}
			if row.code != "" && raw != "" {
				t.Errorf("denied, and the upstream got %s", raw)
			}
			for _, secret := range []string{key, other, strange, escaped, key[1:]} {
				if strings.Contains(raw, secret) {
					t.Errorf("the upstream got a key of ours:\n%s", raw)
				}
				if strings.Contains(string(answer), secret) {
					t.Errorf("the answer has a key of ours: %s", answer)
				}
			}
			for name, want := range row.sent {
				if strings.Join(got[name], "|") != want {
					t.Errorf("%s: the upstream got %q, want %q", name, got[name], want)
				}
			}
			if says := deniedCredentials[row.code]; !strings.Contains(string(answer), says) {
				t.Errorf("the client does not read %q: %s", says, answer)
			}
			w.mustReplay()
		})
	}
}

// TestClientsOwnCredentialFallsBack: where an upstream fails, the next one that may be asked is
// paid for alike, and of the same provider and host where the client pays.
func TestClientsOwnCredentialFallsBack(t *testing.T) {
	const text = `generation: 1
upstreams:
  - {name: own, base_url: "{up}/own", provider: openai, credential: client, cap_field: max_completion_tokens}
  - {name: own2, base_url: "{up}/own2", provider: openai, credential: client, cap_field: max_completion_tokens}
  - {name: elsewhere, base_url: "{up}/elsewhere", provider: mistral, credential: client, cap_field: max_completion_tokens}
  - {name: afar, base_url: "http://127.0.0.1:1/afar", provider: openai, credential: client, cap_field: max_completion_tokens}
  - {name: ours, base_url: "{up}/ours", provider: openai, api_key_env: ` + upstreamVar + `, cap_field: max_completion_tokens}
models:
  - {match: toy, upstreams: [own, ours, elsewhere, own2, afar], price: {input: "0.001", output: "0.002"}}
  - {match: ours, upstreams: [ours, own, own2], price: {input: "0.001", output: "0.002"}}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "{hash}"}]
    ` + ampleBudget + "\n"
	for model, want := range map[string]string{
		"toy":  "/own/chat/completions Bearer sk-own, /own2/chat/completions Bearer sk-own",
		"ours": "/ours/chat/completions Bearer " + upstreamKey,
	} {
		t.Run(model, func(t *testing.T) {
			var asked []string
			w := newWorld(t, setting{policy: text, upstreams: []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.Path+" "+r.Header.Get("Authorization"))
				w.WriteHeader(http.StatusServiceUnavailable)
			})}})
			a := w.post(chatPath, `{"model":"`+model+`","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`, "Authorization", "Bearer sk-own", "X-Aegis-Key", tenantKey)
			if got := strings.Join(asked, ", "); a.status != http.StatusServiceUnavailable || got != want {
				t.Errorf("%d; asked were %s, want %s", a.status, got, want)
			}
		})
	}
}

// FuzzCaller: however a request names its tenant and pays, nothing of a key of ours goes upstream, which
// is asked only with the client's own credential.
func FuzzCaller(f *testing.F) {
	key, hash := policy.NewSecret()
	_, otherHash := policy.NewSecret()
	for _, seed := range [][4]string{
		{"/v1", "", "KEY", "Bearer sk-own"}, {"/key/KEY/v1", "key=KEY", "", "Bearer sk-own"}, {"/key/KEY/run/r/depth/2/key/KEY", "", "KEY", "sk-own"},
		{"/run/KEY/key//v1", "api-version=1", "%61", "Basic KEY"}, {"/key/%4bEY/v1", "", " KEY ", "Bearer KEY"}, {"/key", "", "KEY,KEY", "Bearer KEY sk-own"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	var got []byte
	w := newWorld(f, setting{
		upstreams: []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, _ = httputil.DumpRequest(r, false)
			w.WriteHeader(http.StatusUnauthorized) // which costs nothing
		})},
		policy: fmt.Sprintf(ownTenants, hex.EncodeToString(hash[:]), hex.EncodeToString(otherHash[:]), strings.Repeat("0", 64)),
	})
	f.Fuzz(func(t *testing.T, path, query, named, credential string) {
		fill := strings.NewReplacer("KEY", key)
		target, err := url.ParseRequestURI("http://proxy" + fill.Replace(path) + "/chat/completions?" + fill.Replace(query))
		if err != nil || strings.ContainsFunc(named+credential, unicode.IsControl) {
			t.Skip("no HTTP server lets it in")
		}
		r := request(context.Background(), "http://proxy", hello)
		r.URL, got = target, nil
		r.Header["X-Aegis-Key"], r.Header["Authorization"], r.Header["X-Other"] = []string{fill.Replace(named)}, []string{fill.Replace(credential)}, []string{named}
		recorder := httptest.NewRecorder()
		w.proxy.ServeHTTP(recorder, r)
		plain, _ := url.QueryUnescape(string(got))
		if strings.Contains(string(got), key) || strings.Contains(plain, key) {
			t.Errorf("a key of ours went out:\n%s", got)
		}
		if _, body, _ := strings.Cut(string(got), "Authorization: "); got != nil && !strings.HasPrefix(body, strings.TrimSpace(credential)) {
			t.Errorf("it went out with another credential than %q:\n%s", credential, got)
		}
		if recorder.Code < 400 || recorder.Code > 404 {
			t.Errorf("%d %s", recorder.Code, recorder.Body)
		}
	})
}
