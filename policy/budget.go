package policy

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Dimensions of a budget's scope, beside the tenant, which is in every one.
const (
	scopeTenant = "tenant"
	scopeKey    = "key"
	scopeRun    = "run"
	scopeUser   = "user"
	scopeModel  = "model"
)

// applyLimits lays the limits of a plan or a tenant over those that stood before.
func (l *loader) applyLimits(t *Tenant, d *rulesDoc) {
	if !d.Budgets.given() && !d.Rates.given() && !d.Concurrency.given() && !d.ToolCalls.given() {
		return // the plan's counters are shared
	}
	t.Budgets = merge(l, t.Budgets, &d.Budgets, l.budget)
	t.Rates = merge(l, t.Rates, &d.Rates, l.rate)
	t.Concurrency = merge(l, t.Concurrency, &d.Concurrency, l.concurrency)
	t.ToolCalls = merge(l, t.ToolCalls, &d.ToolCalls, l.toolLimit)
	if len(t.ToolCalls) > maxToolLimits {
		l.refuse(&d.ToolCalls.entry, "%d tool_calls with those of the plan; a tenant can have %d", len(t.ToolCalls), maxToolLimits)
	}
	t.count()
}

// merge adds limits to those that stood before. One of the same name takes the
// other's place.
func merge[D any, P interface {
	*D
	name() *scalar
}](l *loader, before []*Budget, docs *list[D], read func(*yaml.Node, P) *Budget) []*Budget {
	if !docs.given() {
		return before
	}
	limits := slices.Clone(before) // a plan's are shared
	lines := map[string]int{}
	for n, doc := range docs.read(&l.reader) {
		b, name := read(n, doc), P(doc).name()
		if b.Name == "" {
			continue
		}
		if line, taken := lines[b.Name]; taken {
			l.refuse(&name.entry, "%s %s is already given on line %d; each needs its own name", b.unit.noun, quote(b.Name), line)
			continue
		}
		lines[b.Name] = n.Line
		limits = place(limits, b)
	}
	if len(limits) > maxBudgets {
		l.refuse(&docs.entry, "%d %s with those of the plan; a tenant can have %d", len(limits), docs.field, maxBudgets)
	}
	return limits
}

func (d *limitDoc) name() *scalar { return &d.Name }

func place(budgets []*Budget, b *Budget) []*Budget {
	for i, other := range budgets {
		if other.Name == b.Name {
			budgets[i] = b
			return budgets
		}
	}
	return append(budgets, b)
}

func (l *loader) budget(n *yaml.Node, d *budgetDoc) *Budget {
	b := &Budget{
		Kind:   choice(&l.reader, &d.Kind, Hard, Hard, Soft),
		Window: l.window(n, &d.windowDoc),
		unit:   usd,
	}
	b.WarnAt = l.warnAt(n, d)
	l.limit(n, &d.limitDoc, b)
	if l.require(n, &d.Limit.entry, "limit_usd", "write an amount, as in \"25\"") {
		b.Limit = l.usd(&d.Limit, 0)
	}
	return b
}

// limit reads what every limit has: its name and whom it concerns.
func (l *loader) limit(n *yaml.Node, d *limitDoc, b *Budget) {
	b.Scope = l.scope(&d.Scope)
	if l.require(n, &d.Name.entry, "name", "denials tell which "+b.unit.noun+" is used up") {
		b.Name = l.name(&d.Name)
	}
	l.limitModels(n, d, b)
}

// scope returns the dimensions in their fixed order, without the tenant.
func (l *loader) scope(w *words) []string {
	given := map[string]bool{}
	for _, s := range l.each(w) {
		word := choice(&l.reader, &s, "", scopeTenant, scopeKey, scopeRun, scopeUser, scopeModel)
		if given[word] && word != "" {
			l.refuse(&s.entry, "%s is named twice; remove one", word)
		}
		given[word] = true
	}
	var scope []string
	for _, dim := range []string{scopeKey, scopeRun, scopeUser, scopeModel} {
		if given[dim] {
			scope = append(scope, dim)
		}
	}
	return scope
}

func (l *loader) limitModels(n *yaml.Node, d *limitDoc, b *Budget) {
	limits := slices.Contains(b.Scope, scopeModel)
	if d.Models.given() && !limits {
		l.refuse(&d.Models.entry, "only a %s of scope model has models; add model to its scope, or remove this", b.unit.noun)
		return
	}
	if limits && l.require(n, &d.Models.entry, "models", "a "+b.unit.noun+" of scope model needs a pattern, as in \"gpt-5*\"") {
		b.Models, _ = l.pattern(&d.Models)
	}
}

func (l *loader) window(n *yaml.Node, d *windowDoc) Period {
	if !l.require(n, &d.Window.entry, "window", "write minute, hour, day, week, month, rolling or forever") {
		return Period{}
	}
	name := choice(&l.reader, &d.Window, "", periods[:]...)
	p := Period{Name: name, Zone: time.UTC}
	if name == "" {
		return p
	}
	p.Length = l.rollingLength(n, d, name)
	if p.onCalendar() {
		p.Zone = l.zone(&d.Timezone, l.timezone)
	} else if d.Timezone.given() {
		l.refuse(&d.Timezone.entry, "only a day, week or month has a time zone; remove this")
	}
	return p
}

func (l *loader) rollingLength(n *yaml.Node, d *windowDoc, window string) time.Duration {
	if window != periodRolling {
		if d.Length.given() {
			l.refuse(&d.Length.entry, "only a rolling window has a length; write window: rolling, or remove this")
		}
		return 0
	}
	if !l.require(n, &d.Length.entry, "length", "a rolling window needs one, as in length: 24h") {
		return 0
	}
	return l.duration(&d.Length, 0, minLength, maxLength)
}

// maxListed bounds how many names a message lists.
const maxListed = 10

// joinSome lists names, the first few if there are many.
func joinSome(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:maxListed], ", ") + " and others"
}
