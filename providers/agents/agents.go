// Package agents is what some programs want to be told otherwise than the libraries of the
// API that they speak: coding agents above all, which read a status or a header in ways of
// their own. It goes by their User-Agent, and holds no more than was measured with the
// programs themselves (docs/clients.md).
package agents

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Manner is how a client is told of a denial, where the API leaves a choice.
type Manner struct {
	Status int
	// Bare: the client shows the body as it is, so that is to be the message alone.
	Bare bool
	// Final: the client retries until nobody waits for it any more, so it is told not to.
	Final bool
}

// Told is a denial as such a client is told of it.
func (m Manner) Told(d *call.Denial) *call.Denial {
	if !m.Final {
		return d
	}
	final := *d
	final.Retry = call.RetryNever
	return &final
}

// manners are the programs that read a status otherwise than the API's own libraries, which
// go by x-should-retry, take 402 and 403 for final, and show the message of an error.
// docs/clients.md has what each does, as measured with the programs themselves.
var manners = []struct {
	agent string // the name that begins its User-Agent
	of    map[call.Class]Manner
}{
	// Claude Code takes a 403 for a login that failed, and says so first, and a 404 for a wrong model. What has 400
	// or 422 it sends again up to four times, each time with less in it. A 405 it shows. Where a retry is meant it
	// tries ten times, for three minutes in which it says nothing, and it does not count its tries.
	{"claude-cli", map[call.Class]Manner{call.Forbidden: {Status: 405}, call.Down: {Status: 503, Final: true}}},
	// Codex shows the body of a 400 and ends its turn. What has another status of the client's fault
	// it sends again five times, but for a 429, of which it loses the message. A 503 it
	// sends again too, which helps where budgets are held.
	{codex, map[call.Class]Manner{
		call.Malformed: {Status: 400, Bare: true}, call.Exhausted: {Status: 400, Bare: true}, call.Forbidden: {Status: 400, Bare: true}, call.NotFound: {Status: 400, Bare: true},
		call.Conflict: {Status: 400, Bare: true}, call.TooLarge: {Status: 400, Bare: true}, call.Unreadable: {Status: 400, Bare: true}, call.TooMany: {Status: 400, Bare: true},
		call.Unidentified: {Status: 400, Bare: true}, call.Held: {Status: 503},
	}},
	// Gemini CLI goes by the status alone. What has a 503 it sends again ten times, for four minutes in which it says
	// nothing; a 424, that what the request depends on has failed, it shows at once.
	{"GeminiCLI", map[call.Class]Manner{call.Down: {Status: 424, Final: true}}},
}

// codex begins the names of Codex's programs: codex_exec, codex-tui, codex_cli_rs and others.
const codex = "codex"

// MannerOf is how the client that sent a request understands a denial.
func MannerOf(h providers.Head, d *call.Denial) Manner {
	for _, m := range manners {
		if manner, found := m.of[d.Class]; found && sentBy(h, m.agent) {
			return manner
		}
	}
	return Manner{Status: d.Class.Status()}
}

// ShowsFailures says whether the client that sent a request shows the message of a response
// that failed only where its code says that the prompt was at fault: Codex has a sentence
// of its own for a quota.
func ShowsFailures(h providers.Head) bool { return sentBy(h, codex) }

// sentBy says whether the User-Agent of a request begins with that name, or with one that
// goes on from it after a sign.
func sentBy(h providers.Head, agent string) bool {
	for _, value := range h.Header["User-Agent"] {
		rest, found := cutPrefixFold(value, agent)
		if found && rest != "" && strings.ContainsAny(rest[:1], "/_- ") {
			return true
		}
	}
	return false
}

func cutPrefixFold(text, prefix string) (rest string, found bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}
