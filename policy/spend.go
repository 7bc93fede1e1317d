package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// capRequest denies a request that alone may cost more than the tenant's
// per-request cap.
func capRequest(t *Tenant, f Facts) *Denial {
	if t.PerRequest == 0 || f.Cost <= t.PerRequest {
		return nil
	}
	d := &Denial{
		Reason: RequestCapExceeded,
		Budget: "per_request",
		Limit:  t.PerRequest,
		Needed: f.Cost,
	}
	d.Message = "the request may cost more than the per-request cap"
	if !t.Redact {
		d.Message = fmt.Sprintf("the request may cost %s, more than the per-request cap of %s",
			USD(f.Cost), USD(t.PerRequest))
	}
	return d
}

// counter is one ledger counter of a tenant. Budgets of the same scope and
// window share it, so that a soft and a hard limit see the same balance.
type counter struct {
	scope   []string
	models  string
	window  Period
	limit   int64
	budgets []*Budget // hard ones first

	key   string // where the tenant's calls all share one; else ""
	tail  string // of the key: window and models
	group string // of the names that callers choose; "" without

	recent atomic.Pointer[budget.Window] // the window last computed
}

// counters groups budgets by what they count.
func counters(budgets []*Budget) []*counter {
	var list []*counter
	for _, b := range budgets {
		i := slices.IndexFunc(list, func(c *counter) bool {
			return slices.Equal(c.scope, b.Scope) && c.models == b.Models && c.window.Equal(b.Window)
		})
		if i < 0 {
			list = append(list, &counter{scope: b.Scope, models: b.Models, window: b.Window})
			i = len(list) - 1
		}
		list[i].budgets = append(list[i].budgets, b)
	}
	for _, c := range list {
		slices.SortStableFunc(c.budgets, tightestHardFirst)
		c.limit = hardLimit(c.budgets)
		c.name()
	}
	return list
}

// count prepares the tenant's counters for its requests.
func (t *Tenant) count() {
	t.counters = counters(t.Budgets)
	t.namesRuns, t.namesUsers = false, false
	for _, b := range t.Budgets {
		t.namesRuns = t.namesRuns || slices.Contains(b.Scope, scopeRun)
		t.namesUsers = t.namesUsers || slices.Contains(b.Scope, scopeUser)
	}
}

func tightestHardFirst(a, b *Budget) int {
	if a.Kind != b.Kind {
		if a.Kind == Hard {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Limit, b.Limit)
}

func hardLimit(budgets []*Budget) int64 {
	limit := int64(budget.NoLimit)
	for _, b := range budgets {
		if b.Kind == Hard {
			limit = min(limit, b.Limit)
		}
	}
	return limit
}

// name builds what keys and groups have in common for every request. The
// pattern of models goes last, since it may hold what separates the parts.
func (c *counter) name() {
	c.tail = "/" + c.window.String()
	if c.models != "" {
		c.tail += "/model:" + c.models
	}
	dims := slices.DeleteFunc(slices.Clone(c.scope), func(dim string) bool { return dim == scopeModel })
	if len(dims) == 0 {
		c.key = fit("usd" + c.tail)
	}
	if slices.Contains(dims, scopeRun) || slices.Contains(dims, scopeUser) {
		c.group = fit(strings.Join(dims, "+") + c.tail)
	}
}

// fit returns a name as it is, or its hash if the ledger would not take it.
func fit(name string) string {
	if len(name) <= budget.MaxKeyBytes {
		return name
	}
	return "usd/" + HashName(name)
}

// caller is who makes a request, as counters name it.
type caller struct {
	key       *Key
	run, user string // hashed; "" without
}

func newCaller(k *Key, f Facts) caller {
	c := caller{key: k}
	if k.Tenant.namesRuns {
		c.run = f.hash(f.Run)
	}
	if k.Tenant.namesUsers {
		c.user = f.hash(f.User)
	}
	return c
}

func (f *Facts) hash(name string) string {
	if f.Hashed {
		return name
	}
	return HashName(name)
}

// claim returns what a request must hold of the counter, and whether the
// counter concerns it at all.
func (c *counter) claim(who caller, f Facts) (budget.Claim, bool) {
	t := who.key.Tenant
	if c.models != "" && !Match(c.models, f.Model) {
		return budget.Claim{}, false
	}
	key, applies := c.keyOf(who)
	if !applies {
		return budget.Claim{}, false
	}
	claim := budget.Claim{
		Key:    key,
		Amount: f.Cost,
		Limit:  c.limit,
		AtEnd:  budget.Adjust,
		Window: c.at(f.Now),
	}
	// What callers name at will must not last for ever, nor grow without bound.
	if c.group != "" {
		claim.Group, claim.GroupMax = c.group, c.mostNames(t)
		if claim.Window.Kind == budget.Forever {
			claim.Window = budget.Window{Kind: budget.Idle, Length: t.RunLifetime}
		}
	}
	if t.Mode == Observe {
		claim.Limit = budget.NoLimit
	}
	return claim, true
}

// at returns the counter's window that holds now, and the one after it.
func (c *counter) at(now time.Time) budget.Window {
	if w := c.recent.Load(); w != nil && (w.Kind != budget.Fixed || w.Current.Contains(now.UnixMilli())) {
		return *w
	}
	w := c.window.at(now)
	c.recent.Store(&w)
	return w
}

// keyOf returns the counter's key for a caller. A request that lacks a
// dimension of the scope is not limited by it.
func (c *counter) keyOf(who caller) (string, bool) {
	if c.key != "" {
		return c.key, true
	}
	key := make([]byte, 0, budget.MaxKeyBytes)
	key = append(key, "usd"...)
	for _, dim := range c.scope {
		var name string
		switch dim {
		case scopeKey:
			name = who.key.ID
		case scopeRun:
			name = who.run
		case scopeUser:
			name = who.user
		default: // the model stands in the tail
			continue
		}
		if name == "" {
			return "", false
		}
		key = append(key, '/')
		key = append(key, dim...)
		key = append(key, ':')
		key = append(key, name...)
	}
	return fit(string(append(key, c.tail...))), true
}

// mostNames is how many keys of the counter's group may be live. Where it
// counts runs and users together, the lower bound holds both.
func (c *counter) mostNames(t *Tenant) int64 {
	most := int64(maxNames)
	if t.Mode == Observe {
		return most
	}
	if slices.Contains(c.scope, scopeRun) {
		most = min(most, t.MaxRuns)
	}
	if slices.Contains(c.scope, scopeUser) {
		most = min(most, t.MaxUsers)
	}
	return most
}

// HashName is what a run or end user is called in keys and receipts: the
// first 128 bits of its SHA-256 in hex. "" stays "".
func HashName(name string) string {
	if name == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}
