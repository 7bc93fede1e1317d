package gate

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// decided counts a decision. One that stands for several denials is recomputed as
// the first of them that it is; that there were more is its word.
func (r *ReplayReport) decided(d *audit.Decision) {
	if d.Verdict == audit.Allow {
		r.Allowed++
		return
	}
	r.Denied[strings.Join(d.Reasons, ",")] += d.Told()
	r.Counted += d.Told() - 1
}
