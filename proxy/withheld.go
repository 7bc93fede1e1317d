package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// clientOnly are request headers that are not for the upstream, whatever API it speaks:
// what would open a tunnel, and the wait for a leave to send a body that has arrived
// already. The client's credentials are the dialect's to take out.
var clientOnly = []string{"Connection", "Upgrade", "Http2-Settings", "Expect"}

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

// forDialect are the request headers without those that do not pass in any dialect.
func forDialect(h http.Header) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, values := range h {
		if plain := providers.Plain(name); !withheld[plain] && !strings.HasPrefix(plain, oursPrefix) {
			out[name] = values
		}
	}
	return out
}

// adopt makes a header what the dialect sends. Before, it is the client's without what
// concerns a single connection; came is what the dialect was given.
func adopt(out http.Header, came, sent map[string][]string) {
	for name := range out {
		if _, passes := sent[name]; !passes {
			delete(out, name)
		}
	}
	for name, values := range sent {
		if before, was := came[name]; !was || !slices.Equal(before, values) {
			out[name] = values
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
