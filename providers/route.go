package providers

import (
	"net/url"
	"strings"
)

// Kind is how the proxy takes a route.
type Kind uint8

// Kinds of routes.
const (
	Governed Kind = iota + 1 // it can cost money, and is bounded
	Free                     // it costs nothing at some provider, leaves nothing behind, and passes without a hold
	Listed                   // a list of models, which the proxy answers from its policy
	Probed                   // it asks whether there is a server, who answers anybody, with a status alone
	Denied                   // it can cost money that nothing here bounds, or reaches what is another's
)

// Route is one operation of an API.
type Route struct {
	Method string
	// Path has a segment {name} for any one segment, {name}:verb for what begins one, and
	// at its end {name...} for all that is left. A version that may be left out is not
	// part of it.
	Path string
	Kind Kind
	// Operation is its name in policies and receipts.
	Operation string
	// Why says, of one that is denied, what nothing bounds.
	Why string
}

// Operation is a route that a request has taken. The zero Operation is none.
type Operation struct {
	Route
	Params map[string]string // what stands for the names in its path, unescaped
}

// Table is the routes of an API, in an order in which the first that fits is taken. A
// request is compared with the few that begin as its path does: an API has hundreds.
type Table struct {
	routes []Route
	byWord map[string][]*Route // by their path's first segment; with those of named among them
	named  []*Route            // whose first segment may be anything
}

// NewTable returns the table of routes, which must not change any more.
func NewTable(routes []Route) *Table {
	t := &Table{routes: routes, byWord: map[string][]*Route{}}
	for i := range routes {
		if word := firstOf(routes[i].Path); !strings.HasPrefix(word, "{") {
			t.byWord[word] = nil
		}
	}
	for i := range routes {
		t.enter(&routes[i])
	}
	return t
}

// enter puts a route behind those that may begin alike.
func (t *Table) enter(r *Route) {
	word := firstOf(r.Path)
	if !strings.HasPrefix(word, "{") {
		t.byWord[word] = append(t.byWord[word], r)
		return
	}
	t.named = append(t.named, r)
	for other := range t.byWord {
		t.byWord[other] = append(t.byWord[other], r)
	}
}

// firstOf is the first segment of a path, behind its slash.
func firstOf(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// Routes are all of them, in order.
func (t *Table) Routes() []Route { return t.routes }

// Find returns the operation of a method and an escaped path. A path that ends in
// a slash, or has two in a row, is another path. HEAD is a GET, less the body of the
// answer, of what the proxy itself answers.
func (t *Table) Find(method, path string) (Operation, bool) {
	word, err := url.PathUnescape(firstOf(path))
	if err != nil {
		return Operation{}, false
	}
	routes, known := t.byWord[word]
	if !known {
		routes = t.named
	}
	for _, r := range routes {
		if !r.takes(method) {
			continue
		}
		if params, ok := matchPath(r.Path, path); ok {
			return Operation{*r, params}, true
		}
	}
	return Operation{}, false
}

func (r *Route) takes(method string) bool {
	return r.Method == method || method == "HEAD" && r.Method == "GET" && (r.Kind == Listed || r.Kind == Denied)
}

// rest ends the name of what stands for all that is left of a path.
const rest = "...}"

// matchPath compares a path with a pattern, segment by segment.
func matchPath(pattern, path string) (params map[string]string, ok bool) {
	for {
		want, wantRest, wantMore := strings.Cut(pattern, "/")
		got, gotRest, gotMore := strings.Cut(path, "/")
		if strings.HasSuffix(want, rest) {
			return takeRest(params, want[1:len(want)-len(rest)], path)
		}
		if wantMore != gotMore {
			return nil, false
		}
		segment, err := url.PathUnescape(got)
		if err != nil {
			return nil, false
		}
		name, value, found := matchSegment(want, segment)
		if !found {
			return nil, false
		}
		if name != "" {
			if params == nil {
				params = map[string]string{}
			}
			params[name] = value
		}
		if !wantMore {
			return params, true
		}
		pattern, path = wantRest, gotRest
	}
}

// takeRest adds what a name stands for that takes all that is left. None of its segments
// is empty or dots.
func takeRest(params map[string]string, name, path string) (map[string]string, bool) {
	var parts []string
	for segment := range strings.SplitSeq(path, "/") {
		part, err := url.PathUnescape(segment)
		if _, _, ok := matchSegment("{"+name+"}", part); err != nil || !ok {
			return nil, false
		}
		parts = append(parts, part)
	}
	whole := strings.Join(parts, "/")
	for part := range strings.SplitSeq(whole, "/") { // a slash may have been escaped
		if part == "" || part == "." || part == ".." {
			return nil, false
		}
	}
	if params == nil {
		params = map[string]string{}
	}
	params[name] = whole
	return params, true
}

// matchSegment compares one segment. What a name stands for is not empty, nor one of
// the dots that servers take for a step up or none.
func matchSegment(want, got string) (name, value string, ok bool) {
	rest, named := strings.CutPrefix(want, "{")
	if !named {
		return "", "", want == got
	}
	name, suffix, _ := strings.Cut(rest, "}")
	value, ok = strings.CutSuffix(got, suffix)
	return name, value, ok && value != "" && value != "." && value != ".."
}

// Registry are the dialects that the proxy speaks. Where two may claim one request the
// first has it. The last is the one whose clients are answered when nothing is known of
// a request.
type Registry []Dialect

// maxPathBytes bounds a path that is looked for, in bytes: more than any API's longest
// names take, and what many servers take at most.
const maxPathBytes = 8 << 10

// Match finds the dialect and the operation of a request.
func (r Registry) Match(h Head) (Dialect, Operation, bool) {
	if len(h.Path) > maxPathBytes {
		return r.Default(), Operation{}, false
	}
	for _, d := range r {
		if op, ok := d.Match(h); ok {
			return d, op, true
		}
	}
	return r.nearest(h.Path), Operation{}, false
}

// Default is the dialect of what belongs to none.
func (r Registry) Default() Dialect { return r[len(r)-1] }

// maxNear is how many segments of an unknown path are looked at.
const maxNear = 4

// nearest is the dialect that has the most of a path's segments in common with one of
// its routes, and of several the last.
func (r Registry) nearest(path string) Dialect {
	segments := strings.SplitN(strings.TrimPrefix(path, "/"), "/", maxNear+1)
	segments = segments[:min(len(segments), maxNear)]
	best, most := r.Default(), 0
	for _, d := range r {
		for _, route := range d.Routes() {
			if n := sharedSegments(route.Path, segments); n > 0 && n >= most {
				best, most = d, n
			}
		}
	}
	return best
}

// sharedSegments is how many segments a pattern and a path have alike, from the
// pattern's first on but for its version. What stands before that in the path counts for
// nothing.
func sharedSegments(pattern string, path []string) (n int) {
	want, rest, more := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	if isVersion(want) && more {
		want, rest, more = strings.Cut(rest, "/")
	}
	for len(path) > 0 && path[0] != want {
		path = path[1:]
	}
	for len(path) > n && path[n] == want && want != "" { // the root is no segment
		n++
		if !more {
			break
		}
		want, rest, more = strings.Cut(rest, "/")
	}
	return n
}

// isVersion reports whether a segment is one such as v1 or v1beta.
func isVersion(segment string) bool {
	return len(segment) > 1 && segment[0] == 'v' && '0' <= segment[1] && segment[1] <= '9'
}
