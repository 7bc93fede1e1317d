package oxdeai

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// call is one intent of a table, and the reasons that are expected.
type call struct {
	at      int64 // seconds after the first intent
	changes []Member
	want    []Reason
}

// edges are the limits of every module: what is last allowed, and what is first denied.
var edges = map[string]struct {
	edit  func(*State)
	calls []call
}{
	"a nonce as old as the window still counts": {
		func(s *State) { s.Replay.WindowSeconds = 10 },
		[]call{{0, nil, nil}, {10, nil, []Reason{NonceReplayed}}, {11, nil, nil}},
	},
	"the oldest nonce is forgotten first": {
		func(s *State) { s.Replay.MaxNoncesPerAgent = 1 },
		[]call{{0, nil, nil}, {1, []Member{{"nonce", "43"}}, nil}, {2, []Member{{"nonce", "43"}}, []Reason{NonceReplayed}}, {2, nil, nil}},
	},
	"a tool call as old as the window still counts": {
		func(s *State) { s.ToolLimits.WindowSeconds, s.ToolLimits.MaxCalls["agent-1"] = 10, 1 },
		[]call{{0, nil, nil}, {10, []Member{{"nonce", "1"}}, []Reason{ToolCallsExceeded}}, {11, []Member{{"nonce", "2"}}, nil}},
	},
	"what is no tool call is not counted": {
		func(s *State) { s.ToolLimits.MaxCalls["agent-1"] = 0 },
		[]call{{0, []Member{{"tool_call", false}}, nil}, {0, []Member{{"nonce", "1"}}, []Reason{ToolCallsExceeded}}},
	},
	"a tool has a limit of its own": {
		func(s *State) {
			s.ToolLimits.MaxCallsByTool = map[string]map[string]int64{"agent-1": {"mail": 1, "": 0}}
		},
		[]call{
			{0, []Member{{"tool", "mail"}}, nil},
			{0, []Member{{"nonce", "1"}, {"tool", "mail"}}, []Reason{ToolCallsExceeded}},
			{0, []Member{{"nonce", "2"}, {"tool", ""}}, nil},
		},
	},
	"a window of actions is over when its seconds are": {
		func(s *State) { s.Velocity.WindowSeconds, s.Velocity.MaxActions = 10, 1 },
		[]call{{0, nil, nil}, {9, []Member{{"nonce", "1"}}, []Reason{VelocityExceeded}}, {10, []Member{{"nonce", "2"}}, nil}},
	},
	"an earlier time stays in the window": {
		func(s *State) { s.Velocity.MaxActions = 1 },
		[]call{{0, nil, nil}, {-500, []Member{{"nonce", "1"}}, []Reason{VelocityExceeded}}},
	},
	"the cap itself is allowed": {
		nil,
		[]call{{0, []Member{{"amount", "5000"}}, nil}, {0, []Member{{"nonce", "1"}, {"amount", "5001"}}, []Reason{CapExceeded}}},
	},
	"the deepest level is allowed": {
		nil,
		[]call{{0, []Member{{"depth", Int(2)}}, nil}, {0, []Member{{"nonce", "1"}, {"depth", Int(3)}}, []Reason{DepthExceeded}}},
	},
	"an asset list does not bind who names none": {
		func(s *State) { s.Allowlists.Assets = []string{"EUR"} },
		[]call{{0, nil, nil}, {0, []Member{{"nonce", "1"}, {"asset", "USD"}}, []Reason{AllowlistAsset}}},
	},
	"names of lists are compared as they came": {
		func(s *State) { s.Allowlists.Targets = []string{"caf\u00e9"} },
		[]call{{0, []Member{{"target", "cafe\u0301"}}, []Reason{AllowlistTarget}}, {0, []Member{{"target", "caf\u00e9"}}, nil}},
	},
	"a global kill switch stops all": {
		func(s *State) { s.KillSwitch.Global = true },
		[]call{{0, nil, []Reason{KillSwitchOn}}},
	},
}

func TestEdges(t *testing.T) {
	t.Parallel()
	for name, c := range edges {
		t.Run(name, func(t *testing.T) {
			s := exampleState()
			s.Concurrency.MaxConcurrent["agent-1"] = 10
			if c.edit != nil {
				c.edit(s)
			}
			e := exampleEngine(t)
			for i, call := range c.calls {
				in := exampleIntent(append([]Member{{"timestamp", Int(1730000000 + call.at)}}, call.changes...)...)
				out := e.EvaluatePure(in, s, CollectAll)
				if !slices.Equal(out.Reasons, call.want) {
					t.Fatalf("call %d: %v (%v), want %v", i, out.Reasons, out.Err, call.want)
				}
				if out.Decision == Allow {
					s = out.NextState
				}
			}
		})
	}
}

// TestStatesWithoutAHash: a part that cannot be written denies every intent that would be allowed, whoever the part
// belongs to.
func TestStatesWithoutAHash(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*State){
		"replay window 0":           func(s *State) { s.Replay.WindowSeconds = 0 },
		"tool window 0":             func(s *State) { s.ToolLimits.WindowSeconds = 0 },
		"velocity window negative":  func(s *State) { s.Velocity.WindowSeconds = -1 },
		"nonce limit negative":      func(s *State) { s.Replay.MaxNoncesPerAgent = -1 },
		"counter negative":          func(s *State) { s.Velocity.Counters["b"] = VelocityCounter{0, -1} },
		"depth negative":            func(s *State) { s.MaxDepth["b"] = -1 },
		"calls negative":            func(s *State) { s.ToolLimits.MaxCalls["b"] = -1 },
		"calls of a tool negative":  func(s *State) { s.ToolLimits.MaxCallsByTool = map[string]map[string]int64{"b": {"x": -1}} },
		"active without slots":      func(s *State) { s.Concurrency.Active["b"] = 1 },
		"slots negative":            func(s *State) { s.Concurrency.MaxConcurrent["b"] = -1 },
		"a nonce twice":             func(s *State) { s.Replay.Nonces["b"] = []NonceRecord{{"1", 5}, {"2", 5}, {"1", 5}} },
		"a time that is unsafe":     func(s *State) { s.Replay.Nonces["b"] = []NonceRecord{{"1", 1 << 54}} },
		"an amount that is missing": func(s *State) { s.Budget.Spent["b"] = nil },
		"names equal in NFC":        func(s *State) { s.MaxDepth["é"], s.MaxDepth["e\u0301"] = 1, 1 },
		"a name that is not UTF-8":  func(s *State) { s.KillSwitch.Agents["\xff"] = false },
		"an agent called ts":        func(s *State) { s.Budget.Limit["ts"] = bigInt(1) },
		"slots of an agent ts":      func(s *State) { s.Concurrency.MaxConcurrent["ts"] = 1 },
		"an id called ts": func(s *State) {
			s.Concurrency.ActiveAuths = map[string]map[string]int64{"agent-1": {"ts": 1}}
		},
	} {
		s := exampleState()
		edit(s)
		if err := s.Check(); err == nil {
			t.Errorf("%s: has a hash", name)
		}
		out := exampleEngine(t).EvaluatePure(exampleIntent(), s, FailFast)
		if out.Decision != Deny || !slices.Equal(out.Reasons, []Reason{InternalError}) || out.Err == nil {
			t.Errorf("%s: %s %v", name, out.Decision, out.Reasons)
		}
	}
	s := exampleState()
	s.MaxDepth["ts"], s.ToolLimits.MaxCalls["ts"] = 1, 1
	if err := s.Check(); err != nil {
		t.Errorf("an agent ts with numbers only: %v", err)
	}
}

// TestStatesThatAreRead: what JSON says wrongly denies, with the reason that tells a missing part from a value out of
// range.
func TestStatesThatAreRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, new string
		want     []Reason
	}{
		"as it is":               {`"2026-02"`, `7`, nil},
		"no period":              {`"period_id": "2026-02",`, ``, []Reason{StateInvalid}},
		"version is a number":    {`"policy_version": "v0.9"`, `"policy_version": 9`, []Reason{StateInvalid}},
		"null allowlists":        {`"allowlists": {}`, `"allowlists": null`, []Reason{StateInvalid}},
		"a list of numbers":      {`"allowlists": {}`, `"allowlists": {"targets": [1]}`, []Reason{StateInvalid}},
		"null lists":             {`"allowlists": {}`, `"allowlists": {"targets": null}`, nil},
		"a switch as text":       {`"global": false`, `"global": "false"`, []Reason{StateInvalid}},
		"no limit of the agent":  {`"budget_limit": {"agent-1": "10000"}`, `"budget_limit": {}`, []Reason{StateInvalid}},
		"a window as text":       {`"window_seconds": 3600`, `"window_seconds": "3600"`, []Reason{StateInvalid}},
		"no tool_limits":         {`"tool_limits"`, `"tools"`, []Reason{StateInvalid}},
		"a window with fraction": {`"window_seconds": 3600`, `"window_seconds": 3600.5`, []Reason{InternalError}},
		"an unsafe limit":        {`"max_actions": 100`, `"max_actions": 1e300`, []Reason{InternalError}},
		"another agent's budget": {`"budget_limit": {`, `"budget_limit": {"b": "x",`, []Reason{InternalError}},
		"another agent's expiry": {`"active_auths": {}`, `"active_auths": {"b": {"x": {"expires_at": 1.5}}}`, []Reason{InternalError}},
		"a nonce as a number":    {`"nonces": {}`, `"nonces": {"b": [{"nonce": 1, "ts": 1}]}`, []Reason{InternalError}},
		"a null tool":            {`"calls": {}`, `"calls": {"b": [{"tool": null, "ts": 1}]}`, nil},
		"a tool as a number":     {`"calls": {}`, `"calls": {"b": [{"tool": 1, "ts": 1}]}`, []Reason{InternalError}},
		"amounts as numbers":     {`"agent-1": "5000"`, `"agent-1": 5000`, nil},
		"amounts with an n":      {`"agent-1": "5000"`, `"agent-1": "5000n"`, nil},
		"releases that are none": {`"allowlists": {}`, `"allowlists": {}, "released_auths": 1`, []Reason{StateInvalid}},
	} {
		text := strings.Replace(exampleStateJSON, c.old, c.new, 1)
		if text == exampleStateJSON {
			t.Fatalf("%s: nothing to replace", name)
		}
		s := ReadState(mustParse(t, []byte(text)))
		out := exampleEngine(t).EvaluatePure(exampleIntent(), s, FailFast)
		if !slices.Equal(out.Reasons, c.want) {
			t.Errorf("%s: %v (%v), want %v", name, out.Reasons, out.Err, c.want)
		}
		// Check cannot know whose intent will come, so it does not miss the limits of one agent.
		if err := s.Check(); (err == nil) != (c.want == nil || strings.HasPrefix(name, "no limit")) {
			t.Errorf("%s: check says %v", name, err)
		}
	}
	for _, v := range []Value{nil, "x", []Value{}, NewObject()} {
		if out := exampleEngine(t).EvaluatePure(exampleIntent(), ReadState(v), FailFast); !slices.Equal(out.Reasons, []Reason{StateInvalid}) {
			t.Errorf("%v: %v", v, out.Reasons)
		}
	}
}

// TestPayloads compares the bytes of every module of a state with awkward names, lists out of order and agents that
// are only in some maps.
func TestPayloads(t *testing.T) {
	t.Parallel()
	s := exampleState()
	s.Allowlists.Targets = []string{"\ue000", "b", "\U00010000", "b", "e\u0301"}
	s.KillSwitch.Agents = map[string]bool{"\ue000": true, "\U00010000": false, "10": false, "9": true, "e\u0301": false}
	s.Concurrency = Concurrency{
		MaxConcurrent: map[string]int64{"m": 2}, Active: map[string]int64{"a": 0},
		ActiveAuths: map[string]map[string]int64{"x": {"id": 7}},
	}
	s.Replay.Nonces = map[string][]NonceRecord{"a": {{"9", 2}, {"10", 2}, {"1", 3}, {"5", 1}}, "b": {}}
	s.ToolLimits.Calls = map[string][]ToolCall{"a": {{2, "b", true}, {2, "", false}, {1, "z", true}, {2, "", true}}}
	for i, want := range []string{
		`{"action_types":[],"assets":[],"targets":["b","é","` + "\U00010000" + `","` + "\ue000" + `"]}`,
		`{"budget_limit":{"agent-1":"10000"},"max_amount_per_action":{"agent-1":"5000"},"spent_in_period":{"agent-1":"0"}}`,
		`{"active":{"a":0,"m":0,"x":0},"active_auths":{"a":{},"m":{},"x":{"id":{"expires_at":7}}},"max_concurrent":{"a":0,"m":2,"x":0}}`,
		`{"agents":{"10":false,"9":true,"é":false,"` + "\ue000" + `":true,"` + "\U00010000" + `":false},"global":false}`,
		`{"max_depth":{"agent-1":2}}`,
		`{"max_nonces_per_agent":256,"nonces":{"a":[{"nonce":"5","ts":1},{"nonce":"10","ts":2},{"nonce":"9","ts":2},{"nonce":"1","ts":3}],"b":[]},"window_seconds":3600}`,
		`{"calls":{"a":[{"tool":"z","ts":1},{"ts":2},{"tool":"","ts":2},{"tool":"b","ts":2}]},"max_calls":{"agent-1":10},"max_calls_by_tool":{},"window_seconds":60}`,
		`{"config":{"max_actions":100,"window_seconds":60},"counters":{}}`,
	} {
		e := newEncoder()
		if err := e.module(s, i); err != nil || string(e.buf) != want {
			t.Errorf("%s (%v)\ngot  %s\nwant %s", modules[i].id, err, e.buf, want)
		}
		if canonical, err := Canonical(mustParse(t, e.buf)); err != nil || !bytes.Equal(canonical, e.buf) {
			t.Errorf("%s is not canonical: %s (%v)", modules[i].id, canonical, err)
		}
		e.release()
	}
}

// TestImport: what each module takes as its payload, and that a failure changes nothing.
func TestImport(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		module, payload string
		ok              bool
	}{
		"no list":                  {"AllowlistModule", `{}`, true},
		"a null list":              {"AllowlistModule", `{"assets":null}`, false},
		"a list of numbers":        {"AllowlistModule", `{"assets":[1]}`, false},
		"no budget":                {"BudgetModule", `{}`, true},
		"null maps":                {"BudgetModule", `{"budget_limit":null}`, true},
		"a leading zero":           {"BudgetModule", `{"budget_limit":{"a":"01"}}`, false},
		"a sign":                   {"BudgetModule", `{"budget_limit":{"a":"-1"}}`, false},
		"an n":                     {"BudgetModule", `{"spent_in_period":{"a":"1n"}}`, false},
		"a number":                 {"BudgetModule", `{"max_amount_per_action":{"a":1}}`, false},
		"zero":                     {"BudgetModule", `{"budget_limit":{"a":"0"}}`, true},
		"an array":                 {"BudgetModule", `[]`, false},
		"active, no slots":         {"ConcurrencyModule", `{"active":{"a":1}}`, false},
		"active in slots":          {"ConcurrencyModule", `{"active":{"a":1},"max_concurrent":{"a":1}}`, true},
		"a fractional expiry":      {"ConcurrencyModule", `{"active_auths":{"a":{"x":{"expires_at":0.5}}}}`, false},
		"an id without expiry":     {"ConcurrencyModule", `{"active_auths":{"a":{"x":{}}}}`, false},
		"no global switch":         {"KillSwitchModule", `{"agents":{}}`, false},
		"a switch as text":         {"KillSwitchModule", `{"global":false,"agents":{"a":"no"}}`, false},
		"a negative depth":         {"RecursionDepthModule", `{"max_depth":{"a":-1}}`, false},
		"no nonces":                {"ReplayModule", `{"window_seconds":1,"max_nonces_per_agent":0}`, true},
		"no replay window":         {"ReplayModule", `{"max_nonces_per_agent":0}`, false},
		"a nonce twice":            {"ReplayModule", `{"window_seconds":1,"max_nonces_per_agent":0,"nonces":{"a":[{"nonce":"1","ts":1},{"nonce":"2","ts":1},{"nonce":"1","ts":1}]}}`, false},
		"a nonce at two times":     {"ReplayModule", `{"window_seconds":1,"max_nonces_per_agent":0,"nonces":{"a":[{"nonce":"1","ts":2},{"nonce":"1","ts":1}]}}`, true},
		"a tool that is null":      {"ToolAmplificationModule", `{"window_seconds":1,"calls":{"a":[{"tool":null,"ts":1}]}}`, true},
		"a tool that is a number":  {"ToolAmplificationModule", `{"window_seconds":1,"calls":{"a":[{"tool":1,"ts":1}]}}`, false},
		"a negative tool limit":    {"ToolAmplificationModule", `{"window_seconds":1,"max_calls_by_tool":{"a":{"x":-1}}}`, false},
		"a tool window of 0":       {"ToolAmplificationModule", `{"window_seconds":0}`, false},
		"no config":                {"VelocityModule", `{"counters":{}}`, false},
		"a negative count":         {"VelocityModule", `{"config":{"window_seconds":1,"max_actions":0},"counters":{"a":{"window_start":0,"count":-1}}}`, false},
		"a negative window start":  {"VelocityModule", `{"config":{"window_seconds":1,"max_actions":0},"counters":{"a":{"window_start":-1,"count":0}}}`, true},
		"a module that is unknown": {"WeatherModule", `1`, true},
	} {
		e, s := exampleEngine(t), exampleState()
		text := fmt.Sprintf(`{"formatVersion":1,"engineVersion":"x","policyId":%q,"modules":{%q:%s}}`, e.PolicyID(), c.module, c.payload)
		snap, err := DecodeSnapshot([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		err = e.Import(s, snap)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrImport) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && mustEncode(t, s) != mustEncode(t, exampleState()) {
			t.Errorf("%s: the state changed", name)
		}
		if err == nil && s.Check() != nil {
			t.Errorf("%s: imported, but %v", name, s.Check())
		}
	}
}

func TestDecodeSnapshotRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`[]`:                  "invalid canonical state",
		`null`:                "invalid canonical state",
		`{}`:                  "invalid canonical state: missing formatVersion",
		`{"formatVersion":2}`: "invalid canonical state: unsupported formatVersion",
		`{"formatVersion":"1","engineVersion":"x"}`:                           "invalid canonical state: unsupported formatVersion",
		`{"formatVersion":1}`:                                                 "invalid canonical state: engineVersion",
		`{"formatVersion":1.0,"engineVersion":"x","policyId":null}`:           "invalid canonical state: policyId",
		`{"formatVersion":1,"engineVersion":"x","policyId":"","modules":[]}`:  "invalid canonical state: modules",
		`{"formatVersion":1,"engineVersion":"x","policyId":"","modules":{}} `: "",
	} {
		_, err := DecodeSnapshot([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
