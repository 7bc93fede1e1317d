package anthropic

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Messages is the operation that this dialect governs.
const Messages = "messages"

// routes are the API's operations, by their paths behind the version.
var routes = append([]providers.Route{
	{Method: "POST", Path: "/messages", Kind: providers.Governed, Operation: Messages},
	{Method: "POST", Path: "/messages/count_tokens", Kind: providers.Free, Operation: call.CountTokens},
	{Method: "GET", Path: "/models", Kind: providers.Listed, Operation: call.ListModels},
	{Method: "GET", Path: "/models/{model...}", Kind: providers.Listed, Operation: call.DescribeModel},
	// What Claude Code asks before its first message, without a key.
	{Method: "HEAD", Path: "/", Kind: providers.Probed, Operation: "hello"},
	{Method: "HEAD", Path: "/api/hello", Kind: providers.Probed, Operation: "hello"},
}, denied()...)

var table = providers.NewTable(routes)

// denied makes the routes of the operations that are denied. One whose path is all words
// goes before those that have a name for one of them.
func denied() (list []providers.Route) {
	for why, operations := range deniedOperations {
		for line := range strings.Lines(strings.TrimSpace(operations)) {
			fields := strings.Fields(line)
			path := fields[len(fields)-1]
			for _, method := range fields[:len(fields)-1] {
				list = append(list, providers.Route{Method: method, Path: path, Kind: providers.Denied, Operation: strings.TrimPrefix(path, "/"), Why: why})
			}
		}
	}
	slices.SortFunc(list, func(a, b providers.Route) int {
		if n := strings.Compare(spelled(a.Path), spelled(b.Path)); n != 0 {
			return n
		}
		return strings.Compare(a.Method, b.Method)
	})
	return list
}

// spelled is a path such that names come behind words.
func spelled(path string) string { return strings.ReplaceAll(path, "{", "\x7f") }

// Match finds the operation of a request, with or without the leading /v1. Other APIs
// have paths that this one has too: then the version is what tells them apart, which
// every client of this API sends.
func (Dialect) Match(h providers.Head) (providers.Operation, bool) {
	path := h.Path
	if strings.HasPrefix(path, "/v1/") {
		path = path[len("/v1"):]
	}
	op, ok := table.Find(h.Method, path)
	if ok && op.Kind != providers.Probed && !own(path) && len(h.Header["Anthropic-Version"]) == 0 {
		return providers.Operation{}, false
	}
	return op, ok
}

// own reports whether a path is no other API's.
func own(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first == "messages" || first == "complete"
}
