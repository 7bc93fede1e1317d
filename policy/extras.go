package policy

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// Bounds of an upstream's allow.
const (
	maxExtraNames = 256 // of one kind
	maxExtraBytes = 160
)

// What extra and betas may say.
const (
	extraDeny  = "deny"
	extraPass  = "pass"
	extraStrip = "strip"
)

// extras reads what the operator admits at an upstream beyond the lists of its dialect.
func (l *loader) extras(u *Upstream, d *upstreamDoc) {
	allow := d.Allow.read(&l.reader)
	for kind, list := range [call.ExtraKinds]*words{
		&allow.Members, &allow.Parts, &allow.Tools, &allow.Tiers, &allow.Queries, &allow.Headers, &allow.Betas,
	} {
		u.Allow.Names[kind] = l.extraNames(list)
	}
	for i, name := range u.Allow.Names[call.ExtraHeader] {
		u.Allow.Names[call.ExtraHeader][i] = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	}
	u.Allow.Scalars = choice(&l.reader, &d.Extra, extraDeny, extraDeny, extraPass) == extraPass
	switch choice(&l.reader, &d.Betas, extraStrip, extraStrip, extraDeny, extraPass) {
	case extraDeny:
		u.Allow.Betas = call.DenyBetas
	case extraPass:
		u.Allow.Betas = call.PassBetas
	}
}

// extraNames returns a list of names, each of which may end in *.
func (l *loader) extraNames(w *words) []string {
	var list []string
	for _, s := range l.each(w) {
		name, ok := l.text(&s)
		switch plain := strings.TrimSuffix(name, "*"); {
		case !ok:
		case name == "" || len(name) > maxExtraBytes || !only(plain, patternMarks) || strings.Contains(plain, "*"):
			l.refuse(&s.entry, "%s is no name; use 1 to %d letters, digits, \".\", \"_\", \":\", \"/\", \"@\", \"=\", \"-\", and \"*\" at the end for any that begin so",
				quote(name), maxExtraBytes)
		case len(list) == maxExtraNames:
			l.refuse(&s.entry, "more than %d names", maxExtraNames)
			return list
		default:
			list = append(list, name)
		}
	}
	return list
}
