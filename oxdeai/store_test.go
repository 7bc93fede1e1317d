package oxdeai

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestStores(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]StateStore{
		"memory": &MemoryStore{},
		"file":   NewFileStore(filepath.Join(t.TempDir(), "snapshot.bin")),
	} {
		if _, ok, err := store.Load(); ok || err != nil {
			t.Errorf("%s: an empty store has a state: %v", name, err)
		}
		for _, content := range []string{"one", "two"} {
			in := Saved{[]byte(content), []byte(`{"a":["` + content + `"]}`)}
			if err := store.Save(in); err != nil {
				t.Fatal(err)
			}
			in.Snapshot[0] = 'X'
			out, ok, err := store.Load()
			if !ok || err != nil || string(out.Snapshot) != content || string(out.Released) != `{"a":["`+content+`"]}` {
				t.Errorf("%s: %v %v %s", name, ok, err, out)
			}
		}
	}
}

// TestFileStoreHoldsTheSnapshotAlone: the file is the canonical snapshot that other implementations read, and one of
// theirs, which comes without the second file, is read.
func TestFileStoreHoldsTheSnapshotAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "snapshot.bin")
	o := exampleOptions()
	o.StateStore = NewFileStore(path)
	e := engineOf(t, o)
	s, release := acquire(t, e)
	out := e.EvaluatePure(release("1"), s, FailFast)
	if err := e.Commit(out.NextState); err != nil {
		t.Fatal(err)
	}
	snap, _ := e.Export(out.NextState)
	want, _ := snap.Encode()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file has %s (%v)", got, err)
	}
	restored := exampleState()
	if ok, err := e.Restore(restored); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if again := e.EvaluatePure(release("2"), restored, FailFast); !slices.Equal(again.Reasons, []Reason{ReleaseInvalid}) {
		t.Errorf("a second release after a restart: %s %v", again.Decision, again.Reasons)
	}
	if err := os.Remove(path + ".released"); err != nil {
		t.Fatal(err)
	}
	if ok, err := e.Restore(restored); !ok || err != nil {
		t.Errorf("a snapshot without the second file: %v %v", ok, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("temporary files are left: %v %v", entries, err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	e := exampleEngine(t)
	snap, _ := e.Export(exampleState())
	good, _ := snap.Encode()
	for name, saved := range map[string]Saved{
		"no JSON":                {Snapshot: []byte("{")},
		"another policy":         {Snapshot: bytes.Replace(good, []byte(e.PolicyID()), []byte("x"), 1)},
		"a broken module":        {Snapshot: bytes.Replace(good, []byte(`"10000"`), []byte(`"-1"`), 1)},
		"a null module":          {Snapshot: bytes.Replace(good, []byte(`{"max_depth":{"agent-1":2}}`), []byte(`null`), 1)},
		"broken releases":        {Snapshot: good, Released: []byte(`{"a":1}`)},
		"releases that are none": {Snapshot: good, Released: []byte(`[]`)},
	} {
		store := &MemoryStore{}
		if err := store.Save(saved); err != nil {
			t.Fatal(err)
		}
		o := exampleOptions()
		o.StateStore = store
		target := exampleState()
		if ok, err := engineOf(t, o).Restore(target); ok || err == nil {
			t.Errorf("%s is restored", name)
		}
		if mustEncode(t, target) != mustEncode(t, exampleState()) {
			t.Errorf("%s: the target changed", name)
		}
	}
	if _, err := e.Restore(exampleState()); !errors.Is(err, ErrNoStore) {
		t.Errorf("without a store: %v", err)
	}
	if err := e.Commit(exampleState()); !errors.Is(err, ErrNoStore) {
		t.Errorf("without a store: %v", err)
	}
}

func TestSinksKeepTheChain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.ndjson")
	memory := &MemorySink{}
	file, err := NewFileSink(path)
	if err != nil {
		t.Fatal(err)
	}
	var heads []string
	for _, sink := range []AuditSink{memory, file} {
		o := exampleOptions()
		o.AuditSink, o.CheckpointEveryNEvents = sink, 3
		e := engineOf(t, o)
		e.Replay(exampleState(), []Intent{exampleIntent(), exampleIntent()})
		if err := sink.Flush(); err != nil {
			t.Fatal(err)
		}
		heads = append(heads, e.Audit().HeadHash())
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if !slices.EqualFunc(lines, memory.Lines(), bytes.Equal) || len(lines) != 7 {
		t.Errorf("%d lines in the file, %d in memory", len(lines), len(memory.Lines()))
	}
	head := GenesisHash
	for _, line := range lines {
		if head, err = ChainStep(head, mustObject(t, line)); err != nil {
			t.Fatal(err)
		}
	}
	if head != heads[0] || head != heads[1] {
		t.Errorf("the lines lead to %s, the logs to %v", head, heads)
	}
}

func TestFileSinkCutsHalfALine(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"":                 "new\n",
		"half":             "new\n",
		"one\n":            "one\nnew\n",
		"one\ntwo\nha":     "one\ntwo\nnew\n",
		"one\n" + longLine: "one\nnew\n",
	} {
		path := filepath.Join(t.TempDir(), "audit.ndjson")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		sink, err := NewFileSink(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(sink.Append([]byte("new")), sink.Close()); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Errorf("%.20q became %.20q, want %q", content, got, want)
		}
		if err := sink.Append([]byte("late")); err == nil {
			t.Error("a closed sink takes events")
		}
	}
}

var longLine = string(bytes.Repeat([]byte("x"), 200_000))

func TestAuditLog(t *testing.T) {
	t.Parallel()
	log := NewAuditLog(nil)
	if log.HeadHash() != GenesisHash || log.Verify() != nil {
		t.Error("an empty log does not start at the genesis hash")
	}
	for _, bad := range []Event{{Type: "X"}, {Type: StateCheckpoint, Timestamp: 1 << 60}, {Type: StateCheckpoint, StateHash: "\xff"}} {
		if err := log.Append(bad); err == nil || log.HeadHash() != GenesisHash || len(log.Events()) != 0 {
			t.Errorf("%+v moved the log: %v", bad, err)
		}
		if bad.Object() != nil {
			t.Errorf("%+v has a form", bad)
		}
	}
	attested := Event{Type: ExecutionAttested, Timestamp: 5, PolicyID: "p", IntentHash: "h", ExecutionRef: "tx-1"}
	if err := log.Append(attested); err != nil {
		t.Fatal(err)
	}
	if head, err := ChainStep(GenesisHash, attested.Object()); err != nil || head != log.HeadHash() {
		t.Errorf("head %s (%v), want %s", log.HeadHash(), err, head)
	}
	if err := log.Verify(); err != nil {
		t.Error(err)
	}
	head := log.HeadHash()
	if events := log.Drain(); len(events) != 1 || events[0].ExecutionRef != "tx-1" {
		t.Errorf("drained %v", events)
	}
	if log.HeadHash() != head || !errors.Is(log.Verify(), ErrChainBroken) {
		t.Error("a drained log hides that events are gone")
	}
}

// A full log denies, and goes on after a drain.
func TestAFullAuditLogDenies(t *testing.T) {
	t.Parallel()
	e := exampleEngine(t)
	e.log.limit = 2
	out := e.EvaluatePure(exampleIntent(), exampleState(), FailFast)
	if out.Decision != Deny || !errors.Is(out.Err, ErrAuditLogFull) {
		t.Errorf("%s %v", out.Decision, out.Err)
	}
	e.log.limit = 3
	e.Audit().Drain()
	if out := e.EvaluatePure(exampleIntent(), exampleState(), FailFast); out.Decision != Allow {
		t.Errorf("after a drain: %v", out.Err)
	}
}

// An event without a policy id is hashed with null in its place.
func TestChainStepAddsThePolicyID(t *testing.T) {
	t.Parallel()
	without := NewObject(Member{"type", "X"})
	with := NewObject(Member{"type", "X"}, Member{"policyId", nil})
	a, err1 := ChainStep(GenesisHash, without)
	b, err2 := ChainStep(GenesisHash, with)
	if a != b || err1 != nil || err2 != nil {
		t.Errorf("%s (%v) and %s (%v)", a, err1, b, err2)
	}
	if _, err := ChainStep("short", without); err == nil {
		t.Error("a head of the wrong length is taken")
	}
}
