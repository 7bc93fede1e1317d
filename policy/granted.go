package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// CheckGranted reports in what the claims of a grant are not those of the tenant's
// policy, where no receipt tells who asked for what. The claims themselves name the
// key, the run and the end user, as far as a counter asks for them. With those they
// must be all that the policy gives, but for four kinds, of which only the request
// tells whether they concern it: limits of some models or of some endpoints, tool calls with the
// nonce, and rates, which a fallback does not count again.
//
// That the names are the right ones, and that none was left out together with
// every claim that has it, is not known.
func (t *Tenant) CheckGranted(action bool, at time.Time, claims []budget.Placed) error {
	g := granted{tenant: t, claims: claims, now: at, left: map[string]bool{}}
	for i := range claims {
		g.left[claims[i].Key] = true
		if claims[i].AtEnd == budget.Adjust {
			g.facts.Cost = claims[i].Amount
		}
	}
	if action { // of which kind is not known; the rules tell apart only those that no policy names
		g.facts.Endpoint, g.facts.Needs = call.ActionEndpoint+ActionKinds[0], []string{call.NeedActions}
	}
	if err := g.names(); err != nil {
		return err
	}
	return g.check()
}

// granted is a grant of which only the claims are known.
type granted struct {
	tenant *Tenant
	claims []budget.Placed
	facts  call.Facts
	now    time.Time
	left   map[string]bool // keys of claims that no counter has given
}

// names finds the names in the claims' keys. Where two have other names of one kind
// they cannot be of one request.
func (g *granted) names() error {
	for i := range g.claims {
		parts := strings.Split(strings.TrimPrefix(g.claims[i].Key, observedHead), "/")
		for _, part := range parts[1:] {
			dim, name, _ := strings.Cut(part, ":")
			place := map[string]*string{scopeKey: &g.facts.Key, scopeRun: (*string)(&g.facts.Run), scopeUser: (*string)(&g.facts.User)}[dim]
			if place == nil {
				break // the rest is window and patterns
			}
			if *place != "" && *place != name {
				return fmt.Errorf("its claims are of two of kind %s: %q and %q", dim, *place, name)
			}
			*place = name
		}
	}
	return nil
}

func (g *granted) check() error {
	key := g.tenant.KeyOf(g.facts.Key)
	if key == nil {
		return fmt.Errorf("the policy has no key %q of this tenant", g.facts.Key)
	}
	for _, rule := range []func(*Tenant, *call.Facts) *call.Denial{capRequest, g.allowAction} {
		if d := rule(g.tenant, &g.facts); d != nil && g.tenant.Mode != Observe {
			return fmt.Errorf("the policy denies it: %s", d.Reason)
		}
	}
	if err := g.checkOnce(key); err != nil {
		return err
	}
	if err := g.checkCounters(key); err != nil {
		return err
	}
	for _, c := range g.claims {
		if g.left[c.Key] && !hashedKey(c.Key) {
			return fmt.Errorf("the policy gives no claim on %q", c.Key)
		}
	}
	return nil
}

// allowAction denies an action to a tenant that may not do any.
func (g *granted) allowAction(t *Tenant, f *call.Facts) *call.Denial {
	if f.Action() == "" {
		return nil
	}
	return allowCapabilities(t, f)
}

// checkOnce compares the claims on a nonce and on an action's id, whose keys are
// the requests' own.
func (g *granted) checkOnce(key *Key) error {
	used := 0
	for i := range g.claims {
		c := &g.claims[i]
		want := Plan{Claims: make([]budget.Claim, 0, 1)}
		nonce, attempt, spends := NonceOf(c.Key)
		id, uses := ActionIDOf(c.Key)
		f := g.facts
		switch {
		case uses && f.Action() != "":
			f.ActionID = call.Name(id)
			want.useOnce(&f)
			used++
		case spends && f.Action() == "" && g.tenant.Replay != nil:
			f.Nonce, f.Attempt = call.Name(nonce), attempt
			g.tenant.Replay.claim(want.next(), &caller{key: key}, &f)
			want.Claims = want.Claims[:1]
		default:
			continue
		}
		if err := g.same(c, &want.Claims[0]); err != nil {
			return err
		}
	}
	if g.facts.Action() != "" && used != 1 {
		return fmt.Errorf("%d claims on its id, where every action has one", used)
	}
	return nil
}

// checkCounters compares the claims on the policy's own limits.
func (g *granted) checkCounters(key *Key) error {
	who := &caller{key: key, now: g.now}
	who.names(&g.facts)
	counted, missing := false, ""
	for _, counter := range g.tenant.counters {
		f := g.facts
		f.Model, f.Endpoint = counter.models, cmp.Or(counter.endpoint, f.Endpoint)
		var want budget.Claim
		if !counter.claim(&want, who, &f) {
			continue
		}
		i := slices.IndexFunc(g.claims, func(c budget.Placed) bool { return c.Key == want.Key })
		once := counter.unit.once && counter.unit != toolCalls && f.Action() == ""
		switch {
		case i < 0 && (counter.models != "" || counter.endpoint != "" || counter.unit == toolCalls):
		case i < 0 && once:
			missing = want.Key
		case i < 0:
			return fmt.Errorf("it lacks a claim on %q, which the policy gives", want.Key)
		default:
			counted = counted || once && counter.models == "" && counter.endpoint == ""
			if counter.unit == toolCalls {
				want.Amount = g.claims[i].Amount
			}
			if err := g.same(&g.claims[i], &want); err != nil {
				return err
			}
		}
	}
	if counted && missing != "" {
		return fmt.Errorf("it lacks a claim on %q, and has others that count requests", missing)
	}
	return nil
}

// same takes a claim off those that are left, if it is the one that the policy
// gives.
func (g *granted) same(got *budget.Placed, want *budget.Claim) error {
	delete(g.left, got.Key)
	switch {
	case got.Amount != want.Amount || got.Limit != want.Limit || got.AtEnd != want.AtEnd:
		return fmt.Errorf("its claim on %q has amount %d, limit %d, at end %s; the policy gives %d, %d, %s",
			got.Key, got.Amount, got.Limit, got.AtEnd, want.Amount, want.Limit, want.AtEnd)
	case got.Window.Kind != want.Window.Kind || got.Window.Length != want.Window.Length ||
		want.Window.Kind == budget.Fixed && got.Span != want.Window.Current:
		return fmt.Errorf("its claim on %q has another window than the policy gives", got.Key)
	case got.Group != want.Group || got.GroupMax != want.GroupMax:
		return fmt.Errorf("its claim on %q is in group %q of %d, the policy gives %q of %d",
			got.Key, got.Group, got.GroupMax, want.Group, want.GroupMax)
	}
	return nil
}

// hashedKey reports whether a key is that of a counter whose name was too long for
// the ledger: nobody can tell which.
func hashedKey(key string) bool {
	unit, hash, _ := strings.Cut(key, "/")
	counts := slices.Contains([]string{usd.name, requests.name, slots.name, toolCalls.name}, unit)
	return counts && len(hash) == call.NameBytes && strings.Trim(hash, "0123456789abcdef") == ""
}
