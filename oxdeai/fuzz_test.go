package oxdeai

import (
	"bytes"
	"testing"
)

// What Parse takes and Canonical can write is a fixed point, and it never takes what is not JSON for the standard
// library.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{exampleStateJSON, exampleIntentJSON, `[1e3,-0,"\ud83d\ude00",{"ts":1}]`, `{"e\u0301":null}`, "\xef\xbb\xbf1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := Parse(text)
		if err != nil {
			return
		}
		first, err := Canonical(v)
		if err != nil {
			return
		}
		again, err := Parse(first)
		if err != nil {
			t.Fatalf("%q: %v", first, err)
		}
		if second, err := Canonical(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%q\n%q (%v)", first, second, err)
		}
	})
}

// A snapshot that can be imported can be exported again, and then it stays the same.
func FuzzDecodeSnapshot(f *testing.F) {
	e := exampleEngine(f)
	snap, err := e.Export(e.EvaluatePure(exampleIntent(), exampleState(), FailFast).NextState)
	if err != nil {
		f.Fatal(err)
	}
	seed, err := snap.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(bytes.ReplaceAll(seed, []byte("agent-1"), []byte("ts")))
	f.Fuzz(func(t *testing.T, text []byte) {
		snap, err := DecodeSnapshot(text)
		if err != nil {
			return
		}
		snap.PolicyID = e.PolicyID()
		s := exampleState()
		if err := e.Import(s, snap); err != nil {
			return
		}
		hash, err := e.StateHash(s)
		if err != nil {
			return // such as two names that are equal in NFC
		}
		out, err := e.Export(s)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := ModulesHash(out); err != nil || h != hash {
			t.Fatalf("hash of the snapshot %s (%v), of the state %s", h, err, hash)
		}
	})
}

// A state that can be decoded can be encoded and read back, with the same hash.
func FuzzDecodeState(f *testing.F) {
	e := exampleEngine(f)
	out := e.EvaluatePure(exampleIntent(), exampleState(), FailFast)
	release := exampleIntent(Member{"type", TypeRelease}, Member{"authorization_id", out.Authorization.AuthID}, Member{"nonce", "43"})
	released := e.EvaluatePure(release, out.NextState, FailFast)
	f.Add([]byte(exampleStateJSON))
	f.Add([]byte(mustEncode(f, released.NextState)))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := DecodeState(text)
		if err != nil {
			return
		}
		encoded := mustEncode(t, s)
		again, err := DecodeState([]byte(encoded))
		if err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		if mustEncode(t, again) != encoded {
			t.Fatalf("%s\n%s", encoded, mustEncode(t, again))
		}
	})
}

// Whatever state and intent come in, an allowance is complete: the state was sound, the agent is within its budget,
// and the input state is what it was.
func FuzzEvaluate(f *testing.F) {
	f.Add([]byte(exampleStateJSON), []byte(exampleIntentJSON))
	f.Add([]byte(`{}`), []byte(`{}`))
	f.Add([]byte(exampleStateJSON), []byte(`{"agent_id":"agent-1","type":"RELEASE","authorization_id":"x","nonce":1,"timestamp":1}`))
	f.Fuzz(func(t *testing.T, stateText, intentText []byte) {
		v, err := Parse(stateText)
		if err != nil {
			return
		}
		in, err := DecodeIntent(intentText)
		if err != nil {
			return
		}
		e, s := exampleEngine(t), ReadState(v)
		before, _ := e.StateHash(s)
		out := e.EvaluatePure(in, s, CollectAll)
		if after, _ := e.StateHash(s); after != before {
			t.Fatal("the input state changed")
		}
		if (out.Decision == Allow) == (len(out.Reasons) > 0) {
			t.Fatalf("%s with reasons %v", out.Decision, out.Reasons)
		}
		if out.Decision == Deny {
			return
		}
		if err := s.Check(); err != nil {
			t.Fatalf("allowed on a state that is not sound: %v", err)
		}
		a := in.AgentID()
		if kind, _ := in.kind(); kind == TypeExecute && out.NextState.Budget.Spent[a].Cmp(s.Budget.Limit[a]) > 0 {
			t.Fatalf("spent %s of %s", out.NextState.Budget.Spent[a], s.Budget.Limit[a])
		}
		if _, err := Canonical(out.Authorization.Object()); err != nil {
			t.Fatal(err)
		}
	})
}

// An intent is the same whether it came as JSON or as the canonical form of that JSON.
func FuzzDecodeIntent(f *testing.F) {
	f.Add([]byte(exampleIntentJSON))
	f.Add([]byte(`{"amount":"-00012n","nonce":7,"type":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := DecodeIntent(text)
		if err != nil {
			return
		}
		CheckIntent(mustObject(t, text))
		hash, err := in.Hash()
		if err != nil {
			return
		}
		encoded, err := Canonical(in.bound)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeIntent(encoded)
		if err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		if h, err := again.Hash(); err != nil || h != hash {
			t.Fatalf("%s: hash %s (%v), want %s", encoded, h, err, hash)
		}
	})
}
