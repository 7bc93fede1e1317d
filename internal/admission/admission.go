// Package admission is what governs a call over HTTP, whoever sends it: the proxy for its
// clients, or package client for the program that it is in. It says what a request
// costs at most on each upstream that may serve it, in terms of a dialect on one side and
// of the gate on the other; what of its head and body may be read at all; and how a
// denial reads. So both bound a call alike, and tell of it alike.
//
// It sends nothing, holds nothing and names no vendor.
package admission

import (
	"net/http"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Door is what a call comes in by.
type Door struct {
	Chains  *Chains // what it remembers of earlier answers; nil: nothing
	BaseURL string  // of the upstreams that may serve the call, as they have it for its dialect; "": any
	// ClientPays says that the call brings a credential of its client's own.
	ClientPays bool
}

// NewBid is what a request of a key asks leave for, less what bounds it and where it goes: what
// the rules see of it. The error is a *call.Denial.
func NewBid(rules *gate.Rules, key *policy.Key, r providers.Request, o Origin, h http.Header) (gate.Bid, error) {
	o, err := o.read(key.Tenant, r, h)
	if err != nil {
		return gate.Bid{}, err
	}
	b := gate.Bid{Rules: rules, Key: key, Facts: r.Facts()}
	b.Facts.Model = rules.Policy.Named(b.Facts.Model)
	r.Rename(b.Facts.Model) // also back, where older rules had another
	b.Choices, b.Depth, b.Attempt = 1, o.Depth, o.Attempt
	b.AddImplied()
	user, err := userOf(key, r, h)
	if err != nil {
		return gate.Bid{}, err
	}
	b.SetNames(o.Run, user, o.Nonce)
	return b, nil
}
