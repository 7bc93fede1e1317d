package gate

import (
	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// checkForm refuses what no decision of its kind tells: what the gate never writes is
// somebody else's word.
func checkForm(d *audit.Decision) *fault {
	f := &d.Facts
	action := f.Action() != ""
	switch {
	case d.Verdict == audit.Deny && d.Expires != 0:
		return faultf(WrongSum, "a denial has no expiry")
	case d.Verdict == audit.Deny && d.Lease != "" && f.Action() != policy.Extension:
		return faultf(WrongSum, "only an extension that is denied has a lease")
	case d.Existing && d.Verdict == audit.Deny:
		return faultf(WrongSum, "only leave can be about a lease that was there")
	case d.Existing && d.Lease == "":
		return faultf(WrongSum, "what is about a lease that was there names it")
	case action && d.PricedAt != 0:
		return faultf(WrongSum, "an action has no price")
	case action && ofCall(f):
		return faultf(WrongSum, "an action has none of the facts of a call")
	case f.Free && !isFree(f):
		return faultf(WrongPrice, "it is said to cost nothing, and endpoint %q does everywhere", f.Endpoint)
	case !action && (f.Target != "" || f.Tool != ""):
		return faultf(WrongSum, "only an action has a target and a tool of its own")
	}
	return nil
}

// ofCall reports whether facts have what only a call of a model has.
func ofCall(f *call.Facts) bool {
	counts := f.Attempt | f.InputTokens | f.OutputCap | f.Choices | f.ExtraOutput | f.OutputTokens | f.InputRereads | f.OutputRereads | f.LeastCap
	return f.Model+f.Upstream+f.Dialect+f.Service+f.Region+f.InputBound != "" || f.Nonce != "" ||
		f.Stream || f.Counted || f.Uncapped || f.Free || counts != 0 || f.Kinds != 0 ||
		len(f.ToolResults)+len(f.Services)+len(f.Beside) > 0
}

// checkNames refuses names that an event of its kind does not have.
func checkNames(b *audit.Event) *fault {
	kind := budget.EventKind(b.Name)
	leases := kind == budget.Granted || kind == budget.Extended || ends(kind) || kind == budget.Corrected
	switches := kind == budget.Thrown || kind == budget.Lifted
	switch {
	case b.Lease != "" && !leases:
		return faultf(WrongSum, "a %s has no lease", b.Name)
	case b.Switch != "" && !switches:
		return faultf(WrongSum, "a %s has no switch", b.Name)
	case !b.Recovered && kind != budget.Extended:
		return faultf(WrongSum, "a %s is told by a sweep, which marks it as recovered", b.Name)
	}
	return nil
}
