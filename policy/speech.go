package policy

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// defaultDialect is what an upstream speaks that says nothing of it.
const defaultDialect = "openai"

// capFields are the dialects that an upstream can speak, each with the fields by which
// its servers limit output, where they differ in that.
var capFields = map[string][]string{
	"anthropic": nil,
	"gemini":    nil,
	"openai":    {"max_completion_tokens", "max_tokens", "none"},
}

// Dialects are the names of the dialects that an upstream can speak.
func Dialects() []string { return slices.Sorted(maps.Keys(capFields)) }

// Speech is how an upstream speaks one dialect, and what it is known to obey there.
type Speech struct {
	Dialect     string
	BaseURL     string // what the dialect's paths are appended to, without a slash at its end
	CapField    string // the field whose cap it obeys, where the dialect has several
	StreamUsage bool   // it tells the usage of a stream where it is asked to
	CancelStops bool   // it stops billing when the connection is closed, and shows all its output
	// Allow is what the operator admits there beyond the dialect's lists: what the upstream
	// says for all its dialects, and what it says for this one beside.
	Allow call.Allow
}

// In is how the upstream speaks a dialect, nil if it does not.
func (u *Upstream) In(dialect string) *Speech {
	for i := range u.Speaks {
		if u.Speaks[i].Dialect == dialect {
			return &u.Speaks[i]
		}
	}
	return nil
}

// CancelStops reports whether it stops billing when the connection is closed, whatever
// it speaks.
func (u *Upstream) CancelStops() bool {
	for i := range u.Speaks {
		if !u.Speaks[i].CancelStops {
			return false
		}
	}
	return len(u.Speaks) > 0
}

// Speaking returns those of some upstreams that speak a dialect.
func Speaking(upstreams []*Upstream, dialect string) []*Upstream {
	all := make([]*Upstream, 0, len(upstreams))
	for _, u := range upstreams {
		if u.In(dialect) != nil {
			all = append(all, u)
		}
	}
	return all
}

// speeches reads what an upstream speaks. What it says of itself holds for each dialect
// that says nothing else, and what it allows for every one; without any it speaks the
// default one.
func (l *loader) speeches(n *yaml.Node, u *Upstream, d *upstreamDoc) {
	common := dialectDoc{CapField: d.CapField, StreamUsage: d.StreamUsage, CancelStopsBilling: d.CancelStopsBilling}
	above := l.extras(&d.allowance, call.Allow{})
	if !d.Dialects.given() {
		l.speech(n, u, defaultDialect, &common, above)
		return
	}
	for n, own := range d.Dialects.read(&l.reader) {
		if !l.require(n, &own.Name.entry, "name", "say which dialect, as in openai") {
			continue
		}
		name := choice(&l.reader, &own.Name, "", Dialects()...)
		if name == "" || u.In(name) != nil && l.twice(&own.Name, name) {
			continue
		}
		own.inherit(&common)
		l.speech(n, u, name, own, l.extras(&own.allowance, above))
	}
	if len(u.Speaks) == 0 {
		l.refuse(&d.Dialects.entry, "names no dialect; list one, or leave it out for %s", defaultDialect)
	}
}

// twice refuses a dialect that is listed already.
func (l *loader) twice(s *scalar, name string) bool {
	l.refuse(&s.entry, "%s is listed twice; remove one", quote(name))
	return true
}

// inherit takes over what is not given.
func (d *dialectDoc) inherit(common *dialectDoc) {
	for _, pair := range [...]struct{ own, common *scalar }{
		{&d.CapField, &common.CapField},
		{&d.StreamUsage, &common.StreamUsage},
		{&d.CancelStopsBilling, &common.CancelStopsBilling},
	} {
		if !pair.own.given() {
			*pair.own = *pair.common
		}
	}
}

// speech reads one dialect of an upstream.
func (l *loader) speech(n *yaml.Node, u *Upstream, dialect string, d *dialectDoc, allow call.Allow) {
	s := Speech{
		Dialect:     dialect,
		BaseURL:     u.BaseURL,
		StreamUsage: l.flag(&d.StreamUsage, true),
		CancelStops: l.flag(&d.CancelStopsBilling, false),
		Allow:       allow,
	}
	if d.BaseURL.given() {
		s.BaseURL = l.baseURL(&d.BaseURL)
	}
	if fields := capFields[dialect]; len(fields) > 0 && l.require(n, &d.CapField.entry, "cap_field", "say which field limits its output: "+oneOf(fields)) {
		s.CapField = choice(&l.reader, &d.CapField, "", fields...)
	}
	u.Speaks = append(u.Speaks, s)
}
