package audit_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// TestLacks says which receipts a log misses that a ledger knows of.
func TestLacks(t *testing.T) {
	acme := func(n int64) map[string]audit.Head { return map[string]audit.Head{"acme": {Epoch: "e1", Event: n}} }
	for _, row := range []struct {
		name  string
		lose  func(t *testing.T, cfg audit.Config)
		sync  audit.SyncPolicy
		known map[string]audit.Head
		lacks bool
	}{
		{"none", nil, audit.SyncBatch, acme(9), false},
		{"the ledger was not told of all", nil, audit.SyncBatch, acme(4), false},
		{"the newest", nil, audit.SyncBatch, acme(10), true},
		{"of another epoch", nil, audit.SyncBatch, map[string]audit.Head{"acme": {Epoch: "e2", Event: 1}}, true},
		{"of another tenant", nil, audit.SyncBatch, map[string]audit.Head{"other": {Epoch: "e1", Event: 1}}, true},
		{"all", clearDir, audit.SyncBatch, acme(1), true},
		{"the newest, after a power failure without sync", nil, audit.SyncNever, acme(10), false},
		{"all, without sync", clearDir, audit.SyncNever, acme(1), true},
		{"of a tenant that was archived with heads.json gone", forgetOld, audit.SyncBatch,
			map[string]audit.Head{"other": {Epoch: "e1", Event: 1}}, false},
		{"the newest, with the oldest archived and heads.json gone", forgetOld, audit.SyncBatch, acme(10), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, _ := segmentedLog(t, 9)
			if row.lose != nil {
				row.lose(t, cfg)
			}
			cfg.Sync = row.sync
			for range 2 { // what was not read at the first opening is not known at the next
				log := open(t, cfg)
				if err := log.Lacks(row.known); errors.Is(err, audit.ErrMissing) != row.lacks {
					t.Errorf("%v, want it to lack some: %v", err, row.lacks)
				}
				log.Close()
			}
			log := open(t, cfg)
			log.Forgive(row.known)
			log.Close()
			if err := open(t, cfg).Lacks(row.known); err != nil {
				t.Errorf("forgiven, but %v", err)
			}
		})
	}
}

// TestWriterLacksNothing: nobody here knows what went to a writer.
func TestWriterLacksNothing(t *testing.T) {
	log := open(t, audit.Config{Writer: io.Discard, Signer: signer(t, testEd25519Key)})
	if err := log.Lacks(map[string]audit.Head{"acme": {Epoch: "e1", Event: 1}}); err != nil {
		t.Error(err)
	}
}

func clearDir(t *testing.T, cfg audit.Config) {
	t.Helper()
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
}

// forgetOld archives what it may, and loses heads.json.
func forgetOld(t *testing.T, cfg audit.Config) {
	t.Helper()
	archive(t, cfg.Dir, t.TempDir(), audit.MinKeep)
	if err := os.Remove(filepath.Join(cfg.Dir, "heads.json")); err != nil {
		t.Fatal(err)
	}
}
