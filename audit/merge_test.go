package audit_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// opened counts the files of a test that are open.
type opened struct {
	io.Reader
	count *atomic.Int64
}

func (o opened) Close() error { o.count.Add(-1); return nil }

func lines(name string, count *atomic.Int64, lines ...string) audit.Source {
	text := strings.Join(lines, "\n") + "\n"
	return audit.Source{Name: name, Open: func() (io.ReadCloser, error) {
		count.Add(1)
		return opened{strings.NewReader(text), count}, nil
	}}
}

func timed(at int64) audit.Body { return audit.Decision{At: at, Verdict: audit.Deny} }

// TestMergeGoesByInstant: one log keeps its order, even where its instants go
// back; among logs the earliest receipt comes first.
func TestMergeGoesByInstant(t *testing.T) {
	hmac := signer(t, testHMACKey)
	one := audit.NewChain(1).Add(startLine(hmac)).Add(timed(10)).Seal(hmac).Add(timed(40)).Add(timed(15)).Seal(hmac).Lines
	two := audit.NewChain(2).Add(startLine(hmac)).Add(timed(10)).Add(timed(30)).Add(timed(50)).Seal(hmac).Lines
	var open atomic.Int64
	var got []string
	for r, err := range audit.Merge(lines("1a", &open, one[:3]...), lines("2", &open, two...), lines("1b", &open, one[3:]...)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s:%d at %d", r.File, r.Line, r.Body.(audit.Decision).At))
	}
	want := []string{"1a:2 at 10", "2:2 at 10", "2:3 at 30", "1b:1 at 40", "1b:2 at 15", "2:4 at 50"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if open.Load() != 0 {
		t.Errorf("%d files left open", open.Load())
	}
}

func TestMergeClosesWhereItIsLeft(t *testing.T) {
	hmac := signer(t, testHMACKey)
	var open atomic.Int64
	src := lines("log", &open, audit.NewChain(1).Add(startLine(hmac)).Add(timed(10)).Seal(hmac).Lines...)
	for range audit.Merge(src) {
		break
	}
	if open.Load() != 0 {
		t.Errorf("%d files left open", open.Load())
	}
}

func TestMergeNamesALineThatIsNoReceipt(t *testing.T) {
	hmac := signer(t, testHMACKey)
	var open atomic.Int64
	good := audit.NewChain(1).Add(startLine(hmac)).Add(timed(10)).Lines
	for name, bad := range map[string][]string{"later": append(slices.Clone(good), "{}"), "first": {"{}"}} {
		var last error
		for _, err := range audit.Merge(lines("log", &open, bad...)) {
			last = err
		}
		if wrong, ok := errors.AsType[*audit.LineError](last); !ok || wrong.Line != int64(len(bad)) {
			t.Errorf("%s: got %v", name, last)
		}
	}
	if open.Load() != 0 {
		t.Errorf("%d files left open", open.Load())
	}
}

// TestMergeOfAPipe: a single source is read once.
func TestMergeOfAPipe(t *testing.T) {
	key := signer(t, testHMACKey)
	log := strings.Join(audit.NewChain(1).Add(startLine(key)).Add(timed(10)).Seal(key).Lines, "\n") + "\n"
	merged, verified := 0, 0
	for _, err := range audit.Merge(audit.Stream("pipe", strings.NewReader(log))) {
		if err != nil {
			t.Fatal(err)
		}
		merged++
	}
	report, err := audit.VerifyEach(t.Context(), []audit.Source{audit.Stream("pipe", strings.NewReader(log))},
		audit.VerifyOptions{Keys: testKeys(t)}, func(audit.Receipt) { verified++ })
	if err != nil || !report.OK() || merged != 1 || verified != 1 {
		t.Errorf("%d merged, %d verified: %v, %v", merged, verified, report.Findings, err)
	}
}

// TestMergeOfPipes: several sources that can be read once each, of one chain or
// more, are read once.
func TestMergeOfPipes(t *testing.T) {
	key := signer(t, testHMACKey)
	one := audit.NewChain(1).Add(startLine(key)).Add(timed(10)).Seal(key).Add(timed(40)).Seal(key).Lines
	two := audit.NewChain(2).Add(startLine(key)).Add(timed(20)).Add(timed(30)).Seal(key).Lines
	pipes := func() []audit.Source {
		return []audit.Source{
			pipe(t, one[:3]...), pipe(t, two...), pipe(t), audit.Stream("rest of 1", strings.NewReader(strings.Join(one[3:], "\n")+"\n")),
		}
	}
	var merged, verified []int64
	for r, err := range audit.Merge(pipes()...) {
		if err != nil {
			t.Fatal(err)
		}
		merged = append(merged, r.Body.(audit.Decision).At)
	}
	report, err := audit.VerifyEach(t.Context(), pipes(), audit.VerifyOptions{Keys: testKeys(t)}, func(r audit.Receipt) {
		verified = append(verified, r.Body.(audit.Decision).At)
	})
	want := []int64{10, 20, 30, 40}
	if err != nil || !report.OK() || !slices.Equal(merged, want) || !slices.Equal(verified, want) {
		t.Errorf("%v merged, %v verified: %v, %v", merged, verified, report.Findings, err)
	}
}

// pipe is the source of a named pipe that lines are written to.
func pipe(t *testing.T, lines ...string) audit.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n")
	if len(lines) > 0 {
		text += "\n"
	}
	go func() { // byte by byte, so that no line is there at once
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		for i := range len(text) {
			if _, err := w.WriteString(text[i : i+1]); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	sources, err := audit.Files(path)
	if err != nil {
		t.Fatal(err)
	}
	return sources[0]
}

// TestPipesThatAreNoReceipts: what keeps a stream's first line from being read is
// told where the stream is read.
func TestPipesThatAreNoReceipts(t *testing.T) {
	broken := errors.New("broken")
	for name, row := range map[string]struct {
		src  func() audit.Source
		says string
	}{
		"a line that is too long": {func() audit.Source {
			return audit.Stream("long", strings.NewReader(strings.Repeat("x", 3*audit.MaxLineBytes)))
		}, "long:1: "},
		"a line without an end": {func() audit.Source { return audit.Stream("torn", strings.NewReader("{")) }, "torn:1: "},
		"no receipt":            {func() audit.Source { return audit.Stream("other", strings.NewReader("{}\n")) }, "other:1: "},
		"an error": {func() audit.Source {
			return audit.Stream("bad", iotest.ErrReader(broken))
		}, "bad: broken"},
		"one that was read": {func() audit.Source {
			src := audit.Stream("read", strings.NewReader(""))
			_, _ = src.Open()
			return src
		}, audit.ErrReadOnce.Error()},
	} {
		var last error
		for _, err := range audit.Merge(row.src(), audit.Stream("empty", strings.NewReader(""))) {
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), row.says) {
			t.Errorf("%s: got %v", name, last)
		}
	}
}
