package dialects_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
)

var _ = flag.Bool("update", false, "write the page's lists anew")

const routesPage = "../../docs/routes.md"

// byPath are routes in their order, a line a path, with its methods in front.
func byPath(routes []providers.Route) (lines []string) {
	var paths []string
	methods := map[string][]string{}
	for _, r := range routes {
		if methods[r.Path] == nil {
			paths = append(paths, r.Path)
		}
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	for _, path := range paths {
		lines = append(lines, "`"+strings.Join(methods[path], " ")+" "+path+"`")
	}
	return lines
}

// lists are what the page says of the routes of one dialect.
func lists(b *strings.Builder, d providers.Dialect) {
	fmt.Fprintf(b, "\n## The dialect `%s`\n\n| list | operations |\n|---|---|\n", d.Name())
	routes := d.Routes()
	for _, row := range []struct {
		kind providers.Kind
		name string
	}{
		{providers.Governed, "governed"},
		{providers.Free, "free, passed on"},
		{providers.Listed, "free, answered from the policy"},
		{providers.Probed, "free, answered to anybody"},
	} {
		only := slices.DeleteFunc(slices.Clone(routes), func(r providers.Route) bool { return r.Kind != row.kind })
		if len(only) > 0 {
			fmt.Fprintf(b, "| %s | %s |\n", row.name, strings.Join(byPath(only), " "))
		}
	}
	for _, why := range reasons(routes) {
		only := slices.DeleteFunc(slices.Clone(routes), func(r providers.Route) bool { return r.Why != why })
		fmt.Fprintf(b, "| denied: %s | %s |\n", why, strings.Join(byPath(only), " "))
	}
}

// reasons are why routes are denied, each once.
func reasons(routes []providers.Route) (list []string) {
	for _, r := range routes {
		if r.Kind == providers.Denied && !slices.Contains(list, r.Why) {
			list = append(list, r.Why)
		}
	}
	slices.Sort(list)
	return list
}

// TestRoutesPage: docs/routes.md has the routes as they are.
func TestRoutesPage(t *testing.T) {
	var b strings.Builder
	for _, d := range dialects.All() {
		lists(&b, d)
	}
	b.WriteString("\n")
	providertest.Page(t, routesPage, "<!-- routes: go test ./providers/dialects -run TestRoutesPage -update -->\n", "<!-- end of routes -->", b.String())
}
