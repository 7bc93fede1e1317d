package policy

import "github.com/aegis-proxy/aegis-proxy/call"

// For is the policy as it routes an operation. One that costs nothing at some provider
// goes to the operator's free_upstream where no entry of Models has its model.
func (p *Policy) For(operation string) *Policy {
	if p.free == nil || !call.FreeSomewhere(operation) {
		return p
	}
	return p.free
}

// freeUpstream reads where free operations go that no entry of the models does.
func (l *loader) freeUpstream(s *scalar) {
	name, given := l.text(s)
	if !given {
		return
	}
	upstream := l.policy.Upstreams[name]
	if upstream == nil {
		l.refuse(&s.entry, "there is no upstream %s%s", quote(name), l.knownUpstreams())
		return
	}
	free := *l.policy
	free.Models = append(l.policy.Models[:len(l.policy.Models):len(l.policy.Models)], &Model{Match: "*", Upstreams: []*Upstream{upstream}})
	free.byModel = indexOf(free.Models)
	l.policy.free = &free
}
