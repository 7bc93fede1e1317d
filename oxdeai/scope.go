package oxdeai

import (
	"math/big"
	"slices"
	"strings"
)

// scopeLimits are the numeric bounds of a scope, in the order in which they are checked.
var scopeLimits = [...]string{"max_amount", "max_actions", "max_depth"}

// scopeExcess says where a delegation's scope goes beyond its parent's. A bound that one side lacks is not compared; one that is
// there and cannot be read counts as excess.
func scopeExcess(child Value, parent *Object) []string {
	scope, ok := child.(*Object)
	if !ok || scope == nil {
		return []string{"scope must be an object"}
	}
	var messages []string
	if m := toolExcess(scope, parent); m != "" {
		messages = append(messages, m)
	}
	for _, name := range scopeLimits {
		if m := limitExcess(name, scope, parent); m != "" {
			messages = append(messages, m)
		}
	}
	return messages
}

func toolExcess(child, parent *Object) string {
	mine, hasMine := child.Get("tools")
	theirs, hasTheirs := parent.Get("tools")
	if !hasMine || !hasTheirs {
		return ""
	}
	if !isStringList(mine) || !isStringList(theirs) {
		return "scope.tools must be a list of names"
	}
	allowed := make(map[Value]bool)
	for _, tool := range theirs.([]Value) {
		allowed[tool] = true
	}
	var extra []string
	for _, tool := range mine.([]Value) {
		if !allowed[tool] {
			extra = append(extra, tool.(string))
		}
	}
	if extra == nil {
		return ""
	}
	return "scope.tools contains tools not in parent: " + strings.Join(extra, ", ")
}

func limitExcess(name string, child, parent *Object) string {
	mine, hasMine := child.Get(name)
	theirs, hasTheirs := parent.Get(name)
	if !hasMine || !hasTheirs {
		return ""
	}
	c, errMine := readBig(mine)
	p, errTheirs := readBig(theirs)
	if errMine != nil || errTheirs != nil {
		return "scope." + name + " must be an integer"
	}
	if c.Cmp(p) <= 0 {
		return ""
	}
	return "scope." + name + " " + c.String() + " exceeds parent " + name + " " + p.String()
}

// scopeAllows says whether the scope of an artifact lets a call through. An artifact without a scope sets no bound. A tool list must
// name the tool, and every limit must cover the call. A bound that cannot be read lets nothing through.
func scopeAllows(artifact *Object, call DelegatedCall) bool {
	v, found := artifact.Get("scope")
	if !found {
		return true
	}
	scope, ok := v.(*Object)
	if !ok || scope == nil {
		return false
	}
	if v, found := scope.Get("tools"); found {
		if list, ok := v.([]Value); !ok || !slices.Contains(list, Value(call.Tool)) {
			return false
		}
	}
	return within(scope, "max_amount", call.Amount) && within(scope, "max_actions", big.NewInt(1)) &&
		within(scope, "max_depth", big.NewInt(call.Depth))
}

// within says whether a limit that is there covers n. It never covers a missing or negative number.
func within(scope *Object, name string, n *big.Int) bool {
	v, found := scope.Get(name)
	if !found {
		return true
	}
	limit, err := readBig(v)
	return err == nil && n != nil && n.Sign() >= 0 && n.Cmp(limit) <= 0
}
