package oxdeai

import (
	"encoding/base64"
	"strings"
	"testing"
)

// want returns a text member of a golden line.
func want(tb testing.TB, o *Object, name string) string {
	tb.Helper()
	v, _ := o.Get(name)
	s, ok := v.(string)
	if !ok {
		tb.Fatalf("no text member %q", name)
	}
	return s
}

// member returns an object member of a golden line.
func member(tb testing.TB, o *Object, name string) *Object {
	tb.Helper()
	v, _ := o.Get(name)
	m, ok := v.(*Object)
	if !ok {
		tb.Fatalf("no object member %q", name)
	}
	return m
}

// list returns the objects of an array member.
func list(tb testing.TB, o *Object, name string) []*Object {
	tb.Helper()
	v, _ := o.Get(name)
	array, ok := v.([]Value)
	if !ok {
		tb.Fatalf("no array member %q", name)
	}
	out := make([]*Object, len(array))
	for i, v := range array {
		out[i] = v.(*Object)
	}
	return out
}

func unbase64(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// optionsOf reads engine options from a golden line. A lifetime with a fraction has no form in Options.
func optionsOf(tb testing.TB, o *Object) (opts Options, fraction bool) {
	tb.Helper()
	text := func(name string) string { s, _ := o.Text(name); return s }
	opts = Options{
		PolicyVersion:              text("policy_version"),
		EngineSecret:               text("engine_secret"),
		AuthorizationIssuer:        text("authorization_issuer"),
		AuthorizationAudience:      text("authorization_audience"),
		AuthorizationSigningAlg:    text("authorization_signing_alg"),
		AuthorizationSigningKID:    text("authorization_signing_kid"),
		AuthorizationPrivateKeyPEM: text("authorization_private_key_pem"),
		DenyMode:                   DenyMode(text("deny_mode")),
		PolicyID:                   text("policyId"),
	}
	v, _ := o.Get("strictDeterminism")
	opts.StrictDeterminism, _ = v.(bool)
	v, _ = o.Get("checkpoint_every_n_events")
	n, _ := SafeInt(v)
	opts.CheckpointEveryNEvents = int(n)
	if v, ok := o.Get("authorization_ttl_seconds"); ok {
		seconds, whole := SafeInt(v)
		opts.AuthorizationTTLSeconds, fraction = &seconds, !whole
	}
	return opts, fraction
}

func engineOf(tb testing.TB, opts Options) *Engine {
	tb.Helper()
	e, err := NewEngine(opts)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestGoldenCanonical(t *testing.T) {
	goldenLines(t, "canonical.jsonl", func(t *testing.T, line *Object) {
		got, err := Canonical(mustParse(t, []byte(want(t, line, "json"))))
		if ok, _ := line.Get("ok"); ok != true {
			if constant := want(t, line, "error"); err == nil || !strings.HasPrefix(err.Error(), constant) {
				t.Fatalf("error %v, want %s", err, constant)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if text := want(t, line, "canonical"); string(got) != text {
			t.Errorf("got  %s\nwant %s", got, text)
		}
		if h := want(t, line, "sha256"); hashBytes(got) != h {
			t.Errorf("hash %s, want %s", hashBytes(got), h)
		}
	})
}

func TestGoldenPolicyID(t *testing.T) {
	goldenLines(t, "policy_id.jsonl", func(t *testing.T, line *Object) {
		opts, _ := optionsOf(t, member(t, line, "options"))
		if got, id := engineOf(t, opts).PolicyID(), want(t, line, "policy_id"); got != id {
			t.Errorf("policy id %s, want %s", got, id)
		}
	})
}

func TestGoldenImport(t *testing.T) {
	goldenLines(t, "import_state.jsonl", func(t *testing.T, line *Object) {
		opts, _ := optionsOf(t, member(t, line, "options"))
		e := engineOf(t, opts)
		snap, err := DecodeSnapshot(unbase64(t, want(t, line, "snapshot_base64")))
		stage, _ := line.Text("stage")
		if (err != nil) != (stage == "decode") {
			t.Fatalf("decode: %v, want a failure in stage %q", err, stage)
		}
		if err != nil {
			return
		}
		target := exampleState()
		before := mustEncode(t, target)
		err = e.Import(target, snap)
		if (err != nil) != (stage == "import") {
			t.Fatalf("import: %v, want a failure in stage %q", err, stage)
		}
		if err != nil {
			if got := mustEncode(t, target); got != before {
				t.Errorf("a failed import changed the state: %s", got)
			}
			t.Logf("%v (reference: %s)", err, want(t, line, "error"))
			return
		}
		checkState(t, e, target, want(t, line, "state_hash_after"), want(t, line, "reexport_base64"))
	})
}

// checkState compares the hash and the exported bytes of a state.
func checkState(t *testing.T, e *Engine, s *State, hash, snapshotBase64 string) {
	t.Helper()
	got, err := e.StateHash(s)
	if err != nil || got != hash {
		t.Errorf("state hash %s (%v), want %s", got, err, hash)
	}
	snap, err := e.Export(s)
	if err != nil {
		t.Fatal(err)
	}
	b, err := snap.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if text := unbase64(t, snapshotBase64); string(b) != string(text) {
		t.Errorf("snapshot\ngot  %s\nwant %s", b, text)
	}
}

func mustEncode(tb testing.TB, s *State) string {
	tb.Helper()
	b, err := s.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}
