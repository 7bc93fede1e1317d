package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

const (
	// ActionIDLife is how long an action's id stays used after the end of its
	// lease, however that ended. It is longer than any lease, so nothing that was
	// authorized under the id is still good when it can be used again.
	ActionIDLife = 24 * time.Hour

	// MaxActionIDs bounds the ids of a tenant that are used at once. One more is
	// denied until another's time is over.
	MaxActionIDs = maxNames
)

// ActionKinds are the actions that every tenant with the capability may ask
// leave for. A policy can name more.
var ActionKinds = [...]string{"payment", "purchase", "provision", "tool"}

// Extension is the kind of an action whose lease is extended: no caller can ask
// leave for it, whatever a policy names.
const Extension = "extend"

// ActionName reports whether a text can name a kind of action: a name as the
// policy writes them, and not that of what every lease can be asked for.
func ActionName(text string) bool { return isName(text) && text != Extension }

// allowAction denies an action whose kind is neither built in nor named by the
// tenant's policy.
func allowAction(t *Tenant, f *call.Facts) *call.Denial {
	kind := f.Action()
	if kind == "" || kind == Extension || slices.Contains(ActionKinds[:], kind) || slices.Contains(t.ActionKinds, kind) {
		return nil
	}
	return &call.Denial{
		Reason:  CapabilityNotAllowed,
		Message: fmt.Sprintf("action %s is not allowed for this tenant", quote(kind)),
	}
}

// actionIDs is the unit of the rule that an action's id is used once. What a
// repeat may do rests on it, so it holds under Observe too.
var actionIDs = &unit{
	name:     "action",
	noun:     "rule",
	atEnd:    budget.Spend,
	amount:   one,
	write:    plain,
	reason:   func(budget.Reason) call.Reason { return ActionIDUsed },
	final:    func(budget.Reason) bool { return true },
	describe: describeUsedID,
}

func describeUsedID(d *refused, _ budget.Window) string {
	if d.Held > 0 {
		return ActionReplayed("this id is that of an action that differs from this one").Message
	}
	return ActionReplayed("the action of this id has ended").Message
}

// usedIDs is the rule's counter, of any tenant.
var usedIDs = &counter{unit: actionIDs, rule: "action_id", limit: 1}

// useOnce claims the action's id.
func (p *Plan) useOnce(f *call.Facts) {
	claim := p.next()
	*claim = budget.Claim{
		Key:    actionIDs.name + "/" + string(f.ActionID),
		Amount: 1, Limit: 1, AtEnd: actionIDs.atEnd,
		Window: budget.Window{Kind: budget.Idle, Length: ActionIDLife},
		Group:  actionIDs.name, GroupMax: MaxActionIDs,
	}
	p.add(usedIDs, true)
}

// ActionIDOf is the hashed id that a claim's key says is used once.
func ActionIDOf(key string) (id string, ok bool) {
	return strings.CutPrefix(key, actionIDs.name+"/")
}

// ActionReplayed is the denial of an action whose id cannot be used.
func ActionReplayed(why string) *call.Denial {
	return &call.Denial{Reason: ActionIDUsed, Message: why + "; each id is used once, so send a new one with a new action"}
}

// Limits are what the plan lets its budgets reach: the terms of an extension.
func (p Plan) Limits() []budget.Limit {
	var list []budget.Limit
	for _, c := range p.Claims {
		if c.AtEnd == budget.Adjust {
			list = append(list, budget.Limit{Key: c.Key, Limit: c.Limit})
		}
	}
	return list
}

// Among is the plan without the claims whose keys are not given.
func (p Plan) Among(keys []string) Plan {
	among := Plan{tenant: p.tenant}
	for i, c := range p.Claims {
		if slices.Contains(keys, c.Key) {
			among.Claims = append(among.Claims, c)
			among.counters = append(among.counters, p.counters[i])
		}
	}
	return among
}

// Remaining is what a budget has once a plan is granted, in nano-USD.
type Remaining struct {
	Budget                   string
	Limit, Spent, Held, Left int64
	ResetsAt                 int64 // ledger milliseconds; 0: never
}

// Remaining returns what each budget of the plan has after the grant, given
// what was observed before it.
func (p Plan) Remaining(observed []budget.Observed) []Remaining {
	list := []Remaining{}
	for i, c := range p.Claims {
		if c.AtEnd != budget.Adjust {
			continue
		}
		seen, held := observed[i], observed[i].Held+c.Amount
		for _, b := range p.counters[i].budgets {
			list = append(list, Remaining{
				Budget: b.Name, Limit: b.Limit, Spent: seen.Spent, Held: held,
				Left: max(0, b.Limit-seen.Spent-held), ResetsAt: seen.Span.End,
			})
		}
	}
	return list
}
