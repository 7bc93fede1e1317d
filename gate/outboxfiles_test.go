package gate_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// TestOutboxLeavesNothingHalfWritten: not where the disk refuses an ending, and not
// after a process that died while it wrote.
func TestOutboxLeavesNothingHalfWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out[1]box")
	var said bytes.Buffer
	outbox, err := gate.OpenOutbox(dir, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "refused.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, lease := range []string{"refused", "kept"} {
		outbox.Put(gate.Pending{Verb: "release", Settlement: audit.Settlement{Tenant: "acme", Lease: lease}})
	}
	if !bytes.Contains(said.Bytes(), []byte("outbox cannot be written")) || outbox.Len() != 2 {
		t.Fatalf("the disk refused nothing: %s", &said)
	}
	if got := names(t, dir); got != "kept.json refused.json" {
		t.Errorf("%s are there", got)
	}

	if err := os.Remove(filepath.Join(dir, "refused.json")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"died.json.tmp": "", "later.json.tmp": `{"Verb":`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := gate.OpenOutbox(dir, slog.New(slog.DiscardHandler))
	if err != nil || again.Len() != 1 {
		t.Fatalf("%d endings, %v, want 1", again.Len(), err)
	}
	if got := names(t, dir); got != "kept.json" {
		t.Errorf("%s are there", got)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []byte
	for i, entry := range entries {
		if i > 0 {
			list = append(list, ' ')
		}
		list = append(list, entry.Name()...)
	}
	return string(list)
}
