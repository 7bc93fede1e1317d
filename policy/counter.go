package policy

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// unit is what a stateful rule counts. Each module has its own, in its own
// file.
type unit struct {
	name  string // begins the ledger's keys
	noun  string // what messages call one such limit
	atEnd budget.AtEnd
	once  bool // a fallback does not count again what its first attempt has

	amount func(*call.Facts) int64
	write  func(int64) string // an amount, for people
	reason func(budget.Reason) call.Reason
	// final reports whether waiting in line is of no use.
	final    func(budget.Reason) bool
	describe func(*refused, budget.Window) string
	// retry says when to come back; nil: as the reason has it.
	retry func(refusal) (after int64, again call.Retry) // seconds, 1 to 60
}

// refusal is a claim that the ledger did not grant.
type refusal struct {
	claim budget.Claim
	seen  budget.Observed
	at    int64 // ledger milliseconds
}

// counter is one ledger counter of a tenant. Limits of the same unit, scope
// and window share it, so that a soft and a hard one see the same balance.
type counter struct {
	unit   *unit
	rule   string // the tightest limit's name
	scope  []string
	models string
	tool   string
	// endpoint is a pattern of those that are counted; "" for all.
	endpoint string
	window   Period
	limit    int64
	budgets  []*Budget // hard ones first

	key   string // where the tenant's calls all share one; else ""
	tail  string // of the key: window and models
	group string // of the names that callers choose; "" without

	recent atomic.Pointer[budget.Window] // the window last computed
}

// counters groups limits by what they count.
func counters(budgets []*Budget) []*counter {
	var list []*counter
	for _, b := range budgets {
		i := slices.IndexFunc(list, func(c *counter) bool {
			return c.unit == b.unit && slices.Equal(c.scope, b.Scope) && c.models == b.Models && c.tool == b.Tool && c.endpoint == b.Endpoint && c.window.Equal(b.Window)
		})
		if i < 0 {
			list = append(list, &counter{unit: b.unit, scope: b.Scope, models: b.Models, tool: b.Tool, endpoint: b.Endpoint, window: b.Window})
			i = len(list) - 1
		}
		list[i].budgets = append(list[i].budgets, b)
	}
	for _, c := range list {
		slices.SortStableFunc(c.budgets, tightestHardFirst)
		c.rule, c.limit = c.budgets[0].Name, hardLimit(c.budgets)
		c.name()
	}
	return list
}

// count prepares the tenant's counters for its requests, in the order of
// decision.
func (t *Tenant) count() {
	limits := t.limits()
	t.counters = counters(limits)
	t.namesRuns, t.namesUsers = false, false
	for _, b := range limits {
		t.namesRuns = t.namesRuns || slices.Contains(b.Scope, scopeRun)
		t.namesUsers = t.namesUsers || slices.Contains(b.Scope, scopeUser)
	}
}

// limits are all that the tenant's counters stand for, in the order of
// decision.
func (t *Tenant) limits() []*Budget {
	return slices.Concat(t.Concurrency, t.ToolCalls, t.Budgets, t.Rates)
}

// name builds what keys and groups have in common for every request. A
// pattern goes last, since it may hold what separates the parts; of two the
// first is hashed. A
// ledger takes no "+", which some time zones have, as in Etc/GMT+5.
func (c *counter) name() {
	if c.unit != slots {
		c.tail = "/" + strings.ReplaceAll(c.window.String(), "+", "=")
	}
	switch {
	case c.tool != "" && c.models != "":
		c.tail += "/tools:" + string(call.HashName(c.tool))
	case c.tool != "":
		c.tail += "/tool:" + c.tool
	case c.endpoint != "" && c.models != "":
		c.tail += "/endpoints:" + string(call.HashName(c.endpoint))
	case c.endpoint != "":
		c.tail += "/endpoint:" + c.endpoint
	}
	if c.models != "" {
		c.tail += "/model:" + c.models
	}
	dims := slices.DeleteFunc(slices.Clone(c.scope), func(dim string) bool { return dim == scopeModel })
	if len(dims) == 0 {
		c.key = c.unit.fit(c.unit.name + c.tail)
	}
	if slices.Contains(dims, scopeRun) || slices.Contains(dims, scopeUser) {
		c.group = c.unit.fit(c.unit.family() + strings.Join(dims, ".") + c.tail)
	}
}

// family begins the names of the unit's groups.
func (u *unit) family() string {
	if u == usd {
		return "" // older than the other units: a new name would begin anew
	}
	return u.name + "/"
}

// fit returns a name as it is, or its hash if the ledger would not take it.
func (u *unit) fit(name string) string {
	if len(name) <= budget.MaxKeyBytes {
		return name
	}
	return u.name + "/" + string(call.HashName(name))
}

// one is the amount of whatever a request counts for once.
func one(*call.Facts) int64 { return 1 }

// caller is who makes a request, as counters name it, and the keys of those that
// concern it, one after the other in one piece of memory.
type caller struct {
	key       *Key
	run, user call.Name // "" without
	now       time.Time // the ledger's clock
	keys      strings.Builder
}

// names fills in the names that the counters of its tenant ask for.
func (c *caller) names(f *call.Facts) {
	if c.key.Tenant.namesRuns {
		c.run = f.Run
	}
	if c.key.Tenant.namesUsers {
		c.user = f.User
	}
}

// claim writes what a request must hold of the counter, and reports whether the
// counter concerns it at all.
func (c *counter) claim(claim *budget.Claim, who *caller, f *call.Facts) bool {
	if c.models != "" && (f.Action() != "" || !names.Match(c.models, f.Model)) || c.unit.once && f.Counted {
		return false
	}
	if c.endpoint != "" && !names.Match(c.endpoint, f.Endpoint) {
		return false
	}
	key, applies := c.keyOf(who)
	if !applies {
		return false
	}
	claim.Key = key
	claim.Amount = c.unit.amount(f)
	claim.Limit = c.limit
	claim.AtEnd = c.unit.atEnd
	c.at(who.now, &claim.Window)
	t := who.key.Tenant
	// What callers name at will must not last for ever, nor grow without bound.
	if c.group != "" {
		claim.Group, claim.GroupMax = c.group, c.mostNames(t)
		if claim.Window.Kind == budget.Forever {
			claim.Window = budget.Window{Kind: budget.Idle, Length: t.RunLifetime}
		}
	}
	if t.Mode == Observe {
		claim.Limit = budget.NoLimit
		if c.unit == toolCalls { // what is counted otherwise is another counter
			claim.Key = c.unit.fit(observedHead + key)
		}
	}
	return true
}

// observedHead begins the keys of counters that count tool calls under Observe.
const observedHead = "observed/"

// at writes the counter's window that holds now, and the one after it.
func (c *counter) at(now time.Time, w *budget.Window) {
	recent := c.recent.Load()
	if recent == nil || recent.Kind == budget.Fixed && !recent.Current.Contains(now.UnixMilli()) {
		turned := c.window.at(now)
		recent = &turned
		c.recent.Store(recent)
	}
	*w = *recent
}

// keyOf returns the counter's key for a caller. A request that lacks a
// dimension of the scope is not limited by it.
func (c *counter) keyOf(who *caller) (string, bool) {
	if c.key != "" {
		return c.key, true
	}
	from := who.keys.Len()
	who.keys.WriteString(c.unit.name)
	for _, dim := range c.scope {
		var name string
		switch dim {
		case scopeKey:
			name = who.key.ID
		case scopeRun:
			name = string(who.run)
		case scopeUser:
			name = string(who.user)
		default: // the model stands in the tail
			continue
		}
		if name == "" {
			return "", false
		}
		who.keys.WriteByte('/')
		who.keys.WriteString(dim)
		who.keys.WriteByte(':')
		who.keys.WriteString(name)
	}
	who.keys.WriteString(c.tail)
	return c.unit.fit(who.keys.String()[from:]), true
}

// keyBytes is room for a key of the counter, of any run and user.
func (c *counter) keyBytes(k *Key) int {
	if c.key != "" {
		return 0
	}
	n := len(c.unit.name) + len(c.tail)
	for _, dim := range c.scope {
		n += len("/") + len(dim) + len(":") + max(call.NameBytes, len(k.ID))
	}
	return n
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
