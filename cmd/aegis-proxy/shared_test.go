package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestNoKeyForStrangers: what is no proxy of this kind sees no key, nor does what it redirects to.
func TestNoKeyForStrangers(t *testing.T) {
	t.Setenv(sharedKeyEnv, "aegis-secret")
	var asked []string
	note := func(r *http.Request) { asked = append(asked, r.Header.Get("Authorization")) }
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(r)
		w.Header().Set("X-Aegis-Decision", "denied")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"a plain server":           func(http.ResponseWriter, *http.Request) {},
		"one that wants some key":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"one that has no models":   http.NotFound,
		"one that leads elsewhere": http.RedirectHandler(elsewhere.URL+"/v1/models", http.StatusTemporaryRedirect).ServeHTTP,
	} {
		asked = nil
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			note(r)
			answer(w, r)
		}))
		_, err := openShared(t.Context(), server.URL, "")
		server.Close()
		if err == nil || !strings.Contains(err.Error(), "is no aegis-proxy") || len(asked) != 1 || asked[0] != "" {
			t.Errorf("%s: %v, and saw %q", name, err, asked)
		}
	}
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Aegis-Decision", "error")
		w.WriteHeader(map[bool]int{true: http.StatusUnauthorized, false: http.StatusServiceUnavailable}[r.Header.Get("Authorization") == ""])
	}))
	defer broken.Close()
	if _, err := openShared(t.Context(), broken.URL, ""); err == nil || !strings.Contains(err.Error(), "answers the key with status 503") {
		t.Errorf("a proxy that cannot answer: %v", err)
	}
	asked = nil
	if _, err := openShared(t.Context(), elsewhere.URL, ""); err == nil || !strings.Contains(err.Error(), "does not know the key") || len(asked) != 2 {
		t.Errorf("a proxy that does not know the key: %v, and saw %q", err, asked)
	}
}

// TestUnencrypted: a key that leaves the machine without TLS can be read on its way.
func TestUnencrypted(t *testing.T) {
	for address, want := range map[string]bool{
		"":                               false,
		"https://proxy.example":          false,
		"http://localhost:8080/":         false,
		"http://127.0.0.2:8080":          false,
		"http://[::1]:8080":              false,
		"http://[::ffff:127.0.0.1]:8080": false,
		"http://proxy.example":           true,
		"HTTP://proxy.example":           true,
		"http://localhost.example":       true,
		"http://10.0.0.7:8080":           true,
		"http://[fd00::7]:8080":          true,
		"http://0.0.0.0:8080":            true,
	} {
		if got := unencrypted(address); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
}
