package policy

import (
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// ModelFor returns what the policy says of a model: the first entry whose
// pattern matches, or nil.
func (p *Policy) ModelFor(name string) *Model { return p.byModel.find(p.Models, name) }

// Route returns the entry of a model and where a tenant's requests for it go,
// primary first: the model's upstreams, or those of them that the tenant
// names, in the tenant's order. None means that the request is denied.
func (p *Policy) Route(t *Tenant, model string) (*Model, []*Upstream) {
	m := p.ModelFor(model)
	return m, m.of(t)
}

// of are the model's upstreams for a tenant, primary first.
func (m *Model) of(t *Tenant) (route []*Upstream) {
	if m == nil || t.Upstreams == nil {
		return m.upstreams()
	}
	for _, name := range t.Upstreams {
		for _, u := range m.Upstreams {
			if u.Name == name {
				route = append(route, u)
			}
		}
	}
	return route
}

// Weight is the share of one of the model's upstreams; 0 is called where the others fail.
func (m *Model) Weight(u *Upstream) int64 {
	if i := slices.Index(m.Upstreams, u); i >= 0 && i < len(m.Weights) {
		return m.Weights[i]
	}
	return 0
}

func (m *Model) upstreams() []*Upstream {
	if m == nil {
		return nil
	}
	return m.Upstreams
}

// routes reports whether one of some upstreams has a name; for "" whether there is
// any.
func routes(upstreams []*Upstream, name string) bool {
	return slices.ContainsFunc(upstreams, func(u *Upstream) bool { return name == "" || u.Name == name })
}

// Unrouted denies a call of a model that Route gives no upstream which speaks the
// call's dialect, or not the one that is named; nil if it does. The rule: a tenant that
// names upstreams uses no other, and with them no other provider, since each upstream
// has one.
func (p *Policy) Unrouted(t *Tenant, f *call.Facts) *call.Denial {
	m, route := p.Route(t, f.Model)
	switch {
	case routes(route, f.Upstream):
		if f.Dialect == "" || routes(Speaking(route, f.Dialect), f.Upstream) {
			return nil
		}
		return &call.Denial{Reason: NoRoute, Message: "no upstream of this model speaks the API that was called (" + f.Dialect + ")"}
	case routes(m.upstreams(), f.Upstream):
		return &call.Denial{
			Reason:  UpstreamNotAllowed,
			Message: fmt.Sprintf("the upstreams of model %s are not allowed for this tenant", quote(f.Model)),
		}
	}
	return &call.Denial{Reason: NoRoute, Message: fmt.Sprintf("no upstream of the policy serves model %s to this tenant", quote(f.Model))}
}
