package admission

import (
	"net/http"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Find finds the dialect that a request speaks, and the operation that it is for. There
// is a dialect in any case, so that its client can be answered. The error is a
// *call.Denial of an operation that no API has, or that is denied.
func Find(dialects providers.Registry, h providers.Head) (providers.Dialect, providers.Operation, error) {
	h.Path = PlainPath(h.Path)
	dialect, operation, known := dialects.Match(h)
	switch {
	case !known:
		return dialect, operation, noOperation(dialects, h)
	case operation.Kind == providers.Denied:
		return dialect, operation, notAllowed(&operation)
	}
	return dialect, operation, nil
}

// PlainPath is a path as a client means it whose base URL ends in a slash, or has two in
// a row: without those. What is escaped stays. It is looked up, and never sent.
func PlainPath(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return path
}

// noOperation denies what no dialect has, and says what helps: the methods that its path
// takes, or what is served.
func noOperation(dialects providers.Registry, h providers.Head) error {
	helps := "it serves " + strings.Join(served(dialects), ", ")
	if methods := methodsOf(dialects, h); len(methods) > 0 {
		helps = "that path takes " + strings.Join(methods, ", ")
	}
	return Deny(call.NotFound, "unknown_route", call.RetryNever,
		"%s %s is no operation of an API that this proxy speaks; %s", Clip(h.Method), Clip(withoutKeys(h.Path)), helps)
}

// withoutKeys is a path that may be said back, also where a tenant's key stands in it.
func withoutKeys(path string) string {
	for key := range policy.SecretsIn(path) {
		path = strings.ReplaceAll(path, key, "KEY")
	}
	return path
}

// served are the operations that do something, by method and path.
func served(dialects providers.Registry) (list []string) {
	for _, d := range dialects {
		for _, route := range d.Routes() {
			name := route.Method + " " + route.Path
			if route.Kind != providers.Denied && route.Kind != providers.Probed && !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

// methodsOf are the methods that a path takes.
func methodsOf(dialects providers.Registry, h providers.Head) (list []string) {
	for _, method := range [...]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		h.Method = method
		if _, _, known := dialects.Match(h); known {
			list = append(list, method)
		}
	}
	return list
}

// notAllowed denies an operation that the API has, by its name.
func notAllowed(op *providers.Operation) error {
	return Deny(call.Forbidden, "route_not_allowed", call.RetryNever, "%s %s is denied: %s", op.Method, op.Path, op.Why)
}
