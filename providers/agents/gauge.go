package agents

import (
	"strconv"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Headers by which Codex hears how far a limit of its account is used up, and of what window.
// From 75 percent on it says so in a line of its own and at the foot of its screen.
// Claude Code reads headers of that kind too, but shows them to subscribers alone.
const (
	codexUsed   = "X-Codex-Primary-Used-Percent"
	codexWindow = "X-Codex-Primary-Window-Minutes"
	codexReset  = "X-Codex-Primary-Reset-At" // Unix seconds
)

// HasGauge says whether the client that sent a request shows limits that it hears of in
// the headers of an answer.
func HasGauge(h providers.Head) bool { return sentBy(h, codex) }

// ShowGauge puts a gauge into the header of an answer for such a client. One that the
// upstream has put there stays, unless less of it is used.
func ShowGauge(answer map[string][]string, g call.Gauge) {
	if told := answer[codexUsed]; len(told) > 0 && !emptier(told[0], g.Percent) {
		return
	}
	answer[codexUsed] = []string{strconv.FormatInt(g.Percent, 10)}
	set := func(name string, value int64) {
		delete(answer, name)
		if value > 0 {
			answer[name] = []string{strconv.FormatInt(value, 10)}
		}
	}
	set(codexWindow, int64(plainMonth(g.Window)/time.Minute))
	set(codexReset, g.ResetsAt/1000)
}

// emptier reports whether a number, as an upstream writes it, is below a percentage.
func emptier(told string, percent int64) bool {
	whole, _, _ := strings.Cut(told, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	return err == nil && n < percent
}

// plainMonth is a month as Codex knows it by its name: of 30 days.
func plainMonth(d time.Duration) time.Duration {
	const day = 24 * time.Hour
	if 27*day < d && d < 32*day {
		return 30 * day
	}
	return d
}
