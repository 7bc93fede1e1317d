package agents

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	matrix = flag.Bool("matrix", false, "run every client through every case")
	direct = flag.Bool("direct", false, "send the clients to the provider, without a proxy")
)

// runLimit bounds one run of a client.
const runLimit = 5 * time.Minute

// result is what a run of a client gave.
type result struct {
	Client, Case string
	Exchanges    []exchange
	Took         time.Duration
	Output       string // what a person reads
	Failed       bool   // its exit status
	Marker       bool   // its tool ran
	TimedOut     bool
}

// asked is how many requests it put on the wire that ask a model.
func (r result) asked() int {
	n := 0
	for _, e := range r.Exchanges {
		if e.asks() {
			n++
		}
	}
	return n
}

// cases are what every client is put through.
var cases = []string{"plain", "stream", "tool", "structured", "image", "exhausted", "held", "waiting", "refused", "ledger-down", "killed", "killed-tool"}

// ciCases are those that every test run has: quick ones, which say whether a denial ends the matter.
var ciCases = []string{"plain", "stream", "tool", "exhausted", "held", "refused", "killed-tool"}

// inEveryRun says whether every test run puts the client through a case.
func (c client) inEveryRun(name string) bool {
	return c.CI && (slices.Contains(ciCases, name) || c.final && name == "ledger-down")
}

// TestAgents puts clients through the cases: seven of them through some, or with -matrix
// all through all.
func TestAgents(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var results []result
	t.Run("of", func(t *testing.T) {
		for _, c := range clients {
			for _, name := range cases {
				if !c.has(name) || !*matrix && !c.inEveryRun(name) {
					continue
				}
				t.Run(c.Name+"/"+name, func(t *testing.T) {
					t.Parallel()
					r := w.run(t, c, name)
					t.Logf("%d requests in %v: %s", r.asked(), r.Took.Round(time.Millisecond), r.sentence())
					r.check(t)
					mu.Lock()
					defer mu.Unlock()
					results = append(results, r)
				})
			}
		}
	})
	if *update && *matrix {
		writePage(t, results)
	}
}

// wants is what a person must read in a case, and how many requests are put on the wire at
// least and at most; 0 for no bound.
var wants = map[string]struct {
	says        string
	least, most int
}{
	"plain":       {saidPlain, 1, 1},
	"stream":      {saidPlain, 1, 1},
	"tool":        {saidAfter, 2, 2},
	"structured":  {"Paris", 1, 1},
	"image":       {saidImage, 1, 2},
	"exhausted":   {"aegis: spend limit reached: budget", 1, 1},
	"held":        {saidPlain, 2, 0},
	"waiting":     {saidPlain, 1, 1},
	"refused":     {"is not allowed for this tenant", 1, 1},
	"ledger-down": {"aegis: the ledger cannot be asked", 1, 0},
	"killed":      {"", 1, 0},
	"killed-tool": {"", 1, 0},
}

// check holds a run against what its case wants.
func (r result) check(t *testing.T) {
	t.Helper()
	want, asked := wants[r.Case], r.asked()
	if r.Case == "ledger-down" && clientNamed(r.Client).final {
		want.most = 1
	}
	if r.Client == "aider" && r.Case == "tool" {
		want.least, want.most = 1, 1 // it has no tools, but edits
	}
	if r.Case == "held" && clientNamed(r.Client).once {
		want.says, want.least = "aegis: spend limit held", 1
	}
	if slices.Contains(denials, r.Case) && clientNamed(r.Client).mute {
		want.says = ""
	}
	if asked < want.least || want.most > 0 && asked > want.most {
		t.Errorf("%d requests, want %d to %d: %v", asked, want.least, want.most, r.Exchanges)
	}
	flat := strings.NewReplacer("\\\"", "\"").Replace(spaces.ReplaceAllString(r.Output, " "))
	if !strings.Contains(flat, want.says) {
		t.Errorf("a person does not read %q", want.says)
	}
	if r.Marker != (r.Case == "tool") {
		t.Errorf("its tool ran: %v", r.Marker)
	}
	if r.TimedOut {
		t.Errorf("it had no end within %v", runLimit)
	}
	if t.Failed() {
		t.Logf("it wrote:\n%s", r.Output)
	}
}

// onePixel is a PNG.
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// run puts a client through a case.
func (w *world) run(t *testing.T, c client, name string) result {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"home", "work"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := c.Name + "-" + name
	tenant, proxy := w.tenantOf(c, name)
	j := job{Case: name, Base: w.front.server.URL + "/run/" + run, Key: w.keys[tenant], Dir: filepath.Join(dir, "work"), Image: filepath.Join(dir, "work", "pixel.png")}
	to := proxy.url
	if *direct {
		j.Key, to = upstreamSecret, w.upstream.URL
	}
	pixel, err := base64.StdEncoding.DecodeString(onePixel)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(j.Image, pixel, 0o600); err != nil {
		t.Fatal(err)
	}
	watched := w.front.open(run, to, watchOf(name))
	meddle := w.meddler(t, name, tenant, run)
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	meddled := make(chan struct{})
	go func() {
		defer close(meddled)
		select {
		case <-watched.watched:
		case <-ctx.Done():
		}
		meddle()
	}()
	r := c.start(ctx, j, dir)
	cancel()
	<-meddled
	r.Client, r.Case, r.Exchanges = c.Name, name, watched.all()
	_, err = os.Stat(filepath.Join(j.Dir, "marker"))
	r.Marker = err == nil
	return r
}

func (w *world) tenantOf(c client, name string) (tenant string, proxy *server) {
	switch name {
	case "exhausted":
		return "spent", w.proxy
	case "refused":
		return "refused", w.proxy
	case "held", "waiting":
		return name + "-" + c.Name, w.proxy
	case "ledger-down":
		return "ample", w.broken
	}
	return "ample", w.proxy
}

// watchOf is the event at which the case interferes.
func watchOf(name string) func(exchange, []byte) bool {
	switch name {
	case "held":
		return func(e exchange, _ []byte) bool { return e.Status >= 400 }
	case "waiting":
		return func(e exchange, _ []byte) bool { return e.Status == 0 && e.asks() }
	case "killed", "killed-tool":
		return func(_ exchange, part []byte) bool {
			return bytes.Contains(part, []byte("delta")) || bytes.Contains(part, []byte("candidates"))
		}
	}
	return nil
}

// start runs the client's program to its end.
func (c client) start(ctx context.Context, j job, dir string) result {
	line := c.command(c, j)
	command := exec.CommandContext(ctx, line[0], line[1:]...)
	command.Dir = j.Dir
	command.WaitDelay = time.Second
	command.Env = append([]string{"HOME=" + filepath.Join(dir, "home"), "TMPDIR=" + dir, "LANG=C.UTF-8", "TERM=dumb", "NO_COLOR=1",
		"PATH=" + installed("node/node_modules/.bin") + ":" + os.Getenv("PATH")}, c.environment(c, j)...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	begin := time.Now()
	err := command.Run()
	return result{Took: time.Since(begin), Output: strings.TrimSpace(out.String()), Failed: err != nil, TimedOut: ctx.Err() != nil}
}

// meddler is what is done to a run at the event that its case watches for.
func (w *world) meddler(t *testing.T, name, tenant, run string) func() {
	switch name {
	case "held", "waiting":
		return w.block(t, tenant)
	case "killed", "killed-tool":
		return func() {
			if err := w.kill(tenant, run); err != nil {
				t.Error(err)
			}
		}
	}
	return func() {}
}
