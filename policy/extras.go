package policy

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// maxExtraNames bounds the names of one kind in an upstream's allow.
const maxExtraNames = 256

// What extra and betas may say.
const (
	extraDeny  = "deny"
	extraPass  = "pass"
	extraStrip = "strip"
)

// allowance is what the operator admits beyond the lists of a dialect, as a file says it of
// an upstream, or of one of its dialects.
type allowance struct {
	Allow section[allowDoc] `yaml:"allow"`
	Extra scalar            `yaml:"extra"`
	Betas scalar            `yaml:"betas"`
}

// extras reads an allowance, on top of what holds already.
func (l *loader) extras(d *allowance, above call.Allow) call.Allow {
	allow, names := above, d.Allow.read(&l.reader)
	for kind, list := range [call.ExtraKinds]*words{
		&names.Members, &names.Parts, &names.Tools, &names.Tiers, &names.Queries, &names.Headers, &names.Betas,
	} {
		own := l.extraNames(list)
		if kind == int(call.ExtraHeader) {
			for i, name := range own {
				own[i] = strings.ReplaceAll(strings.ToLower(name), "_", "-")
			}
		}
		allow.Names[kind] = slices.Concat(above.Names[kind], own)
	}
	if d.Extra.given() {
		allow.Scalars = choice(&l.reader, &d.Extra, extraDeny, extraDeny, extraPass) == extraPass
	}
	if d.Betas.given() {
		allow.Betas = betasOf[choice(&l.reader, &d.Betas, extraStrip, extraStrip, extraDeny, extraPass)]
	}
	return allow
}

var betasOf = map[string]call.Betas{extraStrip: call.StripBetas, extraDeny: call.DenyBetas, extraPass: call.PassBetas}

// extraNames returns a list of names, each of which may end in *.
func (l *loader) extraNames(w *words) []string {
	var list []string
	for _, s := range l.each(w) {
		name, ok := l.text(&s)
		switch {
		case !ok:
		case !call.IsPattern(name):
			l.refuse(&s.entry, "%s is no name; use up to %d bytes of characters that can be printed, and \"*\" at the end alone, for any that begin so", quote(name), call.MaxAllowBytes)
		case len(list) == maxExtraNames:
			l.refuse(&s.entry, "more than %d names", maxExtraNames)
			return list
		default:
			list = append(list, name)
		}
	}
	return list
}
