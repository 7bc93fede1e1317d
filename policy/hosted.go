package policy

import (
	"fmt"
	"maps"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// Bounds of a hosted tool that is priced.
const (
	maxHostedCalls  = 100
	maxHostedTokens = 10_000_000
)

// What becomes of a hosted tool that a request offers.
const (
	hostedDeny  = "deny"
	hostedStrip = "strip"
	hostedPrice = "price"
)

// hosted lays what a plan or a tenant says of tools that run at the provider over what
// stood before.
func (l *loader) hosted(list *list[hostedDoc], before call.HostedTools) call.HostedTools {
	if !list.given() {
		return before
	}
	tools := maps.Clone(before)
	if tools == nil {
		tools = call.HostedTools{}
	}
	said := map[string]bool{}
	for n, d := range list.read(&l.reader) {
		kind := ""
		if l.require(n, &d.Kind.entry, "kind", "write which tools it is about, as in web_search") {
			kind = choice(&l.reader, &d.Kind, "", call.HostedKinds[:]...)
		}
		if said[kind] {
			l.refuse(&d.Kind.entry, "%s is there twice; remove one", kind)
		}
		if kind != "" {
			said[kind], tools[kind] = true, l.hostedTool(n, kind, d)
		}
	}
	return tools
}

func (l *loader) hostedTool(n *yaml.Node, kind string, d *hostedDoc) (tool call.HostedTool) {
	if !l.require(n, &d.When.entry, "when_offered", "write price, strip or deny") {
		return tool
	}
	switch choice(&l.reader, &d.When, hostedDeny, hostedPrice, hostedStrip, hostedDeny) {
	case hostedPrice:
		tool.When = call.PriceHosted
	case hostedStrip:
		tool.When = call.StripHosted
	}
	if tool.When != call.PriceHosted {
		for _, s := range [...]*scalar{&d.Calls, &d.Tokens, &d.Fee} {
			if s.given() {
				l.refuse(&s.entry, "is only of a tool that is priced: write when_offered: price, or remove it")
			}
		}
		return tool
	}
	fee, priced := call.HostedFee(kind)
	if !priced {
		l.refuse(&d.When.entry, "nothing bounds what %s costs yet; write strip or deny", kind)
		return tool
	}
	if l.require(n, &d.Calls.entry, "calls", "write how many calls of the tool one request may pay for") &&
		l.require(n, &d.Tokens.entry, "tokens", "write how many tokens the result of one call may add to the input") {
		tool.Calls = l.count(&d.Calls, 0, 1, maxHostedCalls)
		tool.Tokens = l.count(&d.Tokens, 0, 0, maxHostedTokens)
		tool.Fee = l.fee(&d.Fee, fee)
	}
	return tool
}

// fee is the price of a unit, in pico-USD for each; 0 if none is given.
func (l *loader) fee(s *scalar, u call.Unit) int64 {
	text, ok := l.text(s)
	if !ok {
		return 0
	}
	rate, err := pricing.ParsePrice(u, text)
	switch {
	case err != nil:
		l.refuse(&s.entry, "%v", err)
	case rate == 0:
		l.refuse(&s.entry, "a fee of 0 is no fee; write what %d %s cost, or remove it", call.Table[u].Per, u)
	}
	return rate
}

// capHosted denies a call that may pay for more calls of a tool at the provider than its
// tenant's rules price.
func capHosted(t *Tenant, f *call.Facts) *call.Denial {
	for _, kind := range call.HostedKinds {
		fee, priced := call.HostedFee(kind)
		if !priced {
			continue
		}
		calls := int64(0)
		for i := range f.Beside {
			calls += f.Beside[i].Usage[fee]
		}
		if rule := t.HostedTools[kind]; calls > 0 && (rule.When != call.PriceHosted || calls > rule.Calls) {
			return &call.Denial{
				Reason:  ToolNotAllowed,
				Message: fmt.Sprintf("%d calls of %s in one request are not allowed for this tenant", calls, kind),
			}
		}
	}
	return nil
}
