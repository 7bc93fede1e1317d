package oxdeai

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// engineRun holds one line for each step of one run: the intent, the outcome, and the hashes after it. It shows every
// reason of every module at least once, with the default options.
var engineRun = filepath.Join("testdata", "engine.jsonl")

// runStep is one intent of the run. Edit changes the state before it, as a host would.
type runStep struct {
	id      string
	mode    DenyMode
	edit    func(*State)
	changes []Member
}

// releaseFirst stands for the id of the run's first authorization.
const releaseFirst = "(first authorization)"

var runSteps = []runStep{
	{id: "allowed", changes: []Member{{"action_type", "PAYMENT"}, {"asset", "USD"}}},
	{id: "nonce replayed"},
	{id: "second slot", changes: []Member{{"nonce", "43"}, {"tool_call", false}, {"target", "caf\u00e9"}}},
	{id: "no slot is left", changes: []Member{{"nonce", "44"}}},
	{id: "a release of an unknown id", changes: []Member{{"type", TypeRelease}, {"authorization_id", "constructor"}, {"nonce", "45"}}},
	{id: "a release", changes: []Member{{"type", TypeRelease}, {"authorization_id", releaseFirst}, {"nonce", "46"}}},
	{id: "the release again", changes: []Member{{"type", TypeRelease}, {"authorization_id", releaseFirst}, {"nonce", "47"}}},
	{id: "over the cap", changes: []Member{{"nonce", "48"}, {"amount", "5001"}}},
	{id: "over the budget", edit: func(s *State) { s.Budget.Limit["agent-1"] = bigInt(250) }, changes: []Member{{"nonce", "49"}}},
	{id: "exactly the budget", changes: []Member{{"nonce", "50"}, {"amount", "50"}}},
	{id: "too deep", changes: []Member{{"nonce", "51"}, {"depth", Int(3)}}},
	{
		id: "missing all lists", edit: func(s *State) { s.Allowlists = Allowlists{[]string{"PAYMENT"}, []string{"USD"}, []string{"shop"}} },
		changes: []Member{{"nonce", "52"}, {"asset", "EUR"}},
	},
	{
		id: "everything is wrong", mode: CollectAll,
		edit: func(s *State) {
			s.KillSwitch.Agents = map[string]bool{"agent-1": true}
			s.ToolLimits.MaxCalls = map[string]int64{"agent-1": 1}
			s.Velocity.MaxActions = 3
		},
		changes: []Member{{"depth", Int(9)}, {"amount", "5001"}},
	},
	{id: "negative amount", changes: []Member{{"nonce", "53"}, {"amount", "-1"}}},
	{id: "unknown agent", changes: []Member{{"nonce", "54"}, {"agent_id", "agent-2"}}},
	{
		id: "no nonce", edit: func(s *State) { s.KillSwitch.Agents, s.Allowlists = nil, Allowlists{} },
		changes: []Member{{"nonce", nil}},
	},
	{id: "another version", edit: func(s *State) { s.PolicyVersion = "v1" }, changes: []Member{{"nonce", "55"}}},
}

func TestEngineRun(t *testing.T) {
	t.Parallel()
	got := runAll(t)
	if *update {
		if err := os.WriteFile(engineRun, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(engineRun)
	if err != nil {
		t.Fatal(err)
	}
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	if len(g) != len(w) {
		t.Fatalf("%d lines, want %d: run with -update", len(g), len(w))
	}
	for i := range g {
		if !bytes.Equal(g[i], w[i]) {
			t.Errorf("line %d\ngot  %s\nwant %s", i+1, g[i], w[i])
		}
	}
}

func runAll(t *testing.T) []byte {
	o := exampleOptions()
	o.CheckpointEveryNEvents = 5
	e, s := engineOf(t, o), exampleState()
	var first string
	var out []byte
	for _, step := range runSteps {
		if step.edit != nil {
			s = s.Clone()
			step.edit(s)
		}
		in := exampleIntent(step.resolved(first)...)
		result := e.EvaluatePure(in, s, step.mode)
		if result.Decision == Allow {
			s = result.NextState
			if first == "" {
				first = result.Authorization.AuthID
			}
		}
		hash, err := e.StateHash(s)
		if err != nil {
			t.Fatal(err)
		}
		line := NewObject(
			Member{"audit_head", e.Audit().HeadHash()}, Member{"decision", string(result.Decision)}, Member{"id", step.id},
			Member{"intent", in.bound}, Member{"reasons", Strings(result.Reasons)}, Member{"state_hash", hash},
		)
		if result.Authorization != nil {
			line.Members = append(line.Members, Member{"authorization", result.Authorization.Object()})
		}
		if out, err = AppendCanonical(out, line); err != nil {
			t.Fatal(err)
		}
		out = append(out, '\n')
	}
	return out
}

// resolved puts the id of the first authorization in its place.
func (s runStep) resolved(first string) []Member {
	out := append([]Member(nil), s.changes...)
	for i := range out {
		if out[i].Value == releaseFirst {
			out[i].Value = first
		}
	}
	return out
}
