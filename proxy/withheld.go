package proxy

import (
	"net/http"
	"strings"
)

// clientOnly are request headers that are not for the upstream: the client's
// credentials, what would hide usage or open a tunnel, and the wait for a leave
// to send a body that has arrived already.
var clientOnly = []string{
	"Authorization", "Api-Key", "X-Api-Key", "Openai-Organization", "Openai-Project",
	"Connection", "Upgrade", "Http2-Settings", "Expect",
}

// misleading are request headers that can make a server read another request
// than the one that was bounded: what the body was as the client sent it (coding,
// charset, part, digest), and another method, path or number of tries. The last
// are mostly added by hops before the proxy, so they are taken out, not refused.
var misleading = []string{
	"Content-Type", "Content-Encoding", "Content-Transfer-Encoding", "Content-Range", "Content-Location",
	"Content-Md5", "Digest", "Content-Digest", "Repr-Digest",
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Method",
	"X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Envoy-Original-Path",
	"X-Envoy-Max-Retries", "X-Envoy-Retry-On", "X-Envoy-Retry-Grpc-On", "X-Envoy-Hedge-On-Per-Try-Timeout",
}

var withheld = func() map[string]bool {
	set := map[string]bool{}
	for _, list := range [...][]string{clientOnly, misleading} {
		for _, name := range list {
			set[name] = true
		}
	}
	return set
}()

// withhold takes out the request headers that do not pass. Servers behind CGI or
// WSGI read a _ in a name as they do a -.
func withhold(h http.Header) {
	for name := range h {
		plain := name
		if strings.Contains(name, "_") {
			plain = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		}
		if withheld[plain] || strings.HasPrefix(plain, oursPrefix) {
			delete(h, name)
		}
	}
}

// oursPrefix begins the names of headers that only the proxy may set.
const oursPrefix = "X-Aegis-"

// dropOurs removes headers that only the proxy may set.
func dropOurs(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, oursPrefix) {
			delete(h, name)
		}
	}
}
