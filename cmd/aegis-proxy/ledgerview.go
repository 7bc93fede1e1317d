package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/admin"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// ledgerView is what a running proxy says of a tenant: the counters of a plan's
// claims, in their order, and the thrown kill switches. It is nil where no proxy
// was asked.
type ledgerView struct{ admin.Counters }

// now is the ledger's time, by which windows are told; without a proxy to ask,
// this machine's.
func (c explainConfig) now(ctx context.Context, tenant *policy.Tenant) (time.Time, error) {
	seen, err := c.ask(ctx, tenant, nil)
	if err != nil || seen == nil {
		return time.Now(), err
	}
	return time.UnixMilli(seen.At), nil
}

// ask asks a running proxy for the counters of claims; nil without one to ask.
func (c explainConfig) ask(ctx context.Context, tenant *policy.Tenant, claims []budget.Claim) (*ledgerView, error) {
	if c.Admin == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := newCounterQuery(ctx, c.Admin, tenant, claims)
	if err != nil {
		return nil, err
	}
	status, body, err := askProxy(req)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refusedBy(status, body)
	}
	var seen ledgerView
	if err := json.Unmarshal(body, &seen.Counters); err != nil {
		return nil, err
	}
	if len(seen.Read) != len(claims) {
		return nil, errors.New("the proxy's answer is not about the counters that it was asked for")
	}
	return &seen, nil
}

func newCounterQuery(ctx context.Context, address string, tenant *policy.Tenant, claims []budget.Claim) (*http.Request, error) {
	q := admin.CounterQuery{Tenant: tenant.Name}
	for _, claim := range claims {
		q.Counters = append(q.Counters, admin.CounterOf(claim))
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	url := adminAt(address) + "/admin/v1/counters"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// stops are those of the switches that are thrown.
func (s *ledgerView) stops(switches []string) []admin.Thrown {
	if s == nil {
		return nil
	}
	var list []admin.Thrown
	for _, name := range switches {
		if i := slices.IndexFunc(s.Switches, func(t admin.Thrown) bool { return t.Switch == name }); i >= 0 {
			list = append(list, s.Switches[i])
		}
	}
	return list
}

// killVerdict tells all switches that stop the request, where its sender would
// read of the first.
func killVerdict(seen *ledgerView, stops []admin.Thrown) string {
	if seen == nil {
		return notAsked
	}
	if len(stops) == 0 {
		return allowed
	}
	thrown := make([]string, len(stops))
	for i, t := range stops {
		thrown[i] = fmt.Sprintf("%s by event %d at %s", t.Switch, t.Event, t.At)
	}
	return verdictOf(policy.KilledBy(stops[0].Switch)) + ": thrown " + strings.Join(thrown, ", ")
}
