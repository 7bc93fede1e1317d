package policy_test

import (
	"fmt"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestDepth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule   string
		depth  int64
		reason call.Reason
	}{
		{"mode: enforce", 1_000_000, ""},
		{"max_depth: 0", 0, ""},
		{"max_depth: 0", 1, policy.DepthExceeded},
		{"max_depth: 3", 3, ""},
		{"max_depth: 3", 4, policy.DepthExceeded},
	} {
		t.Run(fmt.Sprintf("%s, depth %d", c.rule, c.depth), func(t *testing.T) {
			f := ask
			f.Depth = c.depth
			mustDecide(t, tenant(t, c.rule), f, c.reason, fmt.Sprintf("the request has depth %d", c.depth))
		})
	}
}

func TestDepthIsReadWhereItIsLimited(t *testing.T) {
	t.Parallel()
	if tenant(t, "mode: enforce").LimitsDepth() || !tenant(t, "max_depth: 0").LimitsDepth() {
		t.Error("only max_depth limits the depth")
	}
}
