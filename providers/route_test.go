package providers_test

import (
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

func TestFindRoute(t *testing.T) {
	routes := []providers.Route{
		{Method: "POST", Path: "/chat/completions", Operation: "chat"},
		{Method: "GET", Path: "/models/{model}", Operation: "model"},
		{Method: "GET", Path: "/whole/{model...}", Operation: "whole", Kind: providers.Listed},
		{Method: "POST", Path: "/models/{model}:generate", Operation: "generate"},
		{Method: "POST", Path: "/projects/{p}/models/{m}", Operation: "project"},
		{Method: "POST", Path: "/{kind}/latest", Operation: "latest"},
		{Method: "POST", Path: "/chat/{id}", Operation: "stored"},
		{Method: "HEAD", Path: "/", Operation: "hello"},
	}
	table := providers.NewTable(routes)
	for _, row := range []struct {
		name, method, path, want string
		params                   map[string]string
	}{
		{"plain", "POST", "/chat/completions", "chat", nil},
		{"escaped where it need not be", "POST", "/chat/complet%69ons", "chat", nil},
		{"another method", "GET", "/chat/completions", "", nil},
		{"longer", "POST", "/chat/completions/1", "", nil},
		{"a slash at the end", "POST", "/chat/completions/", "", nil},
		{"two slashes", "POST", "/chat//completions", "", nil},
		{"a slash that is escaped", "POST", "/chat%2Fcompletions", "", nil},
		{"dots", "POST", "/chat/../chat/completions", "", nil},
		{"a bad escape", "POST", "/chat/completions%zz", "", nil},
		{"a name", "GET", "/models/gpt-4o", "model", map[string]string{"model": "gpt-4o"}},
		{"an escaped name", "GET", "/models/a%2Fb", "model", map[string]string{"model": "a/b"}},
		{"no name", "GET", "/models/", "", nil},
		{"all that is left", "GET", "/whole/a", "whole", map[string]string{"model": "a"}},
		{"a name with slashes", "GET", "/whole/a/b%2Fc/d", "whole", map[string]string{"model": "a/b/c/d"}},
		{"nothing left", "GET", "/whole/", "", nil},
		{"nothing at all left", "GET", "/whole", "", nil},
		{"an empty part", "GET", "/whole/a//b", "", nil},
		{"dots in a part", "GET", "/whole/a/../b", "", nil},
		{"the head of what is answered here", "HEAD", "/whole/a", "whole", map[string]string{"model": "a"}},
		{"the head of anything else", "HEAD", "/models/a", "", nil},
		{"dots for a name", "GET", "/models/..", "", nil},
		{"escaped dots for a name", "GET", "/models/%2e%2E", "", nil},
		{"a dot for a name", "POST", "/models/.:generate", "", nil},
		{"a verb", "POST", "/models/g-1:generate", "generate", map[string]string{"model": "g-1"}},
		{"an escaped verb", "POST", "/models/g-1%3Agenerate", "generate", map[string]string{"model": "g-1"}},
		{"another verb", "POST", "/models/g-1:stream", "", nil},
		{"a verb alone", "POST", "/models/:generate", "", nil},
		{"a step up behind escaped slashes", "GET", "/whole/x%2F..%2F..%2Ffiles", "", nil},
		{"a name first", "POST", "/files/latest", "latest", map[string]string{"kind": "files"}},
		{"a name first, of a word that others begin with", "POST", "/chat/latest", "latest", map[string]string{"kind": "chat"}},
		{"a name behind one that comes before", "POST", "/chat/1", "stored", map[string]string{"id": "1"}},
		{"a first word that is escaped", "POST", "/ch%61t/completions", "chat", nil},
		{"no slash in front", "POST", "chat/completions", "", nil},
		{"the root", "HEAD", "/", "hello", nil},
		{"two names", "POST", "/projects/x/models/y", "project", map[string]string{"p": "x", "m": "y"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			op, ok := table.Find(row.method, row.path)
			if ok != (row.want != "") || op.Operation != row.want || !maps.Equal(op.Params, row.params) {
				t.Errorf("found %v %q %v, want %q %v", ok, op.Operation, op.Params, row.want, row.params)
			}
		})
	}
}

// speaker is a dialect that has routes alone.
type speaker struct {
	providers.Dialect
	name  string
	table *providers.Table
}

func (s speaker) Name() string              { return s.name }
func (s speaker) Routes() []providers.Route { return s.table.Routes() }
func (s speaker) Match(h providers.Head) (providers.Operation, bool) {
	return s.table.Find(h.Method, h.Path)
}

// TestRegistry: a request goes to the dialect that knows its path, and an unknown one is
// answered by the dialect that it is closest to.
func TestRegistry(t *testing.T) {
	registry := providers.Registry{
		speaker{name: "first", table: providers.NewTable([]providers.Route{{Method: "POST", Path: "/v1/messages", Operation: "messages"}, {Method: "GET", Path: "/v1/models", Operation: "models"}, {Method: "HEAD", Path: "/", Operation: "hello"}})},
		speaker{name: "last", table: providers.NewTable([]providers.Route{{Method: "POST", Path: "/chat/completions", Operation: "chat"}, {Method: "GET", Path: "/v1/models", Operation: "models"}})},
	}
	for _, row := range []struct{ name, method, path, dialect, operation string }{
		{"the first's", "POST", "/v1/messages", "first", "messages"},
		{"the last's", "POST", "/chat/completions", "last", "chat"},
		{"both have it", "GET", "/v1/models", "first", "models"},
		{"near the first's", "POST", "/v1/messages/batches", "first", ""},
		{"another method", "DELETE", "/v1/messages", "first", ""},
		{"near both's", "POST", "/v1/models", "last", ""},
		{"near the last's", "POST", "/v2/chat/1/messages", "last", ""},
		{"near nothing", "POST", "/v9/everything", "last", ""},
		{"nothing", "GET", "", "last", ""},
		{"the root in another way", "GET", "/", "last", ""},
		{"too long for any", "POST", "/v1/messages/" + strings.Repeat("x", 8<<10), "last", ""},
		{"too deep to be near", "POST", strings.Repeat("/x", 8) + "/v1/messages", "last", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, op, ok := registry.Match(providers.Head{Method: row.method, Path: row.path})
			if d.Name() != row.dialect || op.Operation != row.operation || ok != (row.operation != "") {
				t.Errorf("%s %q %v, want %s %q", d.Name(), op.Operation, ok, row.dialect, row.operation)
			}
		})
	}
}

// FuzzFindRoute: what stands for a name is a whole segment, or ends in the verb, and
// nothing else leads to a route.
func FuzzFindRoute(f *testing.F) {
	f.Add("/models/a%2Fb:generate")
	f.Add("/models/..%2f:generate")
	f.Add("/models//:generate")
	table := providers.NewTable([]providers.Route{{Method: "POST", Path: "/models/{model}:generate", Operation: "generate"}})
	f.Fuzz(func(t *testing.T, path string) {
		op, ok := table.Find("POST", path)
		model, tail, _ := strings.Cut(strings.TrimPrefix(path, "/models/"), "/")
		if !ok {
			return
		}
		unescaped, err := url.PathUnescape(model)
		if !strings.HasPrefix(path, "/") || tail != "" || err != nil || op.Params["model"]+":generate" != unescaped || op.Params["model"] == "" {
			t.Errorf("%q leads to %v", path, op)
		}
	})
}

// BenchmarkUnknownRoute is a path that no dialect has, of the longest kind.
func BenchmarkUnknownRoute(b *testing.B) {
	var routes []providers.Route
	for _, name := range strings.Fields(strings.Repeat("files batches threads ", 100)) {
		routes = append(routes, providers.Route{Method: "POST", Path: "/" + name + "/{id}/cancel", Operation: name})
	}
	registry := providers.Registry{speaker{name: "a", table: providers.NewTable(routes)}, speaker{name: "b", table: providers.NewTable(routes)}}
	path := strings.Repeat("/v1", 2_700)
	for b.Loop() {
		registry.Match(providers.Head{Method: "POST", Path: path})
	}
}
