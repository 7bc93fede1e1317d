package openai

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// standardTiers are the names that providers have for the service that is not told apart
// in prices; with "auto" a request leaves the choice to the provider's project, and an
// answer does not tell.
var standardTiers = []string{"default", "standard", "standard_only", "on_demand", "auto"}

// ServiceOf is the service tier of a name as price lists have it, "" for the standard one.
// OpenAI serves what is asked for as fast at the priority tier
// (https://platform.openai.com/docs/guides/priority-processing).
func ServiceOf(tier string) string {
	tier = strings.ToLower(tier)
	switch {
	case slices.Contains(standardTiers, tier):
		return ""
	case tier == "fast":
		return "priority"
	}
	return tier
}

// pinning are the providers whose projects can have a dearer tier as their own, and that
// take "default" for the standard one (https://platform.openai.com/docs/api-reference/chat/create).
var pinning = []string{"openai"}

// PinnedTier is the tier to send to a provider where the request leaves it to the
// provider's project: "default", or "" where the body stays as it is.
func (r *Request) PinnedTier(at *providers.Terms) string {
	pinned := r.Endpoint == ChatCompletions || r.Endpoint == Responses || r.Endpoint == CompactResponses
	if pinned && r.leavesTier() && slices.Contains(pinning, at.Provider) && !asSent(at) {
		return "default"
	}
	return ""
}

func (p *parser) serviceTier(name string) error {
	if err := p.Word(&p.ServiceTier, name); err != nil {
		return err
	}
	if len(p.ServiceTier) > providers.MaxTierBytes {
		return wire.Errorf(name, "%s is longer than %d bytes", name, providers.MaxTierBytes)
	}
	return nil
}

// tierAt is the tier that is asked for at an upstream, as it is sent.
func (r *Request) tierAt(at *providers.Terms) string {
	return strings.Clone(cmp.Or(r.PinnedTier(at), r.ServiceTier))
}

func (r *Request) leavesTier() bool { return r.ServiceTier == "" || r.ServiceTier == "auto" }

// Services are the tiers, beside the standard one, that the request may be served at and
// that may be dearer: the one that it asks for, or where it leaves that to the provider's
// project, those that the policy allows there. Flex is nowhere dearer.
func (r *Request) Services(at *providers.Terms) (list []string) {
	tiers := []string{r.ServiceTier}
	switch {
	case r.PinnedTier(at) != "":
		return nil
	case r.leavesTier():
		tiers = at.Allow.Tiers()
	}
	for _, tier := range tiers {
		service := ServiceOf(tier)
		if service != "" && service != "flex" && !slices.Contains(list, service) {
			list = append(list, service)
		}
	}
	return list
}

// readTier takes the tier that an answer says it was served at. The last counts.
func (f *findings) readTier(value []byte) {
	v := wire.Parse(value)
	if v.Type != gjson.String || v.Str == "" || v.Str == "auto" {
		return
	}
	if len(v.Str) > providers.MaxModelBytes {
		f.broken = true // nobody knows what it costs
		return
	}
	if service := cmp.Or(ServiceOf(v.Str), call.Standard); service != f.key.Service {
		f.key.Service = strings.Clone(service)
	}
}
