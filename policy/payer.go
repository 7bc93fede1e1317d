package policy

import (
	"fmt"
	"net/url"
	"slices"
)

// PaidAlike divides upstreams of a dialect, the primary first, into those that may serve a call, one
// after the other, and those that may not: what pays for a call never changes on the way, and a
// client's credential is shown to no other provider, nor to another host.
func PaidAlike(upstreams []*Upstream, dialect string) (alike, others []*Upstream) {
	for _, u := range upstreams {
		if u.paidAs(upstreams[0], dialect) {
			alike = append(alike, u)
		} else {
			others = append(others, u)
		}
	}
	return alike, others
}

func (u *Upstream) paidAs(primary *Upstream, dialect string) bool {
	if !u.ClientPays || !primary.ClientPays {
		return u.ClientPays == primary.ClientPays
	}
	return u.Provider == primary.Provider && u.In(dialect).host() == primary.In(dialect).host()
}

// host is the host, and the port if it is given, of what speaks.
func (s *Speech) host() string {
	u, err := url.Parse(s.BaseURL)
	if err != nil {
		return s.BaseURL
	}
	return u.Host
}

// NoFallbacks are the upstreams that are never asked after the primary, because they get another
// credential: a sentence for each, and for whose requests that is so.
func (p *Policy) NoFallbacks() (notes []string) {
	for _, m := range p.Models {
		for _, t := range p.Tenants {
			notes = append(notes, m.noFallbacks(t)...)
		}
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}

// noFallbacks are those of one model and one tenant.
func (m *Model) noFallbacks(t *Tenant) (notes []string) {
	whose := ""
	if t.Upstreams != nil {
		whose = " and tenant " + t.Name
	}
	for _, dialect := range Dialects() {
		route := Speaking(m.of(t), dialect)
		_, others := PaidAlike(route, dialect)
		for _, u := range others {
			notes = append(notes, fmt.Sprintf("upstream %s is no fallback for %s, since another credential is sent there: model %s%s", u.Name, route[0].Name, quote(m.Match), whose))
		}
	}
	return notes
}
