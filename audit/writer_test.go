package audit_test

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

func writerConfig(t testing.TB, w io.Writer) audit.Config {
	cfg := testConfig(t, "")
	cfg.Writer = w
	return cfg
}

// TestReceiptsOnAWriterVerify: each Write is whole batches with their seal, so
// that what has come so far verifies at any time.
func TestReceiptsOnAWriterVerify(t *testing.T) {
	var lines bytes.Buffer
	log := open(t, writerConfig(t, &lines))
	refs := appendAll(t, log, decision(1), settlement(2))
	report := verify(t, []audit.Source{audit.Stream("lines", bytes.NewReader(lines.Bytes()))})
	mustBeSound(t, report)
	if c := report.Chains[0]; c.Sealed != 2 || refs[1].ID != c.Chain+"-5" {
		t.Errorf("chain %+v, last receipt %v", c, refs[1])
	}
	if err := <-post(log, expiry(3)); err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	report = verify(t, []audit.Source{audit.Stream("lines", &lines)})
	mustBeSound(t, report)
	if report.Chains[0].Sealed != 3 {
		t.Errorf("%d receipts, want 3", report.Chains[0].Sealed)
	}
}

func TestLogsOnOneWriterAreChainsOfTheirOwn(t *testing.T) {
	var lines bytes.Buffer
	for event := range int64(2) {
		log := open(t, writerConfig(t, &lines))
		appendAll(t, log, decision(event+1))
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	report := verify(t, []audit.Source{audit.Stream("lines", &lines)})
	mustBeSound(t, report)
	if len(report.Chains) != 2 {
		t.Errorf("%d chains, want 2", len(report.Chains))
	}
}

func TestWriterCannotBeAsked(t *testing.T) {
	log := open(t, writerConfig(t, io.Discard))
	appendAll(t, log, decision(1))
	if _, err := log.Find(t.Context(), audit.EventID{Tenant: "acme", Number: 1}); !errors.Is(err, audit.ErrWriteOnly) {
		t.Errorf("got %v, want ErrWriteOnly", err)
	}
}

// brokenWriter takes so many bytes and then fails.
type brokenWriter struct {
	bytes.Buffer
	room int
	err  error
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.err == nil {
		return w.Buffer.Write(p)
	}
	n, _ := w.Buffer.Write(p[:min(w.room, len(p))])
	return n, w.err
}

// TestWriterThatFails: a full one that took nothing may have room later. What
// took a part of a batch is broken for good, since that cannot be taken back.
func TestWriterThatFails(t *testing.T) {
	for _, row := range []struct {
		name  string
		room  int
		err   error
		first error
		later error
	}{
		{"full", 0, syscall.ENOSPC, audit.ErrUnavailable, nil},
		{"full within a batch", 10, syscall.ENOSPC, audit.ErrBroken, audit.ErrBroken},
		{"closed at the other end", 0, syscall.EPIPE, audit.ErrBroken, audit.ErrBroken},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &brokenWriter{room: row.room}
			log := open(t, writerConfig(t, w))
			w.err = row.err
			if _, err := log.Append(t.Context(), decision(1)); !errors.Is(err, row.first) {
				t.Errorf("got %v, want %v", err, row.first)
			}
			w.err = nil
			if _, err := log.Append(t.Context(), decision(1)); !errors.Is(err, row.later) {
				t.Errorf("then got %v, want %v", err, row.later)
			}
			if row.later == nil {
				mustBeSound(t, verify(t, []audit.Source{audit.Stream("lines", &w.Buffer)}))
			}
		})
	}
}

func TestLogNeedsOnePlace(t *testing.T) {
	both, neither := writerConfig(t, io.Discard), testConfig(t, "")
	both.Dir = t.TempDir()
	for name, cfg := range map[string]audit.Config{"both": both, "neither": neither} {
		if _, err := audit.Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
