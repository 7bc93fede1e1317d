package proxy_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

// guarded is an upstream that answers only requests with an authorization of
// their own. It knows the proxy by its published keys and nothing else.
type guarded struct {
	keys func() []oxdeai.KeySet
	next http.Handler
	used oxdeai.ConsumedIDs

	mu   sync.Mutex
	seen []*oxdeai.Object
	text []string
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text := r.Header.Get("X-Aegis-Authorization")
	auth, ok := g.check(text)
	if !ok {
		http.Error(w, `{"error":{"message":"no leave"}}`, http.StatusForbidden)
		return
	}
	g.mu.Lock()
	g.seen, g.text = append(g.seen, auth), append(g.text, text)
	g.mu.Unlock()
	g.next.ServeHTTP(w, r)
}

func (g *guarded) check(text string) (*oxdeai.Object, bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	auth, err := oxdeai.DecodeAuthorization(raw)
	if err != nil {
		return nil, false
	}
	now := time.Now().Unix()
	result := oxdeai.VerifyAuthorization(auth, now, oxdeai.AuthorizationOptions{
		Mode: oxdeai.ModeStrict, Trust: oxdeai.Trust{KeySets: g.keys()},
		ExpectedIssuer: "aegis-proxy", ExpectedAudience: "up1",
	})
	id, _ := auth.Text("auth_id")
	fresh, err := g.used.Consume(id, now+gate.AuthorizationSeconds, now)
	return auth, result.Status == oxdeai.StatusOK && fresh && err == nil
}

// TestUpstreamChecksAuthorization: each request has one that follows from its
// receipt, verifies by the published keys, and serves once.
func TestUpstreamChecksAuthorization(t *testing.T) {
	signer, err := audit.NewSigner(audit.AlgEd25519)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := gate.NewAuthority("aegis-proxy", signer)
	if err != nil {
		t.Fatal(err)
	}
	published, err := authority.KeySet()
	if err != nil {
		t.Fatal(err)
	}
	sets, err := oxdeai.ParseKeySets(published)
	if err != nil {
		t.Fatal(err)
	}
	up := &guarded{keys: func() []oxdeai.KeySet { return sets }, next: raw(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"usage":{"prompt_tokens":3,"completion_tokens":1}}`))
	})}
	w := newWorld(t, setting{upstream: ", attach_authorization: true", upstreams: []http.Handler{up}, authority: authority})

	// What the client says of it does not reach the upstream.
	first := w.post(chatPath, hello, "X-Aegis-Authorization", "forged")
	second := w.post(chatPath, hello)
	if first.status != 200 || second.status != 200 {
		t.Fatalf("%+v, %+v", first, second)
	}
	for i, a := range []answer{first, second} {
		if id, _ := up.seen[i].Text("auth_id"); id != a.header.Get("X-Aegis-Receipt") {
			t.Errorf("auth_id %q, want the receipt's %q", id, a.header.Get("X-Aegis-Receipt"))
		}
		decision := read[audit.Decision](w)[i]
		again, err := authority.Authorize(a.header.Get("X-Aegis-Receipt"), decision)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := oxdeai.Canonical(again)
		if got, _ := base64.StdEncoding.DecodeString(up.text[i]); string(got) != string(want) {
			t.Errorf("the receipt gives\n%s, sent was\n%s", want, got)
		}
	}
	w.settled(2)

	// A second use, and one with any character changed, is refused.
	for name, text := range map[string]string{"used": up.text[0], "altered": alter(up.text[1]), "none": ""} {
		r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(hello))
		r.Header.Set("X-Aegis-Authorization", text)
		got := httptest.NewRecorder()
		up.ServeHTTP(got, r)
		if got.Code != http.StatusForbidden {
			t.Errorf("%s: status %d", name, got.Code)
		}
	}
}

// alter changes the id in an authorization, so that it was not used yet.
func alter(text string) string {
	raw, _ := base64.StdEncoding.DecodeString(text)
	return base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(raw), `"auth_id":"`, `"auth_id":"0`, 1)))
}

// TestNoAuthorizationNoRequest: where none can be signed, nothing is sent and
// nothing is charged.
func TestNoAuthorizationNoRequest(t *testing.T) {
	w := newWorld(t, setting{upstream: ", attach_authorization: true", upstreams: []http.Handler{raw(func(http.ResponseWriter) {
		t.Error("a request without authorization was sent")
	})}})
	if a := w.post(chatPath, hello); a.status != 503 || a.code() != "authorization_unavailable" {
		t.Errorf("%+v", a)
	}
	if s := w.settled(1)[0]; s.Outcome != "release" || s.Charge != 0 {
		t.Errorf("settled %+v", s)
	}
	w.mustBalance(0, 0)
}
