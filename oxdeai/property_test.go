package oxdeai

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var agents = []string{"agent-1", "agent-2", "Ångström", "constructor"}

// drawState draws a state in which every agent has all limits, small enough that some intents are denied.
func drawState(t *rapid.T) *State {
	s := exampleState()
	s.Velocity.MaxActions = rapid.Int64Range(1, 12).Draw(t, "max actions")
	s.Velocity.WindowSeconds = rapid.Int64Range(1, 50).Draw(t, "velocity window")
	s.Replay.MaxNoncesPerAgent = rapid.Int64Range(0, 6).Draw(t, "nonces")
	s.ToolLimits.MaxCallsByTool = map[string]map[string]int64{}
	for _, a := range agents {
		s.Budget.Limit[a] = bigInt(rapid.Int64Range(0, 2000).Draw(t, "limit"))
		s.MaxAmountPerAction[a] = bigInt(rapid.Int64Range(0, 400).Draw(t, "cap"))
		s.Concurrency.MaxConcurrent[a] = rapid.Int64Range(0, 4).Draw(t, "slots")
		s.MaxDepth[a] = rapid.Int64Range(0, 3).Draw(t, "depth limit")
		s.ToolLimits.MaxCalls[a] = rapid.Int64Range(0, 6).Draw(t, "calls")
		s.ToolLimits.MaxCallsByTool[a] = map[string]int64{"search": 2}
		s.KillSwitch.Agents[a] = rapid.IntRange(0, 9).Draw(t, "killed") == 0
	}
	return s
}

// drawIntent draws an intent at a time; ids are the authorizations that it may release.
func drawIntent(t *rapid.T, at int64, ids []string) *Object {
	o := NewObject(
		Member{"agent_id", rapid.SampledFrom(agents).Draw(t, "agent")},
		Member{"amount", fmt.Sprint(rapid.IntRange(0, 450).Draw(t, "amount"))},
		Member{"nonce", fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "nonce"))},
		Member{"timestamp", Int(at)},
		Member{"depth", Int(rapid.Int64Range(0, 4).Draw(t, "depth"))},
		Member{"target", "café\u0301"},
	)
	if rapid.Bool().Draw(t, "call") {
		tool := rapid.SampledFrom([]string{"", "search", "mail"}).Draw(t, "tool")
		o.Members = append(o.Members, Member{"tool_call", true}, Member{"tool", tool})
	}
	if rapid.IntRange(0, 2).Draw(t, "release") == 0 && len(ids) > 0 {
		id := rapid.SampledFrom(ids).Draw(t, "id")
		o.Members = append(o.Members, Member{"type", TypeRelease}, Member{"authorization_id", id})
	}
	return o
}

func read(t *rapid.T, o *Object) Intent {
	in, err := NewIntent(o)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// reordered returns the value with the members of every object in another order.
func reordered(t *rapid.T, v Value) Value {
	switch v := v.(type) {
	case *Object:
		out := &Object{}
		for _, m := range rapid.Permutation(v.Members).Draw(t, "order") {
			out.Members = append(out.Members, Member{m.Name, reordered(t, m.Value)})
		}
		return out
	case []Value:
		out := make([]Value, len(v))
		for i := range v {
			out[i] = reordered(t, v[i])
		}
		return out
	}
	return v
}

// I1: the order in which members are written does not change a hash or a decision.
func TestPropertyMemberOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, e := drawState(t), engineOfProperty(t)
		encoded, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		v, _ := Parse(encoded)
		other := ReadState(reordered(t, v))
		o := drawIntent(t, 1730000000, nil)
		a := e.EvaluatePure(read(t, o), s, CollectAll)
		b := engineOfProperty(t).EvaluatePure(read(t, reordered(t, o).(*Object)), other, CollectAll)
		if !sameOutcome(a, b) {
			t.Fatalf("%v and %v", a, b)
		}
	})
}

func engineOfProperty(t *rapid.T) *Engine {
	e, err := NewEngine(exampleOptions())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func engineWithStore(t *rapid.T, store StateStore) *Engine {
	opts := exampleOptions()
	opts.StateStore = store
	e, err := NewEngine(opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func sameOutcome(a, b Outcome) bool {
	return a.Decision == b.Decision && slices.Equal(a.Reasons, b.Reasons) && reflect.DeepEqual(a.Authorization, b.Authorization)
}

// I2: a snapshot that is read back gives the same bytes and the same hash.
func TestPropertySnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := engineOfProperty(t)
		s := run(t, e, drawState(t), rapid.IntRange(0, 12).Draw(t, "steps"))
		first, hash := exported(t, e, s)
		snap, err := DecodeSnapshot(first)
		if err != nil {
			t.Fatal(err)
		}
		fresh := &State{PolicyVersion: s.PolicyVersion}
		if err := e.Import(fresh, snap); err != nil {
			t.Fatal(err)
		}
		second, hash2 := exported(t, e, fresh)
		if string(first) != string(second) || hash != hash2 {
			t.Fatalf("%s\n%s", first, second)
		}
		if h, err := ModulesHash(snap); err != nil || h != hash {
			t.Fatalf("hash of the snapshot %s (%v), of the state %s", h, err, hash)
		}
	})
}

func exported(t *rapid.T, e *Engine, s *State) (text []byte, hash string) {
	snap, err := e.Export(s)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = snap.Encode(); err != nil {
		t.Fatal(err)
	}
	if hash, err = e.StateHash(s); err != nil {
		t.Fatal(err)
	}
	return text, hash
}

// run evaluates some drawn intents with growing timestamps.
func run(t *rapid.T, e *Engine, s *State, steps int) *State {
	var ids []string
	for i := range steps {
		out := e.EvaluatePure(read(t, drawIntent(t, 1730000000+int64(7*i), ids)), s, FailFast)
		if out.Decision == Allow {
			s, ids = out.NextState, append(ids, out.Authorization.AuthID)
		}
	}
	return s
}

// I3: an engine that goes on with an imported state decides the same as one that was never interrupted. The set of
// released authorizations travels in the store, so a release is not possible twice across the interruption either.
func TestPropertyDecisionsSurviveTheStore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		store := &MemoryStore{}
		a, b := engineWithStore(t, store), engineWithStore(t, store)
		s := drawState(t)
		r := &State{PolicyVersion: s.PolicyVersion}
		var ids []string
		for i := range rapid.IntRange(1, 15).Draw(t, "steps") {
			if err := a.Commit(s); err != nil {
				t.Fatal(err)
			}
			if ok, err := b.Restore(r); err != nil || !ok {
				t.Fatal(ok, err)
			}
			o := drawIntent(t, 1730000000+int64(7*i), ids)
			x, y := a.EvaluatePure(read(t, o), s, CollectAll), b.EvaluatePure(read(t, o), r, CollectAll)
			if !sameOutcome(x, y) {
				t.Fatalf("step %d: %v and %v", i, x, y)
			}
			if x.Decision == Allow {
				s, ids = x.NextState, append(ids, x.Authorization.AuthID)
			}
		}
	})
}

// I4: replaying the same intents gives the same outcomes, the same state and the same audit head.
func TestPropertyReplay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		var intents []Intent
		for i := range rapid.IntRange(1, 15).Draw(t, "steps") {
			intents = append(intents, read(t, drawIntent(t, 1730000000+int64(i), nil)))
		}
		before, _ := s.Encode()
		a, b := engineOfProperty(t), engineOfProperty(t)
		first, end1 := a.Replay(s, intents)
		second, end2 := b.Replay(s.Clone(), intents)
		if !slices.EqualFunc(first, second, sameOutcome) || a.Audit().HeadHash() != b.Audit().HeadHash() {
			t.Fatal("two replays differ")
		}
		x, _ := end1.Encode()
		y, _ := end2.Encode()
		if string(x) != string(y) {
			t.Fatalf("%s\n%s", x, y)
		}
		if after, _ := s.Encode(); string(after) != string(before) {
			t.Fatalf("the initial state changed: %s", after)
		}
		if err := a.Audit().Verify(); err != nil {
			t.Fatal(err)
		}
	})
}

// childVariable tells the test binary to print the digest of a run instead of testing.
const childVariable = "OXDEAI_TEST_CHILD"

// I5: another process, with another time zone, locale and number of processors, comes to the same digest.
func TestDecisionsAreTheSameInAnotherProcess(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		fmt.Println("digest " + digest())
		return
	}
	t.Parallel()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := digest()
	for _, env := range [][]string{
		{"TZ=Asia/Kathmandu", "LC_ALL=tr_TR.UTF-8", "GOMAXPROCS=1"},
		{"TZ=America/St_Johns", "GODEBUG=randautoseed=0", "GOGC=20"},
	} {
		cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestDecisionsAreTheSameInAnotherProcess$")
		cmd.Env = append(append(os.Environ(), childVariable+"=1"), env...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), "digest "+want+"\n") {
			t.Errorf("with %v: %s, want digest %s", env, out, want)
		}
	}
}

// digest runs 500 fixed intents and returns one hash over everything that came out.
func digest() string {
	e, err := NewEngine(Options{PolicyVersion: "v0.9", EngineSecret: testSecret, CheckpointEveryNEvents: 4})
	if err != nil {
		panic(err)
	}
	s := exampleState()
	s.Budget.Limit["agent-1"] = bigInt(1 << 40)
	s.Concurrency.MaxConcurrent["agent-1"] = 100
	random := rand.New(rand.NewPCG(1, 2))
	var all []byte
	for i := range 500 {
		out := e.EvaluatePure(exampleIntent(
			Member{"nonce", fmt.Sprint(random.IntN(900))},
			Member{"amount", fmt.Sprint(random.IntN(6000))},
			Member{"timestamp", Int(int64(1730000000 + 5*i))},
		), s, CollectAll)
		if out.Decision == Allow {
			s = out.NextState
			all, _ = AppendCanonical(all, out.Authorization.Object())
		}
		all, _ = AppendCanonical(all, Strings(out.Reasons))
	}
	encoded, err := s.Encode()
	if err != nil {
		panic(err)
	}
	return hashBytes(append(append(all, encoded...), e.Audit().HeadHash()...))
}

// With the default options an agent never has more active actions than slots, never spends more than its budget, and
// its active count is the number of authorizations that were not released.
func TestPropertyLimitsHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := engineOfProperty(t)
		s := run(t, e, drawState(t), rapid.IntRange(0, 40).Draw(t, "steps"))
		for _, a := range agents {
			if s.Concurrency.Active[a] > s.Concurrency.MaxConcurrent[a] {
				t.Fatalf("%s has %d active actions", a, s.Concurrency.Active[a])
			}
			if open := len(s.Concurrency.ActiveAuths[a]) - len(s.released[a]); int64(open) != s.Concurrency.Active[a] {
				t.Fatalf("%s has %d active actions and %d open authorizations", a, s.Concurrency.Active[a], open)
			}
			if spent := s.Budget.Spent[a]; spent != nil && spent.Cmp(s.Budget.Limit[a]) > 0 {
				t.Fatalf("%s spent %s of %s", a, spent, s.Budget.Limit[a])
			}
		}
	})
}

// The canonical form is a fixed point: parsing it and writing it again gives the same bytes.
func TestPropertyCanonicalIsAFixedPoint(t *testing.T) {
	t.Parallel()
	leaf := rapid.OneOf(
		rapid.Map(rapid.String(), func(s string) Value { return s }),
		rapid.Map(rapid.Int64Range(-MaxSafeInteger, MaxSafeInteger), func(n int64) Value { return Int(n) }),
		rapid.Map(rapid.Bool(), func(b bool) Value { return b }),
		rapid.Just[Value](nil),
	)
	rapid.Check(t, func(t *rapid.T) {
		var v Value = rapid.SliceOf(leaf).Draw(t, "list")
		for range rapid.IntRange(0, 4).Draw(t, "levels") {
			v = NewObject(Member{rapid.String().Draw(t, "name"), v}, Member{"z" + rapid.String().Draw(t, "name"), leaf.Draw(t, "leaf")})
		}
		first, err := Canonical(v)
		if err != nil {
			t.Skip(err) // a drawn name is ts, or two are equal in NFC
		}
		again, err := Parse(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second, err := Canonical(again); err != nil || string(second) != string(first) {
			t.Fatalf("%s\n%s (%v)", first, second, err)
		}
	})
}
