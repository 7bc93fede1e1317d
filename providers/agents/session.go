package agents

import "github.com/aegis-proxy/aegis-proxy/providers"

// sessions are the headers, canonical, in which programs tell by themselves which
// conversation a request belongs to. What an agent starts beside itself to help it has the
// session of the whole, which goes first.
var sessions = []struct {
	agent   string // the name that begins its User-Agent
	headers []string
}{
	{"claude-cli", []string{"X-Claude-Code-Session-Id"}},
	{codex, []string{"Session-Id", "Session_id", "Thread-Id"}},
}

// SessionHeaders are where the client that sent a request tells its session, the best first.
// There are none for a client that is not known.
func SessionHeaders(h providers.Head) []string {
	for i := range sessions {
		if sentBy(h, sessions[i].agent) {
			return sessions[i].headers
		}
	}
	return nil
}
