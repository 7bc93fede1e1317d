package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net/http"
	"strings"
)

// guard lets a request through that may change something. One that a web page
// has a browser send is refused: it carries an Origin, or cannot say that it is
// JSON. Where there is a token the request must bear it; without one, only a
// loopback listener changes anything.
func (s server) guard(change http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if status, why := s.refuses(r); status != 0 {
			http.Error(w, why, status)
			return
		}
		change(w, r)
	}
}

// refuses is a status and a reason, or 0.
func (s server) refuses(r *http.Request) (status int, why string) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case len(r.Header["Origin"]) > 0:
		return http.StatusForbidden, "a browser's request from a page (Origin) changes nothing here"
	case kind != "application/json":
		return http.StatusUnsupportedMediaType, "send the change as Content-Type: application/json"
	case s.Token == "" && !s.Loopback:
		return http.StatusForbidden, "the admin listener is not on loopback and has no token: start the proxy with --admin-token to change anything here"
	case s.Token != "" && !s.bears(r):
		return http.StatusUnauthorized, unauthorized(r)
	}
	return 0, ""
}

// unauthorized tells a token that is wrong from one that is not there.
func unauthorized(r *http.Request) string {
	if r.Header.Get("Authorization") == "" {
		return "send the admin token as Authorization: Bearer"
	}
	return "this is not the admin token that the proxy was started with; send that as Authorization: Bearer"
}

// bears reports whether the request has the token. How long that takes says
// nothing about it: hashes are compared, whole.
func (s server) bears(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(s.Token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
