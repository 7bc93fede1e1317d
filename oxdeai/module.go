package oxdeai

import (
	"fmt"
	"maps"
	"math/big"
)

// Decision is the outcome of an evaluation.
type Decision string

// The two decisions.
const (
	Allow Decision = "ALLOW"
	Deny  Decision = "DENY"
)

// Reason says why an intent was denied, or why the engine refuses an authorization.
type Reason string

// The reasons of the protocol.
const (
	KillSwitchOn         Reason = "KILL_SWITCH"
	AllowlistAction      Reason = "ALLOWLIST_ACTION"
	AllowlistAsset       Reason = "ALLOWLIST_ASSET"
	AllowlistTarget      Reason = "ALLOWLIST_TARGET"
	VersionMismatch      Reason = "POLICY_VERSION_MISMATCH"
	StateInvalid         Reason = "STATE_INVALID"
	BudgetExceeded       Reason = "BUDGET_EXCEEDED"
	CapExceeded          Reason = "PER_ACTION_CAP_EXCEEDED"
	VelocityExceeded     Reason = "VELOCITY_EXCEEDED"
	ConcurrencyExceeded  Reason = "CONCURRENCY_LIMIT_EXCEEDED"
	ReleaseInvalid       Reason = "CONCURRENCY_RELEASE_INVALID"
	DepthExceeded        Reason = "RECURSION_DEPTH_EXCEEDED"
	NonceReplayed        Reason = "REPLAY_NONCE"
	ToolCallsExceeded    Reason = "TOOL_CALL_LIMIT_EXCEEDED"
	InternalError        Reason = "INTERNAL_ERROR"
	AuthExpired          Reason = "AUTH_EXPIRED"
	AuthSignatureInvalid Reason = "AUTH_SIGNATURE_INVALID"
	AuthIntentMismatch   Reason = "AUTH_INTENT_MISMATCH"
)

// request is what a rule sees: the intent and the input state, which no rule changes.
type request struct {
	intent Intent
	state  *State
	agent  string
	now    int64 // the intent's timestamp, Unix seconds
	compat Compat
	harden Harden
}

// ruling is what a rule says. No reasons means that the rule has nothing against the intent; apply, if there is one,
// then writes its change to a copy of the state.
type ruling struct {
	reasons []Reason
	apply   func(*State)
}

func denied(reasons ...Reason) (ruling, error) { return ruling{reasons: reasons}, nil }

func allowed(apply func(*State)) (ruling, error) { return ruling{apply: apply}, nil }

// module is one part of the state with its form in a snapshot.
type module struct {
	id     string
	encode func(*encoder, *State)          // writes the payload
	load   func(s *State, o *Object) error // replaces this part of the state by a payload
	reset  func(s *State)                  // what a missing payload means
}

// The positions of the modules, which stand in the order of their ids.
const (
	allowlistModule = iota
	budgetModule
	concurrencyModule
	killSwitchModule
	recursionModule
	replayModule
	toolModule
	velocityModule
	moduleCount
)

var modules = [moduleCount]module{
	{"AllowlistModule", encodeAllowlists, loadAllowlists, resetAllowlists},
	{"BudgetModule", encodeBudget, loadBudget, resetBudget},
	{"ConcurrencyModule", encodeConcurrency, loadConcurrency, resetConcurrency},
	{"KillSwitchModule", encodeKillSwitch, loadKillSwitch, resetKillSwitch},
	{"RecursionDepthModule", encodeRecursion, loadRecursion, resetRecursion},
	{"ReplayModule", encodeReplay, loadReplay, resetReplay},
	{"ToolAmplificationModule", encodeTools, loadTools, resetTools},
	{"VelocityModule", encodeVelocity, loadVelocity, resetVelocity},
}

// rule is the decision of one module about one type of intent.
type rule struct {
	module int // whose payload the rule's change touches
	decide func(*request) (ruling, error)
}

// The rules in the order in which they are asked.
var (
	executeRules = []rule{
		{killSwitchModule, decideKillSwitch},
		{allowlistModule, decideAllowlists},
		{replayModule, decideReplay},
		{recursionModule, decideRecursion},
		{concurrencyModule, decideAcquire},
		{toolModule, decideTools},
		{budgetModule, decideBudget},
		{velocityModule, decideVelocity},
	}
	releaseRules = []rule{
		{killSwitchModule, decideKillSwitch},
		{replayModule, decideReplay},
		{concurrencyModule, decideRelease},
	}
)

// with returns a copy of m with one entry set. The next state gets such copies, so that it shares with the input
// state only what did not change.
func with[T any](m map[string]T, name string, t T) map[string]T {
	out := make(map[string]T, len(m)+1)
	maps.Copy(out, m)
	out[name] = t
	return out
}

// asked returns the amount of the intent, or an error if it has none.
func (q *request) asked() (*big.Int, error) {
	if q.intent.amount == nil {
		return nil, fmt.Errorf("%w: no amount", ErrIntentInvalid)
	}
	return q.intent.amount, nil
}
