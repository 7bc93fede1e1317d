package oxdeai

import (
	"math/big"
	"strings"
)

// intentRules are the members that an intent must have. The ones below may be there besides.
var intentRules = []fieldRule{
	anyRule("intent_id"), anyRule("agent_id"),
	enumRule("action_type", "invalid action_type", "PAYMENT", "PURCHASE", "PROVISION", "ONCHAIN_TX"),
	bigRule("amount"), anyRule("target"), timeRule("timestamp"), anyRule("metadata_hash"), bigRule("nonce"), anyRule("signature"),
}

var intentExtras = []fieldRule{
	anyRule("asset"), timeRule("depth"), anyRule("tool"), anyRule("tool_call"),
	enumRule("type", "must be EXECUTE or RELEASE", TypeExecute, TypeRelease), anyRule("authorization_id"),
}

func bigRule(name string) fieldRule {
	return fieldRule{name, bigLike, issueType, "must be integer/bigint-like string"}
}

// CheckIntent lists what keeps an intent from following the schema, sorted by path, code and message. The engine does not
// require this check; tools that build intents do.
func CheckIntent(o *Object) []Issue {
	issues := checkSchema(o, intentRules, intentExtras)
	if kind, _ := o.Text("type"); kind == TypeRelease {
		if _, ok := o.Text("authorization_id"); !ok {
			issues = append(issues, Issue{"$.authorization_id", issueRequired, "required for RELEASE"})
		}
	}
	sortIssues(issues)
	return issues
}

// bigLike tells whether v is an integer, or a text of an optional minus, digits, and an optional n.
func bigLike(v Value) bool {
	switch v := v.(type) {
	case *big.Int:
		return v != nil
	case string:
		return isDigits(strings.TrimPrefix(strings.TrimSuffix(v, "n"), "-"))
	}
	return isInteger(v)
}
