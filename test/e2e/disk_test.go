//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// asRoot runs the test again in a namespace where it may mount disks.
func asRoot(t *testing.T) {
	t.Helper()
	again := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := again.CombinedOutput()
	if err != nil {
		t.Fatalf("in a namespace of its own: %v\n%s", err, out)
	}
}

// smallDisk is a file system of so many bytes that a test can fill.
type smallDisk struct {
	t   *testing.T
	dir string
}

// mountDisk mounts a small disk at a directory.
func mountDisk(t *testing.T, dir string, size int) *smallDisk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return &smallDisk{t, dir}
}

func (d *smallDisk) filler() string { return filepath.Join(d.dir, "filler") }

// fill takes all the room that is left.
func (d *smallDisk) fill() {
	d.t.Helper()
	f, err := os.Create(d.filler())
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
}

// free gives it back.
func (d *smallDisk) free() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatal(err)
	}
}

const diskBytes = 4 << 20

// TestFullDisk fills the disk that receipts are on, or all of the proxy's data.
// Requests are refused and not sent, the replica says that it is not ready,
// nothing stays held, and a stream that was in flight is charged once. With
// room again it serves, without a restart.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		asRoot(t)
		return
	}
	embedded, redis := deployment{"embedded", 1, false}, deployment{"redis", 1, true}
	for _, row := range []struct {
		name string
		on   deployment
		dir  string
	}{
		{"of the receipts, embedded", embedded, "receipts"},
		{"of the receipts, redis", redis, "receipts"},
		{"of all data, embedded", embedded, "."},
		{"of all data, redis", redis, "."},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			fillDisk(t, row.on, row.dir)
		})
	}
}

func fillDisk(t *testing.T, d deployment, dir string) {
	q, stream := request{cap: outputCap}, request{cap: outputCap, stream: true}
	one := bound(t, q)
	w := newWorld(t, simulator.Config{CountPrompt: exactPrompt, Script: briefly}, monthly(500*one))
	disk := mountDisk(t, filepath.Join(w.dir, "replica0", dir), diskBytes)
	w.init(filepath.Join(w.dir, "replica0"))
	replicas := d.up(t, w)
	r := replicas[0]
	w.serve(replicas, q)
	flying := w.open(r, stream, 1)[0]

	disk.fill()
	received := w.sim.Totals().Received
	// What is left of the last block may hold a few receipts yet.
	eventually(t, restLimit, func() error { return wantStatus(w.must(r, q), 503) })
	served := w.sim.Totals().Received - received
	for range 5 {
		if resp := w.must(r, q); resp.status != 503 || resp.code() != "ledger_unavailable" {
			t.Errorf("got %d %s", resp.status, resp.body)
		}
	}
	if got := w.sim.Totals().Received - received; got != served {
		t.Errorf("the provider got %d requests that have no receipt", got-served)
	}
	awaitReadiness(t, r, 503)
	if _, err := io.Copy(io.Discard, flying.Body); err != nil {
		t.Errorf("the stream in flight broke: %v", err)
	}
	if dir == "receipts" {
		awaitStanding(t, r, standing((served+2)*one, 0))
	}

	disk.free()
	awaitReadiness(t, r, 200)
	w.serve(replicas, q)
	w.awaitSettled(replicas)
	awaitComplete(t, replicas)
	if code := r.stop(); code != 0 {
		t.Errorf("proxy ended with %d", code)
	}
	if left, err := os.ReadDir(filepath.Join(r.data, "outbox")); err != nil || len(left) > 0 {
		t.Errorf("the outbox is left with %v, %v", left, err)
	}
	verifyAll(t, replicas)
}

// TestStopAfterFullDisk stops the proxy cleanly as soon as it is ready again. Every
// event has its receipt then: nobody need come back for those that a full disk kept
// from theirs and that are not overdue yet.
func TestStopAfterFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		asRoot(t)
		return
	}
	for _, row := range []struct {
		name string
		on   deployment
		dir  string
	}{
		{"of the receipts, embedded", deployment{"embedded", 1, false}, "receipts"},
		{"of the receipts, redis", deployment{"redis", 1, true}, "receipts"},
		{"of all data, embedded", deployment{"embedded", 1, false}, "."},
		{"of all data, redis", deployment{"redis", 1, true}, "."},
	} {
		t.Run(row.name, func(t *testing.T) {
			q := request{cap: outputCap}
			w := newWorld(t, simulator.Config{CountPrompt: exactPrompt}, monthly(500*bound(t, q)))
			disk := mountDisk(t, filepath.Join(w.dir, "replica0", row.dir), diskBytes)
			w.init(filepath.Join(w.dir, "replica0"))
			replicas := row.on.up(t, w)
			w.serve(replicas, q)
			awaitComplete(t, replicas)
			disk.fill()
			eventually(t, restLimit, func() error { return wantStatus(w.must(replicas[0], q), 503) })
			for range 20 {
				w.must(replicas[0], q)
			}
			disk.free()
			awaitReadiness(t, replicas[0], 200)
			if code := replicas[0].stop(); code != 0 {
				t.Errorf("proxy ended with %d", code)
			}
			mustBeComplete(t, replicas)
		})
	}
}

// mustBeComplete checks that the receipts of stopped replicas lack no event.
func mustBeComplete(t *testing.T, replicas []*replica) {
	t.Helper()
	for _, r := range replicas {
		if out, err := aegis(t, "verify", "--complete", r.data); err != nil {
			t.Errorf("verify: %v\n%s", err, out)
		}
	}
}

// briefly answers streams slowly enough that a test can act meanwhile.
func briefly(r *simulator.Request) simulator.Answer {
	if r.Stream {
		return simulator.Answer{TokenDelay: 40 * time.Millisecond}
	}
	return simulator.Answer{}
}
