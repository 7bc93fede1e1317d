package oxdeai

import (
	"math/big"
	"testing"
)

// testSecret is the public test secret of the protocol's conformance data.
const testSecret = "test-secret-must-be-at-least-32-chars!!"

const exampleStateJSON = `{
	"policy_version": "v0.9", "period_id": "2026-02",
	"kill_switch": {"global": false, "agents": {}},
	"allowlists": {},
	"budget": {"budget_limit": {"agent-1": "10000"}, "spent_in_period": {"agent-1": "0"}},
	"max_amount_per_action": {"agent-1": "5000"},
	"velocity": {"config": {"window_seconds": 60, "max_actions": 100}, "counters": {}},
	"replay": {"window_seconds": 3600, "max_nonces_per_agent": 256, "nonces": {}},
	"concurrency": {"max_concurrent": {"agent-1": 2}, "active": {}, "active_auths": {}},
	"recursion": {"max_depth": {"agent-1": 2}},
	"tool_limits": {"window_seconds": 60, "max_calls": {"agent-1": 10}, "calls": {}}
}`

const exampleIntentJSON = `{
	"agent_id": "agent-1", "type": "EXECUTE", "tool_call": true, "tool": "openai.responses",
	"nonce": "42", "amount": "100", "timestamp": 1730000000, "depth": 0
}`

// exampleState returns the state of the worked example: one agent with a budget of 10000.
func exampleState() *State {
	s, err := DecodeState([]byte(exampleStateJSON))
	if err != nil {
		panic(err)
	}
	return s
}

// exampleIntent returns the intent of the worked example, with members replaced or added.
func exampleIntent(changes ...Member) Intent {
	v, err := Parse([]byte(exampleIntentJSON))
	if err != nil {
		panic(err)
	}
	o := v.(*Object)
	for _, c := range changes {
		o = o.Without(c.Name)
		o.Members = append(o.Members, c)
	}
	in, err := NewIntent(o)
	if err != nil {
		panic(err)
	}
	return in
}

func exampleOptions() Options {
	return Options{PolicyVersion: "v0.9", EngineSecret: testSecret}
}

func exampleEngine(tb testing.TB) *Engine {
	tb.Helper()
	return engineOf(tb, exampleOptions())
}

func bigInt(n int64) *big.Int { return big.NewInt(n) }
