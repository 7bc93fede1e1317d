package providers

import (
	"net/textproto"
	"slices"
	"strings"
)

// Forwarded returns the headers but for those that are withheld, which have canonical
// names. Servers behind CGI or WSGI read a _ in a name as they do a -.
func Forwarded(header map[string][]string, withheld []string) map[string][]string {
	out := make(map[string][]string, len(header)+1)
	for name, values := range header {
		if !slices.Contains(withheld, Plain(name)) {
			out[name] = values
		}
	}
	return out
}

// Named returns the headers of those names, which are canonical.
func Named(header map[string][]string, names []string) map[string][]string {
	out := make(map[string][]string, len(names))
	for _, name := range names {
		if values := header[name]; len(values) > 0 {
			out[name] = values
		}
	}
	return out
}

// Plain is the canonical name that a server behind CGI or WSGI may take a header for.
func Plain(name string) string {
	if strings.Contains(name, "_") {
		return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return name
}
