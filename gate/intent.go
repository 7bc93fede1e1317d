package gate

import (
	"math/big"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/names"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// asset is what the amounts of intents are counted in.
const asset = "nano-USD"

// intentOf is what a decision is about, as the protocol's intent: the purchase,
// by a key of a tenant, of one model's answer at one upstream, or an action, for
// the hold at most. It is known by its lease; a denial has none.
func intentOf(d audit.Decision) *oxdeai.Object {
	intent := oxdeai.NewObject(
		oxdeai.Member{Name: "intent_id", Value: d.Lease},
		oxdeai.Member{Name: "agent_id", Value: agentOf(d)},
		oxdeai.Member{Name: "action_type", Value: actionType(d)},
		oxdeai.Member{Name: "type", Value: oxdeai.TypeExecute},
		oxdeai.Member{Name: "amount", Value: big.NewInt(d.Facts.Cost)},
		oxdeai.Member{Name: "asset", Value: asset},
		oxdeai.Member{Name: "target", Value: targetOf(d)},
		oxdeai.Member{Name: "timestamp", Value: oxdeai.Int(d.At / 1000)},
		oxdeai.Member{Name: "metadata_hash", Value: audit.FactsHash(d).String()},
		oxdeai.Member{Name: "nonce", Value: nonceOf(d)},
		oxdeai.Member{Name: "depth", Value: oxdeai.Int(d.Facts.Depth)},
	)
	if tool := toolOf(d); tool != "" {
		intent.Members = append(intent.Members, oxdeai.Member{Name: "tool", Value: tool})
	}
	if callsTool(d) {
		intent.Members = append(intent.Members, oxdeai.Member{Name: "tool_call", Value: true})
	}
	return intent
}

func intentHash(d audit.Decision) (string, error) {
	intent, err := oxdeai.NewIntent(intentOf(d))
	if err != nil {
		return "", err
	}
	return intent.Hash()
}

func agentOf(d audit.Decision) string { return agentID(d.Facts.Tenant, d.Facts.Key) }

// agentID is what the protocol calls a key of a tenant.
func agentID(tenant, key string) string { return tenant + "/" + key }

// actionTypes are the protocol's names for kinds of actions. All else is a
// purchase.
var actionTypes = map[string]string{"payment": "PAYMENT", "provision": "PROVISION"}

const purchase = "PURCHASE"

func actionType(d audit.Decision) string {
	if name, ok := actionTypes[d.Facts.Action()]; ok {
		return name
	}
	return purchase
}

// targetOf is what an intent is for. Receipts have the hash of an action's
// target, and a list of models has no upstream.
func targetOf(d audit.Decision) string {
	if d.Facts.Action() != "" {
		return d.Facts.Endpoint + "/" + string(d.Facts.Target)
	}
	if listed(&d.Facts) {
		return d.Facts.Endpoint
	}
	return target(d.Facts.Upstream, d.Facts.Model)
}

// target is a model at an upstream. The protocol compares targets letter by
// letter, and the policy models' names in any case.
func target(upstream, model string) string { return upstream + "/" + names.Fold(model) }

// nonceOf is the number that a request spends: that of its nonce, or of its
// event where it spends none.
func nonceOf(d audit.Decision) *big.Int {
	if d.Facts.Nonce == "" || d.Facts.Counted {
		return big.NewInt(d.Event)
	}
	n, ok := nonceNumber(string(d.Facts.Nonce), d.Facts.Attempt)
	if !ok {
		return big.NewInt(d.Event)
	}
	return n
}

// nonceNumber makes one number of a hashed nonce and an attempt: the hash times
// 2^64, plus the attempt. So it is above every event's.
func nonceNumber(hash string, attempt int64) (*big.Int, bool) {
	n, ok := new(big.Int).SetString(hash, 16)
	if !ok {
		return nil, false
	}
	return n.Lsh(n, 64).Add(n, big.NewInt(attempt)), true
}

// extends reports whether a decision raised the hold of a lease.
func extends(d audit.Decision) bool {
	return d.Existing && d.Facts.Action() == policy.Extension
}

// authID is the id of a decision's authorization: the receipt's. A repeated
// action has a receipt each time and is to be done once, so its authorizations
// share the lease's.
func authID(receipt string, d audit.Decision) string {
	if d.Facts.Action() != "" {
		return d.Lease
	}
	return receipt
}

// audienceOf is whom an authorization is for: the upstream, or whoever does
// actions of that kind.
func audienceOf(d audit.Decision) string {
	if d.Facts.Action() != "" {
		return d.Facts.Endpoint
	}
	return d.Facts.Upstream
}

// expiryOf is when an authorization ends, in Unix seconds: soon after the
// decision, since a call goes out at once. An action may begin as long as its
// lease holds the amount.
func expiryOf(d audit.Decision) int64 {
	if d.Facts.Action() != "" {
		return d.Expires / 1000
	}
	return d.At/1000 + AuthorizationSeconds
}

// protocolReasons are the protocol's codes for the reasons of denials. One
// that has none goes by its own name: the protocol's lists of reasons are open.
var protocolReasons = map[call.Reason]oxdeai.Reason{
	policy.Killed:               oxdeai.KillSwitchOn,
	policy.CapabilityNotAllowed: oxdeai.AllowlistAction,
	policy.EndpointNotAllowed:   oxdeai.AllowlistAction,
	policy.ToolNotAllowed:       oxdeai.AllowlistAction,
	policy.ModelNotAllowed:      oxdeai.AllowlistTarget,
	policy.UpstreamNotAllowed:   oxdeai.AllowlistTarget,
	policy.ReplayedRequest:      oxdeai.NonceReplayed,
	policy.ActionIDUsed:         oxdeai.NonceReplayed,
	policy.DepthExceeded:        oxdeai.DepthExceeded,
	policy.ConcurrencyFull:      oxdeai.ConcurrencyExceeded,
	policy.RequestCapExceeded:   oxdeai.CapExceeded,
	policy.BudgetExhausted:      oxdeai.BudgetExceeded,
	policy.BudgetHeld:           oxdeai.BudgetExceeded,
	policy.ToolCallsExceeded:    oxdeai.ToolCallsExceeded,
	policy.RequestRate:          oxdeai.VelocityExceeded,
	policy.StalePolicy:          oxdeai.VersionMismatch,
	policy.LedgerUnavailable:    oxdeai.InternalError,
	policy.ReceiptsUnavailable:  oxdeai.InternalError,
}

func protocolReason(reason string) oxdeai.Reason {
	if code, ok := protocolReasons[call.Reason(reason)]; ok {
		return code
	}
	return oxdeai.Reason(reason)
}
