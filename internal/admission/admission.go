// Package admission is what governs a call over HTTP, whoever sends it: the proxy for its
// clients, or package client for the program that it is in. It says what a request
// costs at most on each upstream that may serve it, in terms of a dialect on one side and
// of the gate on the other; what of its head and body may be read at all; and how a
// denial reads. So both bound a call alike, and tell of it alike.
//
// It sends nothing, holds nothing and names no vendor.
package admission

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Ask is a request that was read, and whose it is.
type Ask struct {
	Key       *policy.Key
	Dialect   string // its name
	Operation string // as policies and receipts name it
	Origin    Origin
	Request   providers.Request
	Chains    *Chains // what is known of earlier answers; nil: nothing
	BaseURL   string  // of the upstreams that may serve it, as they have it for the dialect; "": any
}

// facts are what the rules see of it. The upstream is not known yet.
func (a *Ask) facts() call.Facts {
	facts := a.Request.Facts()
	facts.Dialect, facts.Endpoint, facts.Choices = a.Dialect, a.Operation, 1
	facts.AddImplied()
	facts.Depth, facts.Attempt = a.Origin.Depth, a.Origin.Attempt
	user := ""
	if field := a.Key.Tenant.UserField; field != "" && a.Key.Trusted {
		user, _ = a.Request.Field(field)
	}
	facts.SetNames(a.Origin.Run, user, a.Origin.Nonce)
	return facts
}
