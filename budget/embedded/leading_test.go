package embedded_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/budget/budgettest"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
)

func TestLeadingConforms(t *testing.T) {
	budgettest.Run(t, func(t *testing.T) budgettest.Harness {
		c := newClock()
		config := embedded.Config{Dir: t.TempDir(), Now: c.now}
		l := open(t, config)
		reopen := func(t *testing.T) budgettest.Ledger {
			must(t, l.Close())
			l = open(t, config)
			return embedded.Leading{Ledger: l}
		}
		return budgettest.Harness{Ledger: embedded.Leading{Ledger: l}, Advance: c.advance, Reopen: reopen}
	})
}

// TestLeadingIsDurableAfterFlush copies the directory as a crash would leave
// it, before and after Flush.
func TestLeadingIsDurableAfterFlush(t *testing.T) {
	dir := t.TempDir()
	l := open(t, embedded.Config{Dir: dir})
	must(t, l.Provision(t.Context(), "tenant"))
	leading := embedded.Leading{Ledger: l}
	_, err := leading.Reserve(t.Context(), reservation("tenant", "lease", 2))
	must(t, err)
	if got := heldAfterCrash(t, dir); got != 0 {
		t.Errorf("held %d before Flush: the verb waited for the disk after all", got)
	}
	must(t, l.Flush())
	if got := heldAfterCrash(t, dir); got != 2 {
		t.Errorf("held %d after Flush, want 2", got)
	}
}

func heldAfterCrash(t *testing.T, dir string) int64 {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	l := open(t, embedded.Config{Dir: copied})
	defer l.Close()
	return balances(t, l, "tenant").Observed[0].Held
}

// TestFlushFailsOnceTheLedgerIsClosed, so that a log which calls it writes
// nothing that the ledger has lost.
func TestFlushFailsOnceTheLedgerIsClosed(t *testing.T) {
	l := open(t, embedded.Config{Dir: t.TempDir()})
	must(t, l.Close())
	if err := l.Flush(); err == nil {
		t.Error("flushed a closed ledger")
	}
}
