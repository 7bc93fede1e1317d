// Package admission is what governs a call over HTTP, whoever sends it: the proxy for its
// clients, or package client for the program that it is in. It says what a request
// costs at most on each upstream that may serve it, in terms of a dialect on one side and
// of the gate on the other; what of its head and body may be read at all; and how a
// denial reads. So both bound a call alike, and tell of it alike.
//
// It sends nothing, holds nothing and names no vendor.
package admission

import (
	"fmt"
	"sync"

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
	BaseURL   string // of the upstreams that may serve it, as they have it for the dialect; "": any
}

// facts are what the rules see of it. The upstream is not known yet.
func (a *Ask) facts() policy.Facts {
	seen := a.Request.Facts()
	facts := policy.Facts{
		Run:          a.Origin.Run,
		Endpoint:     a.Operation,
		Model:        seen.Model,
		Stream:       seen.Stream,
		Capabilities: append([]string{call.NeedOf(a.Operation)}, seen.Needs...),
		Tools:        seen.Tools,
		Depth:        a.Origin.Depth,
		Nonce:        a.Origin.Nonce,
		Attempt:      a.Origin.Attempt,
	}
	if a.Key.Tenant.CountsTools() {
		facts.ToolResults = toolResults(seen.ToolResults, a.Request.Digest)
	}
	if field := a.Key.Tenant.UserField; field != "" && a.Key.Trusted {
		facts.User, _ = a.Request.Field(field)
	}
	return facts
}

// toolResults are the results of tools that a request brings. Those that have no id are
// told apart by the request's content and their place.
func toolResults(results []providers.ToolResult, digest func() string) []policy.ToolResult {
	var list []policy.ToolResult
	digest = sync.OnceValue(digest)
	for i, result := range results {
		id := result.CallID
		if id == "" {
			id = fmt.Sprintf("%s/%d", digest(), i)
		}
		list = policy.AddToolResult(list, id, result.Name)
	}
	return list
}
