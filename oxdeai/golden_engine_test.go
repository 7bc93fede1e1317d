package oxdeai

import (
	"strings"
	"testing"
)

func TestGoldenSequences(t *testing.T) {
	goldenLines(t, "sequences.jsonl", func(t *testing.T, line *Object) { runSequence(t, line, Compat{}) })
}

// TestGoldenQuirks shows that the decisions of the reference come back with Compat, all but one: a name that the
// reference inherits from its language's base object is absent here.
func TestGoldenQuirks(t *testing.T) {
	reference := Compat{RepeatedRelease: true, NegativeAmount: true, NegativeDepth: true, UnknownType: true}
	goldenLines(t, "quirks.jsonl", func(t *testing.T, line *Object) {
		if strings.Contains(want(t, line, "note"), "constructor") {
			runInherited(t, line)
			return
		}
		runSequence(t, line, reference)
	})
}

// TestGoldenQuirksClosed shows that an engine denies where those lines allow because of a switch in Compat, or because
// of one in Harden that was not thrown.
func TestGoldenQuirksClosed(t *testing.T) {
	closed := map[string]int{"quirk-01": 2, "quirk-02": 1, "quirk-03": 1, "quirk-07": 1, "quirk-08": 1, "quirk-09": 1}
	goldenLines(t, "quirks.jsonl", func(t *testing.T, line *Object) {
		opts, _ := optionsOf(t, member(t, line, "options"))
		opts.Harden = Harden{NameAsset: true, KeepNonces: true}
		e := engineOf(t, opts)
		state := ReadState(member(t, line, "initial_state"))
		refused := 0
		for _, step := range list(t, line, "steps") {
			out := e.EvaluatePure(intentOf(t, step), state, FailFast)
			if out.Decision == Allow {
				state = out.NextState
			}
			if want(t, step, "decision") == "ALLOW" && out.Decision == Deny {
				refused++
			}
		}
		if id := want(t, line, "id"); refused < closed[id] {
			t.Errorf("%d steps are refused, want at least %d", refused, closed[id])
		}
	})
}

func runInherited(t *testing.T, line *Object) {
	opts, _ := optionsOf(t, member(t, line, "options"))
	steps := list(t, line, "steps")
	var intents []Intent
	for _, s := range steps {
		intents = append(intents, intentOf(t, s))
	}
	outcomes, _ := engineOf(t, opts).Replay(ReadState(member(t, line, "initial_state")), intents)
	last := outcomes[len(outcomes)-1]
	if last.Decision != Deny || len(last.Reasons) != 1 || last.Reasons[0] != ReleaseInvalid {
		t.Errorf("the release of an inherited name gives %s %v", last.Decision, last.Reasons)
	}
}

func intentOf(tb testing.TB, step *Object) Intent {
	tb.Helper()
	in, err := NewIntent(member(tb, step, "intent"))
	if err != nil {
		tb.Fatal(err)
	}
	return in
}

// runSequence runs one line of a sequence file.
func runSequence(t *testing.T, line *Object, compat Compat) {
	opts, fraction := optionsOf(t, member(t, line, "options"))
	if fraction {
		// The reference denies every intent of an engine whose lifetime has a fraction. Here such an engine cannot be
		// configured.
		for _, step := range list(t, line, "steps") {
			if want(t, step, "decision") != "DENY" {
				t.Fatal("an engine with a fractional lifetime allowed an intent")
			}
		}
		return
	}
	opts.Compat = compat
	r := runner{t: t, e: engineOf(t, opts), state: ReadState(member(t, line, "initial_state"))}
	if id := want(t, line, "policy_id"); r.e.PolicyID() != id {
		t.Fatalf("policy id %s, want %s", r.e.PolicyID(), id)
	}
	r.checkHash(line, "initial_state_hash")
	for i, step := range list(t, line, "steps") {
		r.step(step, DenyMode(want(t, line, "mode")))
		if t.Failed() {
			t.Fatalf("at step %d", i)
		}
	}
	r.checkEnd(line)
}

type runner struct {
	t     *testing.T
	e     *Engine
	state *State
}

// checkHash compares the hash of the state; null says that it has none.
func (r *runner) checkHash(o *Object, name string) {
	r.t.Helper()
	expected, _ := o.Get(name)
	got, err := r.e.StateHash(r.state)
	if expected == nil {
		if err == nil {
			r.t.Errorf("%s is %s, want none", name, got)
		}
		return
	}
	if err != nil || got != expected {
		r.t.Errorf("%s is %s (%v), want %v", name, got, err, expected)
	}
}

func (r *runner) step(step *Object, mode DenyMode) {
	r.t.Helper()
	if op, _ := step.Text("op"); op == "roundtrip" {
		r.roundTrip(step)
		return
	}
	if m, ok := step.Text("mode"); ok {
		mode = DenyMode(m)
	}
	out := r.e.EvaluatePure(intentOf(r.t, step), r.state, mode)
	if d := want(r.t, step, "decision"); string(out.Decision) != d {
		r.t.Fatalf("decision %s %v (%v), want %s", out.Decision, out.Reasons, out.Err, d)
	}
	reasons, _ := step.Get("reasons")
	r.checkValue("reasons", Strings(out.Reasons), reasons)
	if out.Decision == Allow {
		r.state = out.NextState
		r.checkValue("authorization", out.Authorization.Object(), member(r.t, step, "authorization"))
	}
	r.checkHash(step, "state_hash")
	if head := want(r.t, step, "audit_head"); r.e.Audit().HeadHash() != head {
		r.t.Errorf("audit head %s, want %s", r.e.Audit().HeadHash(), head)
	}
	count, _ := step.Get("audit_count")
	r.checkValue("audit_count", Int(int64(len(r.e.Audit().Events()))), count)
}

// checkValue compares two values by their canonical bytes.
func (r *runner) checkValue(what string, got, expected Value) {
	r.t.Helper()
	g, err := Canonical(got)
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	w, err := Canonical(expected)
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	if string(g) != string(w) {
		r.t.Errorf("%s\ngot  %s\nwant %s", what, g, w)
	}
}

// roundTrip goes on with a state that came out of the snapshot's bytes alone.
func (r *runner) roundTrip(step *Object) {
	r.t.Helper()
	checkState(r.t, r.e, r.state, want(r.t, step, "state_hash"), want(r.t, step, "snapshot_base64"))
	snap, err := DecodeSnapshot(unbase64(r.t, want(r.t, step, "snapshot_base64")))
	if err != nil {
		r.t.Fatal(err)
	}
	if h, err := ModulesHash(snap); err != nil || h != want(r.t, step, "verify_snapshot_state_hash") {
		r.t.Errorf("hash of the snapshot %s (%v)", h, err)
	}
	fresh := &State{PolicyVersion: r.state.PolicyVersion, PeriodID: r.state.PeriodID}
	if err := r.e.Import(fresh, snap); err != nil {
		r.t.Fatal(err)
	}
	r.state = fresh
	r.checkHash(step, "state_hash")
}

func (r *runner) checkEnd(line *Object) {
	r.t.Helper()
	if final, ok := line.Text("final_snapshot_base64"); ok {
		h, err := r.e.StateHash(r.state)
		if err != nil {
			r.t.Fatal(err)
		}
		checkState(r.t, r.e, r.state, h, final)
	}
	if events, ok := line.Get("audit_log"); ok {
		var got []Value
		for _, e := range r.e.Audit().Events() {
			got = append(got, e.Object())
		}
		r.checkValue("audit_log", got, events)
	}
	if err := r.e.Audit().Verify(); err != nil {
		r.t.Error(err)
	}
	if final, ok := line.Get("final_state"); ok && r.state.Check() == nil {
		if got, expected := mustEncode(r.t, r.state), mustEncode(r.t, ReadState(final)); withoutReleased(got) != expected {
			r.t.Errorf("final state\ngot  %s\nwant %s", got, expected)
		}
	}
}

// withoutReleased drops the member that the reference does not have.
func withoutReleased(encoded string) string {
	v, err := Parse([]byte(encoded))
	if err != nil {
		panic(err)
	}
	b, err := Canonical(v.(*Object).Without("released_auths"))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestGoldenEngineVerifyAuthorization(t *testing.T) {
	goldenLines(t, "engine_verify_authorization.jsonl", func(t *testing.T, line *Object) {
		opts, _ := optionsOf(t, member(t, line, "options"))
		state := &State{PolicyVersion: want(t, line, "state_policy_version")}
		v, _ := line.Get("now")
		now, _ := SafeInt(v)
		got, _ := engineOf(t, opts).CheckIssued(intentOf(t, line), member(t, line, "authorization"), state, &now)
		result := member(t, line, "result")
		reason, _ := result.Text("reason")
		if valid, _ := result.Get("valid"); (got == "") != (valid == true) || string(got) != reason {
			t.Errorf("reason %q, want valid %v, reason %q", got, valid, reason)
		}
	})
}
