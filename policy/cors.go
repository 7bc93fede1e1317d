package policy

import (
	"net/url"
	"slices"
	"strings"
)

const (
	// maxOrigins bounds the origins that a policy names.
	maxOrigins = 256
	// maxOriginBytes bounds each of them.
	maxOriginBytes = 256
)

// CORS says which web pages may read answers in a browser (the Fetch standard, section
// 3.2). No page may have the browser send cookies with a request, so that any may be
// allowed: what opens the door is the key, which a page must have.
type CORS struct {
	origins []string // as browsers write them; "*" alone: all
}

// Any reports whether every page may read answers.
func (c *CORS) Any() bool { return len(c.origins) == 1 && c.origins[0] == "*" }

// Allows reports whether the pages of an origin, as a browser writes it, may read
// answers.
func (c *CORS) Allows(origin string) bool { return c.Any() || slices.Contains(c.origins, origin) }

// cors reads which origins are allowed.
func (l *loader) cors(s *section[corsDoc]) {
	if !s.given() {
		return
	}
	doc, c := s.read(&l.reader), &CORS{}
	if !l.require(s.node, &doc.Origins.entry, "origins", "list the origins of web pages, as in https://app.example.com") {
		return
	}
	for _, entry := range l.each(&doc.Origins) {
		text, ok := l.text(&entry)
		switch {
		case !ok:
		case text != "*" && !isOrigin(text):
			l.refuse(&entry.entry, "%s is no origin as browsers write it; write scheme, host in lower case and, if it is not the usual one, port, as in https://app.example.com, or * alone", quote(text))
		case slices.Contains(c.origins, text):
			l.refuse(&entry.entry, "origin %s is named twice; remove one", quote(text))
		default:
			c.origins = append(c.origins, text)
		}
	}
	switch {
	case len(c.origins) > 1 && slices.Contains(c.origins, "*"):
		l.refuse(&doc.Origins.entry, "* allows every origin; write it alone, or remove it")
	case len(c.origins) > maxOrigins:
		l.refuse(&doc.Origins.entry, "%d origins; at most %d", len(c.origins), maxOrigins)
	case len(l.each(&doc.Origins)) == 0:
		l.refuse(&doc.Origins.entry, "the list is empty; name an origin, or remove cors")
	}
	l.policy.CORS = c
}

// usualPorts are those that browsers leave out.
var usualPorts = map[string]string{"http": "80", "https": "443"}

// isOrigin reports whether a browser may write an origin so: scheme, host and port in
// lower case, without a path. "null" is what it writes of pages that have none, whosever
// they are.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxOriginBytes || strings.ToLower(text) != text || u.Host == "" || strings.Contains(text, "*") {
		return false
	}
	return text == u.Scheme+"://"+u.Host && (u.Port() == "" || u.Port() != usualPorts[u.Scheme]) && !strings.HasSuffix(u.Host, ":")
}
