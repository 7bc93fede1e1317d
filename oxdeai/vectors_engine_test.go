package oxdeai

import (
	"strings"
	"testing"
)

// vectorCases calls f for every case of a vector file, which is an object with a list called vectors, or the list
// itself.
func vectorCases(t *testing.T, file string, f func(t *testing.T, c *Object)) {
	t.Helper()
	v := mustParse(t, conformance(t, "vectors", file))
	if o, ok := v.(*Object); ok {
		v, _ = o.Get("vectors")
	}
	cases, _ := v.([]Value)
	if len(cases) == 0 {
		t.Fatalf("%s has no cases", file)
	}
	for _, c := range cases {
		t.Run(want(t, c.(*Object), "id"), func(t *testing.T) { f(t, c.(*Object)) })
	}
	t.Logf("%s: %d cases", file, len(cases))
}

// conformanceEngine is the engine that the vectors were made with.
func conformanceEngine(t *testing.T) *Engine {
	t.Helper()
	return engineOf(t, Options{PolicyVersion: "v1.0.0", EngineSecret: testSecret, PolicyID: strings.Repeat("a", 64)})
}

// conformanceState is the state that the vectors start from.
func conformanceState() *State {
	s := exampleState()
	s.PolicyVersion, s.PeriodID = "v1.0.0", "period-1"
	million := int64(1_000_000)
	s.Budget.Limit["agent-1"] = bigInt(5 * million)
	s.MaxAmountPerAction["agent-1"] = bigInt(2 * million)
	s.Velocity.MaxActions = 10
	s.Replay.WindowSeconds = 300
	s.Concurrency.MaxConcurrent["agent-1"] = 3
	s.MaxDepth["agent-1"] = 5
	s.ToolLimits.MaxCalls["agent-1"] = 50
	return s
}

func TestVectorsCanonical(t *testing.T) {
	vectorCases(t, "canonicalization-v1.json", func(t *testing.T, c *Object) {
		input, _ := c.Get("input")
		got, err := Canonical(input)
		if constant, ok := c.Text("expected_error"); ok {
			if err == nil || !strings.HasPrefix(err.Error(), constant) {
				t.Errorf("error %v, want %s", err, constant)
			}
			return
		}
		if err != nil || string(got) != want(t, c, "expected_canonical_json") {
			t.Errorf("got %s (%v)", got, err)
		}
		if hashBytes(got) != want(t, c, "expected_sha256") {
			t.Errorf("hash %s", hashBytes(got))
		}
	})
}

func TestVectorsIntentHash(t *testing.T) {
	vectorCases(t, "intent-hash.json", func(t *testing.T, c *Object) {
		in, err := NewIntent(member(t, c, "input"))
		if err != nil {
			t.Fatal(err)
		}
		if h, err := in.Hash(); err != nil || h != want(t, member(t, c, "expected"), "hash") {
			t.Errorf("hash %s (%v)", h, err)
		}
	})
}

func TestVectorsAuthorizationPayload(t *testing.T) {
	vectorCases(t, "authorization-payload.json", func(t *testing.T, c *Object) {
		in, err := NewIntent(member(t, c, "input"))
		if err != nil {
			t.Fatal(err)
		}
		out := conformanceEngine(t).EvaluatePure(in, conformanceState(), FailFast)
		if out.Decision != Allow {
			t.Fatal(out.Reasons, out.Err)
		}
		a, expected := out.Authorization, member(t, c, "expected")
		payload, err := Canonical(NewObject(
			Member{"expires_at", Int(a.Expiry)}, Member{"intent_hash", a.IntentHash},
			Member{"policy_id", a.PolicyID}, Member{"state_hash", a.StateSnapshotHash},
		))
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]string{
			"intent_hash": a.IntentHash, "policy_id": a.PolicyID, "state_hash": a.StateSnapshotHash,
			"signature": a.EngineSignature, "canonical_signing_payload": string(payload),
		} {
			if got != want(t, expected, name) {
				t.Errorf("%s is %s", name, got)
			}
		}
		if v, _ := expected.Get("expires_at"); v != Int(a.Expiry) {
			t.Errorf("expires_at is %d", a.Expiry)
		}
	})
}

func TestVectorsSnapshotHash(t *testing.T) {
	vectorCases(t, "snapshot-hash.json", func(t *testing.T, c *Object) {
		expected := member(t, c, "expected")
		text, isInput := c.Text("input_snapshot_base64")
		if !isInput {
			s := ReadState(member(t, c, "input_state"))
			text = want(t, expected, "snapshot_base64")
			checkState(t, conformanceEngine(t), s, want(t, expected, "state_hash"), text)
		}
		snap, err := DecodeSnapshot(unbase64(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if h, err := ModulesHash(snap); err != nil || h != want(t, expected, "state_hash") {
			t.Errorf("hash of the snapshot %s (%v)", h, err)
		}
	})
}

// TestVectorsAuditChain runs the cases by what they hold: a genesis text, one event, three events, or a mutated event.
func TestVectorsAuditChain(t *testing.T) {
	vectorCases(t, "audit-chain.json", func(t *testing.T, c *Object) {
		expected := member(t, c, "expected")
		v, _ := c.Get("input")
		input, ok := v.(*Object)
		if !ok {
			if h := hashBytes([]byte(v.(string))); h != GenesisHash || h != want(t, expected, "genesis_hex") {
				t.Errorf("genesis %s", h)
			}
			return
		}
		step := func(head, event, result string) string {
			t.Helper()
			o := member(t, input, event)
			if text, ok := input.Text("canonical_" + event); ok {
				if b, err := Canonical(o); err != nil || string(b) != text {
					t.Errorf("%s is %s (%v)", event, b, err)
				}
			}
			next, err := ChainStep(head, o)
			if err != nil {
				t.Fatal(err)
			}
			if h, ok := expected.Text(result); ok && h != next {
				t.Errorf("%s is %s, want %s", result, next, h)
			}
			return next
		}
		head := GenesisHash
		if h, ok := input.Text("head_0"); ok {
			head = h
		}
		if _, ok := input.Get("mutated_event_0"); ok {
			original := step(head, "original_event_0", "original_head_1")
			if step(head, "mutated_event_0", "mutated_head_1") == original {
				t.Error("a changed event gives the same head")
			}
			return
		}
		for i, event := range []string{"event_0", "event_1", "event_2"} {
			if _, ok := input.Get(event); !ok {
				if i == 0 {
					t.Fatal("no event")
				}
				break
			}
			head = step(head, event, "head_"+string(rune('1'+i)))
		}
	})
}
