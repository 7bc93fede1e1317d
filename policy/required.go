package policy

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// RunsOfAgents in Tenant.RunsFrom is the session that a coding agent tells by itself, in the
// header that is known of it.
const RunsOfAgents = "agent"

// RunsOfBodies begins what in Tenant.RunsFrom is the path of a field of the body, as
// body.conversation.
const RunsOfBodies = "body."

// namesRun reads one of the places in which a run is looked for.
func (l *loader) namesRun(s *scalar) string {
	text, ok := l.text(s)
	switch path, inBody := strings.CutPrefix(text, RunsOfBodies); {
	case ok && text == RunsOfAgents:
		return text
	case ok && inBody && path != "":
		return l.name(s)
	}
	return l.header(s)
}

// userHeader reads the header that names the end user, with what stood before where it is
// not given.
func (l *loader) userHeader(s *scalar, before string) string {
	if !s.given() {
		return before
	}
	return l.header(s)
}

// requireRun denies a request without a run where the tenant wants one. Names only divide
// what a key may spend: a limit that no run is part of counts every request, whatever it
// says. A limit of runs counts none without a run, which this closes. A list of
// models belongs to none.
func requireRun(t *Tenant, f *call.Facts) *call.Denial {
	if !t.RunRequired || f.Run != "" || call.Listed(f.Endpoint) {
		return nil
	}
	return &call.Denial{
		Reason:  RunRequired,
		Message: "the policy wants to know which run each request belongs to: name it in X-Aegis-Run or in the base URL, as /run/NAME/v1" + t.alsoNamed(),
	}
}

// alsoNamed tells of the other places in which a run may be named.
func (t *Tenant) alsoNamed() string {
	if len(t.RunsFrom) == 0 {
		return ""
	}
	return ", or send what runs_from of the policy looks for: " + joinSome(t.RunsFrom)
}

// requireUser denies a request without an end user where the tenant wants one. An action
// has none, and neither has a list of models.
func requireUser(t *Tenant, f *call.Facts) *call.Denial {
	if !t.UserRequired || f.User != "" || f.Action() != "" || call.Listed(f.Endpoint) {
		return nil
	}
	return &call.Denial{
		Reason:  UserRequired,
		Message: "the policy wants to know the end user of each request, from a key that it trusts: " + t.userNamed(),
	}
}

// userNamed says where the end user is to be named.
func (t *Tenant) userNamed() string {
	switch {
	case t.UserHeader == "":
		return "name it in the field " + t.UserField
	case t.UserField == "":
		return "name it in the header " + t.UserHeader
	}
	return "name it in the header " + t.UserHeader + ", or in the field " + t.UserField
}
