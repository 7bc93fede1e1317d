package anthropic

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Messages is the operation that this dialect governs.
const Messages = "messages"

// routes are the API's operations, by their paths behind the version.
var routes = []providers.Route{
	{Method: "POST", Path: "/messages", Kind: providers.Governed, Operation: Messages},
	{Method: "GET", Path: "/models", Kind: providers.Listed, Operation: "models"},
	{Method: "GET", Path: "/models/{model}", Kind: providers.Listed, Operation: "models/{model}"},
	denied("POST", "/messages/count_tokens", "it is not passed on yet"),
	denied("POST", "/messages/batches", "a batch is billed long after it was taken"),
	denied("GET", "/messages/batches", othersToo),
	denied("GET", "/messages/batches/{batch}", othersToo),
	denied("DELETE", "/messages/batches/{batch}", othersToo),
	denied("POST", "/messages/batches/{batch}/cancel", othersToo),
	denied("GET", "/messages/batches/{batch}/results", othersToo),
	denied("POST", "/complete", "the older API of completions has no bound here"),
	denied("POST", "/files", storing),
	denied("GET", "/files", othersToo),
	denied("GET", "/files/{file}", othersToo),
	denied("DELETE", "/files/{file}", othersToo),
	denied("GET", "/files/{file}/content", othersToo),
	denied("POST", "/skills", storing),
	denied("GET", "/skills", othersToo),
	denied("GET", "/skills/{skill}", othersToo),
	denied("DELETE", "/skills/{skill}", othersToo),
	denied("POST", "/skills/{skill}/versions", storing),
	denied("GET", "/skills/{skill}/versions", othersToo),
	denied("GET", "/skills/{skill}/versions/{version}", othersToo),
	denied("DELETE", "/skills/{skill}/versions/{version}", othersToo),
}

// Why operations are denied.
const (
	othersToo = "all tenants share the upstream's key, and it reaches what others have stored"
	storing   = "what it stores becomes the input of calls whose bodies do not show it"
)

func denied(method, path, why string) providers.Route {
	return providers.Route{Method: method, Path: path, Kind: providers.Denied, Operation: strings.TrimPrefix(path, "/"), Why: why}
}

// Match finds the operation of a request, with or without the leading /v1. Other APIs
// have paths that this one has too: then the version is what tells them apart, which
// every client of this API sends.
func (Dialect) Match(h providers.Head) (providers.Operation, bool) {
	path := h.Path
	if rest, ok := strings.CutPrefix(path, "/v1/"); ok {
		path = "/" + rest
	}
	if !own(path) && len(h.Header["Anthropic-Version"]) == 0 {
		return providers.Operation{}, false
	}
	return providers.FindRoute(routes, h.Method, path)
}

// own reports whether a path is no other API's.
func own(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first == "messages" || first == "complete"
}
