package policy

// ModelFor returns what the policy says of a model: the first entry whose
// pattern matches, or nil.
func (p *Policy) ModelFor(name string) *Model {
	for _, m := range p.Models {
		if Match(m.Match, name) {
			return m
		}
	}
	return nil
}

// Route returns the entry of a model and where a tenant's requests for it go,
// primary first: the model's upstreams, or those of them that the tenant
// names, in the tenant's order. None means that the request is denied.
func (p *Policy) Route(t *Tenant, model string) (*Model, []*Upstream) {
	m := p.ModelFor(model)
	if m == nil || t.Providers == nil {
		return m, m.upstreams()
	}
	var route []*Upstream
	for _, name := range t.Providers {
		for _, u := range m.Upstreams {
			if u.Name == name {
				route = append(route, u)
			}
		}
	}
	return m, route
}

func (m *Model) upstreams() []*Upstream {
	if m == nil {
		return nil
	}
	return m.Upstreams
}
