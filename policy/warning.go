package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Warning is what a grant tells of a budget of its request.
type Warning struct {
	Budget string
	// Percent is the highest of the budget's thresholds that what is spent has reached, before the
	// request at hand; 0: the request takes a soft budget over its limit.
	Percent int64
}

// String is the warning for a person. It tells no amounts.
func (w Warning) String() string {
	if w.Percent == 0 {
		return fmt.Sprintf("budget %s is over its soft limit", w.Budget)
	}
	return fmt.Sprintf("budget %s is %d%% spent", w.Budget, w.Percent)
}

// Warnings are the soft budgets that this grant takes over their limit, and those of which so much
// is spent that a threshold is reached.
func (p Plan) Warnings(observed []budget.Observed) (list []Warning) {
	for i, c := range p.counters {
		seen := observed[i]
		total := seen.Spent + seen.Held + p.Needs(i, seen)
		for _, b := range c.budgets {
			if percent := b.reached(seen.Spent); percent > 0 {
				list = append(list, Warning{b.Name, percent})
			}
			if b.Kind == Soft && total > b.Limit {
				list = append(list, Warning{Budget: b.Name})
			}
		}
	}
	return list
}

// reached is the highest threshold that so much has reached; 0: none. The products are below
// 2^60: amounts and limits are below 2^53.
func (b *Budget) reached(spent int64) (highest int64) {
	for _, percent := range b.WarnAt {
		if spent*100 >= percent*b.Limit {
			highest = percent
		}
	}
	return highest
}

// Limits of thresholds.
const (
	maxWarnings    = 8
	leastThreshold = 1
	mostThreshold  = 100
)

// warnAt reads thresholds, as in [80%, 95%], and returns them in ascending order.
func (l *loader) warnAt(n *yaml.Node, d *budgetDoc) (list []int64) {
	for _, s := range l.each(&d.WarnAt) {
		text, _ := strings.CutSuffix(s.node.Value, "%")
		percent, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil || percent < leastThreshold || percent > mostThreshold || text == s.node.Value:
			l.refuse(&s.entry, "%s is no threshold; write %d%% to %d%% of the limit, as in [80%%, 95%%]", quote(s.node.Value), leastThreshold, mostThreshold)
		case slices.Contains(list, percent):
			l.refuse(&s.entry, "%d%% is named twice; remove one", percent)
		default:
			list = append(list, percent)
		}
	}
	if len(list) > maxWarnings {
		l.refuse(&d.WarnAt.entry, "%d thresholds; a budget can have %d", len(list), maxWarnings)
	}
	slices.Sort(list)
	return list
}
