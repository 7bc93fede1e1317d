package policy

import (
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// noDepthLimit is the MaxDepth of a tenant without one.
const noDepthLimit = -1

// MaxDepthFact bounds a depth that a caller may state.
const MaxDepthFact = 1_000_000

// capDepth denies a request that comes from too deep a recursion. The rule: an
// agent's own request has depth 0, one of an agent that it called depth 1, and
// so on; a depth above the tenant's max_depth is denied. Callers state their
// depth themselves, so this stops loops that happen, not callers that lie.
func capDepth(t *Tenant, f *call.Facts) *call.Denial {
	if t.MaxDepth == noDepthLimit || f.Depth <= t.MaxDepth {
		return nil
	}
	return &call.Denial{
		Reason:  DepthExceeded,
		Message: fmt.Sprintf("the request has depth %d; max_depth allows %d, and that does not change with time", f.Depth, t.MaxDepth),
	}
}

// LimitsDepth reports whether the tenant's requests need a depth.
func (t *Tenant) LimitsDepth() bool { return t.MaxDepth != noDepthLimit }
