package openai

import (
	"net/url"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// SeeQuery reads the query of a request, as it came. Its parameters are extras, but for
// those that may hold a credential or hide the usage: they go nowhere. The error is a
// *ParseError.
func (r *Request) SeeQuery(raw string) error {
	if raw == "" {
		return nil
	}
	r.query = raw
	seen := map[string]bool{}
	var kept []string
	out := false // something is taken out
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, err := parameter(pair)
		if err != nil {
			return err
		}
		plain := wire.Squeezed(name)
		if wire.Secret(name) || wire.HidesUsage(name) {
			out = true
			continue
		}
		if seen[plain] {
			return wire.Errorf("", "the query has two parameters of one name, of which servers read either; send one")
		}
		seen[plain] = true
		kept = append(kept, pair)
		if name != "beta" || !r.Endpoint.isResponse() { // there it lets members be asked for that are read
			r.extra(call.ExtraQuery, name, false)
		}
	}
	if out {
		r.query = strings.Join(kept, "&")
	}
	return nil
}

// Query is what is left of the query that SeeQuery read, each parameter as it came.
func (r *Request) Query() string { return r.query }

// parameter returns the name of a pair, which servers read in one way.
func parameter(pair string) (string, error) {
	raw, value, _ := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(raw)
	if _, wrong := url.QueryUnescape(value); err != nil || wrong != nil || strings.Contains(pair, ";") {
		return "", wire.Errorf("", "the query cannot be read in one way: it has a %% that begins no escape, or a semicolon, which some servers take for an &")
	}
	return name, nil
}
