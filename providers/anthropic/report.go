package anthropic

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// tell puts lines into a report, and says whether it can hold them: not those of several
// runs, nor of dearer services, regions, writes and fees.
func tell(r *providers.Report, lines []call.Line) bool {
	first := &lines[0]
	u := &first.Usage
	r.Model = first.Model
	r.Usage = providers.Usage{
		Input:      u.InputTokens(),
		Cached:     u[call.CachedInput],
		CacheWrite: u[call.CacheWrite] + u[call.CacheWrite1h],
		Output:     u.OutputTokens(),
		Reasoning:  u[call.Reasoning],
	}
	return len(lines) == 1 && first.Service == "" && first.Region == "" &&
		u[call.CacheWrite1h] == 0 && u[call.Searches] == 0 && u[call.CodeSessions] == 0
}
