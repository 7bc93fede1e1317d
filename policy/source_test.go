package policy_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// watched is a source and what it told.
type watched struct {
	*policy.Source
	loads  chan *policy.Policy
	errors chan error
}

func watch(t *testing.T, path string) *watched {
	t.Helper()
	w := &watched{loads: make(chan *policy.Policy, 16), errors: make(chan error, 16)}
	source, err := policy.Watch(t.Context(), path,
		func(p *policy.Policy) { w.loads <- p },
		func(err error) { w.errors <- err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	w.Source = source
	return w
}

func (w *watched) wantLoad(t *testing.T, generation int64) {
	t.Helper()
	select {
	case p := <-w.loads:
		if p.Version.Generation != generation || w.Current() != p {
			t.Fatalf("loaded generation %d, in force %d; want %d", p.Version.Generation, w.Current().Version.Generation, generation)
		}
	case err := <-w.errors:
		t.Fatalf("refused: %v", err)
	case <-time.After(patience):
		t.Fatal("nothing was loaded")
	}
}

// wantLoadAfter passes over refusals: a file that is written in place may be
// read half done.
func (w *watched) wantLoadAfter(t *testing.T, generation int64) {
	t.Helper()
	for {
		select {
		case p := <-w.loads:
			if p.Version.Generation != generation {
				t.Fatalf("loaded generation %d, want %d", p.Version.Generation, generation)
			}
			return
		case <-w.errors:
		case <-time.After(patience):
			t.Fatal("nothing was loaded")
		}
	}
}

func (w *watched) wantError(t *testing.T, says string, inForce int64) {
	t.Helper()
	select {
	case p := <-w.loads:
		t.Fatalf("loaded generation %d", p.Version.Generation)
	case err := <-w.errors:
		if !strings.Contains(err.Error(), says) {
			t.Fatalf("got %v, want %q", err, says)
		}
	case <-time.After(patience):
		t.Fatal("nothing was told")
	}
	if got := w.Current().Version.Generation; got != inForce {
		t.Fatalf("generation %d is in force, want %d", got, inForce)
	}
}

// generation is a valid policy file.
func generation(n int, comment string) string {
	text := strings.Replace(head+tenantText("mode: enforce"), "generation: 1", fmt.Sprintf("generation: %d", n), 1)
	return text + "# " + comment + "\n"
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace moves a new file over path, as editors and deployments do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReloadWhenWrittenOrReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, generation(1, ""))
	w := watch(t, path)
	write(t, path, generation(2, "in place"))
	w.wantLoadAfter(t, 2)
	replace(t, path, generation(3, "moved"))
	w.wantLoad(t, 3)
	replace(t, path, generation(4, "moved again"))
	w.wantLoad(t, 4)
}

func TestBrokenFileKeepsTheOldPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, generation(7, ""))
	w := watch(t, path)
	for _, c := range []struct{ name, text, says string }{
		{"not YAML", "generation: [", "policy.yaml:2:1: not YAML"},
		{"an unknown field", generation(8, "") + "color: blue\n", `unknown field "color"`},
		{"the same generation", generation(7, "changed"), "raise generation to 8"},
		{"an older generation", generation(6, ""), "raise generation to 8"},
		{"empty", "", "the file is empty"},
	} {
		replace(t, path, c.text)
		w.wantError(t, c.says, 7)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.wantError(t, "no such file", 7)
	replace(t, path, generation(8, "mended"))
	w.wantLoad(t, 8)
}

// The bytes in force are no change, however often they are written.
func TestSameBytesAreNoChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, generation(1, ""))
	w := watch(t, path)
	first := w.Current()
	replace(t, path, generation(1, ""))
	w.Reload()
	if w.Current() != first || len(w.loads)+len(w.errors) != 0 {
		t.Error("the same bytes were taken for a change")
	}
	replace(t, path, generation(2, ""))
	w.wantLoad(t, 2)
}

func TestReloadByHand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, generation(1, ""))
	w := watch(t, path)
	w.Source.Close() // no event can come any more
	write(t, path, generation(2, ""))
	w.Reload()
	w.wantLoad(t, 2)
	write(t, path, "broken")
	w.Reload()
	w.wantError(t, "must be a mapping", 2)
}

// Kubernetes mounts a ConfigMap as policy.yaml -> ..data/policy.yaml and
// ..data -> ..TIME, and changes it by pointing ..data elsewhere.
func TestReloadOfAConfigMap(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(mkdir(t, filepath.Join(dir, "..1")), "policy.yaml"), generation(1, ""))
	symlink(t, "..1", filepath.Join(dir, "..data"))
	symlink(t, "..data/policy.yaml", filepath.Join(dir, "policy.yaml"))
	w := watch(t, filepath.Join(dir, "policy.yaml"))
	for n := 2; n <= 4; n++ {
		next := fmt.Sprintf("..%d", n)
		write(t, filepath.Join(mkdir(t, filepath.Join(dir, next)), "policy.yaml"), generation(n, ""))
		symlink(t, next, filepath.Join(dir, "..data"))
		if err := os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..%d", n-1))); err != nil {
			t.Fatal(err)
		}
		w.wantLoad(t, int64(n))
	}
}

// A symlink to a file elsewhere, whose target is written, and then a folder
// on the way that is a symlink itself.
func TestReloadThroughSymlinks(t *testing.T) {
	dir := t.TempDir()
	for n := 1; n <= 3; n++ {
		release := mkdir(t, filepath.Join(dir, "releases", fmt.Sprint(n)))
		write(t, filepath.Join(release, "real.yaml"), generation(n, ""))
	}
	mkdir(t, filepath.Join(dir, "etc"))
	symlink(t, filepath.Join(dir, "releases", "1"), filepath.Join(dir, "current"))
	symlink(t, "../current/real.yaml", filepath.Join(dir, "etc", "policy.yaml"))
	w := watch(t, filepath.Join(dir, "etc", "policy.yaml"))
	symlink(t, filepath.Join(dir, "releases", "2"), filepath.Join(dir, "current"))
	w.wantLoad(t, 2)
	symlink(t, filepath.Join(dir, "releases", "3", "real.yaml"), filepath.Join(dir, "etc", "policy.yaml"))
	w.wantLoad(t, 3)
	write(t, filepath.Join(dir, "releases", "3", "real.yaml"), generation(4, ""))
	w.wantLoadAfter(t, 4)
}

func TestWatchFailsWithTheFirstLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if _, err := policy.Watch(t.Context(), path, nil, nil); err == nil {
		t.Error("no file, and no error")
	}
	write(t, path, "generation: 1\n")
	if _, err := policy.Watch(t.Context(), path, nil, nil); err == nil || !strings.Contains(err.Error(), "tenants is missing") {
		t.Errorf("got %v", err)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, generation(1, ""))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := policy.Watch(ctx, path, nil, nil); err != nil {
		t.Fatal(err)
	}
	cancel() // goleak finds what goes on
}
