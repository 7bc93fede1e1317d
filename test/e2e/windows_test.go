package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// minutely is a budget of so many nano-USD a minute.
func minutely(limit int64) string {
	return fmt.Sprintf(`budgets: [{name: daily, window: minute, limit_usd: "%s"}]`, usd(limit))
}

// TestCallSpansWindow has a stream run over the end of its budget's window,
// which it fills. Its hold and its charge stay in the window that it began in:
// the next one is empty while it still runs, and after it has ended.
func TestCallSpansWindow(t *testing.T) {
	for _, d := range deployments {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			spanWindow(t, d)
		})
	}
}

func spanWindow(t *testing.T, d deployment) {
	q := request{cap: outputCap, stream: true}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt, Script: untilTurn}, minutely(one))
	replicas := d.up(t, w)
	last := replicas[len(replicas)-1]
	turn := time.Now().Add(beforeTurn).Truncate(time.Minute).Add(time.Minute)
	time.Sleep(time.Until(turn.Add(-beforeTurn)))
	stream := w.open(replicas[0], q, 1)[0]
	checkStanding(t, last, standing(0, one))
	if err := wantStatus(w.must(last, q), 429); err != nil {
		t.Errorf("in the stream's window: %v", err)
	}

	time.Sleep(time.Until(turn.Add(time.Second)))
	checkStanding(t, last, standing(0, 0))
	if err := wantStatus(w.must(last, q), 200); err != nil {
		t.Errorf("in the next window: %v", err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Error(err)
	}
	checkStanding(t, last, standing(one, 0))
	for _, r := range replicas {
		r.stop()
	}
	verifyAll(t, replicas)
	checkSpans(t, replicas, turn)
}

// beforeTurn is how long before the end of its window the stream begins. It
// lasts twice as long.
const beforeTurn = 5 * time.Second

// untilTurn answers the first request over the end of a window, and others at
// once.
func untilTurn(r *simulator.Request) simulator.Answer {
	if r.Number == 1 {
		return simulator.Answer{TokenDelay: 2 * beforeTurn / outputCap}
	}
	return simulator.Answer{}
}

// checkSpans checks that two calls were granted, one in each window beside the
// turn, and that the first was charged after it.
func checkSpans(t *testing.T, replicas []*replica, turn time.Time) {
	t.Helper()
	at := turn.UnixMilli()
	old, late := "", false
	for _, r := range replicas {
		for _, receipt := range r.receipts() {
			if d, ok := receipt.Body.(audit.Decision); ok && d.Verdict == audit.Allow && d.Claims[0].End == at {
				old = d.Lease
			}
		}
	}
	for _, r := range replicas {
		for _, receipt := range r.receipts() {
			if s, ok := receipt.Body.(audit.Settlement); ok && s.Lease == old {
				late = s.At >= at && s.Charge > 0
			}
		}
	}
	if old == "" || !late {
		t.Errorf("no call was granted before the turn and charged after it")
	}
}

// TestClocksApart runs replicas whose clocks are a minute and a half apart, on both
// sides of the ledger's. Windows follow the ledger's clock alone, so that all of them
// draw on the same one. A replica that is minutes away is granted nothing.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	q := request{cap: outputCap}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, `budgets:
  - {name: daily, window: month, limit_usd: "`+usd(6*one)+`"}
  - {name: short, window: minute, limit_usd: "`+usd(100*one)+`"}`)
	w.program = buildSkewed(t)
	server, replicas := w.onRedis(1)
	for i, seconds := range []int{-45, 45} {
		w.environment = []string{fmt.Sprint("SKEW_SECONDS=", seconds)}
		r := w.start(fmt.Sprint("skewed", i), "--ledger", server.URL())
		checkSkewed(t, r, time.Duration(seconds)*time.Second)
		replicas = append(replicas, r)
	}
	w.serve(replicas, q)
	w.serve(replicas, q)
	for _, r := range replicas {
		if err := wantStatus(w.must(r, q), 402); err != nil {
			t.Error(err)
		}
		checkStanding(t, r, standing(6*one, 0))
	}
	w.environment = []string{"SKEW_SECONDS=420"}
	far := w.start("far", "--ledger", server.URL())
	if got := w.must(far, q); got.status != 503 || !strings.Contains(got.body, "more than a minute apart") {
		t.Errorf("a replica seven minutes away: %d %s", got.status, got.body)
	}
	far.stop()
	for _, r := range replicas {
		r.stop()
	}
	verifyAll(t, replicas)
	for _, r := range replicas {
		checkClock(t, r)
	}
}

// checkSkewed checks that a replica's own clock is off, by its log.
func checkSkewed(t *testing.T, r *replica, by time.Duration) {
	t.Helper()
	var line struct{ Time time.Time }
	first, _, _ := strings.Cut(r.log(), "\n")
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatal(err)
	}
	if off := time.Until(line.Time) - by; off.Abs() > 30*time.Second {
		t.Fatalf("%s has a clock %v away from the wanted one", filepath.Base(r.data), off)
	}
}

// checkClock checks that every window was chosen by the ledger's clock, which
// is the test's.
func checkClock(t *testing.T, r *replica) {
	t.Helper()
	now := time.Now().UnixMilli()
	for _, receipt := range r.receipts() {
		d, ok := receipt.Body.(audit.Decision)
		if !ok || d.Verdict != audit.Allow {
			continue
		}
		if apart := (now - d.At) / 1000; apart < 0 || apart > 120 {
			t.Errorf("%s decided %d s ago by its receipt", filepath.Base(r.data), apart)
		}
		for _, c := range d.Claims {
			if d.At < c.Start || d.At >= c.End {
				t.Errorf("%s decided at %d in the window [%d, %d)", filepath.Base(r.data), d.At, c.Start, c.End)
			}
		}
	}
}

// buildSkewed builds the proxy with a clock that is off by SKEW_SECONDS, or by the
// seconds in the first eight bytes of SKEW_FILE, whenever it is read. Go reads the time from the kernel by itself, so what shifts other programs'
// clocks does not shift its own; the skew is put into package time.
func buildSkewed(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const reading = "sec, nsec, mono := runtimeNow()\n"
	skewed := strings.Replace(string(source), reading, reading+"\tsec += skewNow()\n", 1) + skewSource
	skewed = strings.Replace(skewed, "import (\n", "import (\n\t\"syscall\"\n\t\"unsafe\"\n", 1)
	if !strings.Contains(skewed, "sec += skewNow()") {
		t.Fatalf("%s does not read the clock as this test expects", original)
	}
	dir := t.TempDir()
	patched, overlay, program := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "skewed")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{original: patched}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(patched, []byte(skewed), 0o600), os.WriteFile(overlay, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-o", program, "../../cmd/aegis-proxy")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// skewSource is added to package time.
const skewSource = `
var skewSeconds = readSkew()

// skewNow makes no system call: the runtime too asks for the time, where it can make
// none.
func skewNow() int64 {
	if skewSeconds == nil { // while the package starts
		return 0
	}
	return *skewSeconds
}

func readSkew() *int64 {
	path, found := syscall.Getenv("SKEW_FILE")
	if !found {
		text, _ := syscall.Getenv("SKEW_SECONDS")
		seconds := parseSkew(text)
		return &seconds
	}
	file, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("SKEW_FILE: " + err.Error())
	}
	mapped, err := syscall.Mmap(file, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("SKEW_FILE: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&mapped[0]))
}

func parseSkew(text string) int64 {
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	var n int64
	for _, c := range []byte(text) {
		n = 10*n + int64(c-'0')
	}
	if negative {
		return -n
	}
	return n
}
`
