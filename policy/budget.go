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

// applyBudgets adds the budgets of a plan or a tenant to those that stood
// before. One of the same name takes the other's place.
func (l *loader) applyBudgets(t *Tenant, d *rulesDoc) {
	if !d.Budgets.given() {
		return
	}
	t.Budgets = slices.Clone(t.Budgets) // a plan's are shared
	lines := map[string]int{}
	for n, doc := range d.Budgets.read(&l.reader) {
		b := l.budget(n, doc)
		if b.Name == "" {
			continue
		}
		if line, taken := lines[b.Name]; taken {
			l.refuse(&doc.Name.entry, "budget %s is already given on line %d; each needs its own name", quote(b.Name), line)
			continue
		}
		lines[b.Name] = n.Line
		t.Budgets = place(t.Budgets, b)
	}
	if len(t.Budgets) > maxBudgets {
		l.refuse(&d.Budgets.entry, "%d budgets with those of the plan; a tenant can have %d", len(t.Budgets), maxBudgets)
	}
	t.count()
}

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
		Scope:  l.scope(&d.Scope),
		Kind:   choice(&l.reader, &d.Kind, Hard, Hard, Soft),
		Window: l.window(n, d),
	}
	if l.require(n, &d.Name.entry, "name", "denials tell which budget is used up") {
		b.Name = l.name(&d.Name)
	}
	if l.require(n, &d.Limit.entry, "limit_usd", "write an amount, as in \"25\"") {
		b.Limit = l.usd(&d.Limit, 0)
	}
	l.budgetModels(n, d, b)
	return b
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

func (l *loader) budgetModels(n *yaml.Node, d *budgetDoc, b *Budget) {
	limits := slices.Contains(b.Scope, scopeModel)
	if d.Models.given() && !limits {
		l.refuse(&d.Models.entry, "only a budget of scope model has models; add model to its scope, or remove this")
		return
	}
	if limits && l.require(n, &d.Models.entry, "models", "a budget of scope model needs a pattern, as in \"gpt-5*\"") {
		b.Models, _ = l.pattern(&d.Models)
	}
}

func (l *loader) window(n *yaml.Node, d *budgetDoc) Period {
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

func (l *loader) rollingLength(n *yaml.Node, d *budgetDoc, window string) time.Duration {
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
