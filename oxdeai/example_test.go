package oxdeai_test

import (
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

// The minimal example of the protocol: one agent, one budget, one tool call. The published example has a state without tool_limits,
// which is denied with STATE_INVALID; this one has it.
func Example() {
	engine, err := oxdeai.NewEngine(oxdeai.Options{
		PolicyVersion: "v0.9",
		EngineSecret:  "test-secret-must-be-at-least-32-chars!!",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := oxdeai.DecodeState([]byte(`{
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
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	intent, err := oxdeai.DecodeIntent([]byte(`{
		"agent_id": "agent-1", "type": "EXECUTE", "tool_call": true, "tool": "openai.responses",
		"nonce": "42", "amount": "100", "timestamp": 1730000000, "depth": 0
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}

	out := engine.EvaluatePure(intent, state, oxdeai.FailFast)
	fmt.Println(out.Decision, out.Authorization.AuthID)

	again := engine.EvaluatePure(intent, out.NextState, oxdeai.FailFast)
	fmt.Println(again.Decision, again.Reasons)

	// Output:
	// ALLOW bf8770aafdf14f7196f649cbcb419dd06cf02b21cf6a3d42db7c1dbb9e0311c8
	// DENY [REPLAY_NONCE]
}
