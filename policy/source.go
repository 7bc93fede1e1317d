package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must be left alone before it is read again, so
// that one save is one reload.
const settle = 100 * time.Millisecond

// Source holds the newest valid policy of a file and reads the file again
// when it changes: written, replaced, or a symlink pointed elsewhere. A file
// that cannot be read, is not valid, or does not raise the generation leaves
// the old policy in force.
type Source struct {
	path    string
	onLoad  func(*Policy)
	onError func(error)
	current atomic.Pointer[Policy]

	reading sync.Mutex
	read    fs.FileInfo // of the file last read

	watcher *fsnotify.Watcher
	folders []string // watched
	stop    context.CancelFunc
	stopped chan struct{}
}

// Watch loads the policy at path and watches it until the context ends or the
// source is closed. It fails if the first load does. Later loads are told to
// onLoad, and refusals to onError, one at a time; neither is called for the
// first. Neither may call back into the source's Reload or Close. onLoad may be
// nil: Current gives what was loaded.
func Watch(ctx context.Context, path string, onLoad func(*Policy), onError func(error)) (*Source, error) {
	s := &Source{path: path, onLoad: onLoad, onError: onError, stopped: make(chan struct{})}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("policy: watch %s: %w", path, err)
	}
	s.watcher = watcher
	first, err := s.open()
	if err != nil {
		return nil, errors.Join(err, watcher.Close())
	}
	s.current.Store(first)
	ctx, s.stop = context.WithCancel(ctx)
	go s.follow(ctx)
	return s, nil
}

// open begins to watch and then loads, so that no change falls in between.
func (s *Source) open() (*Policy, error) {
	if err := s.watch(); err != nil {
		return nil, err
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	s.read = info
	return Load(s.path)
}

// Current returns the policy in force. It costs an atomic read.
func (s *Source) Current() *Policy { return s.current.Load() }

// Reload reads the file now, whether or not it seems changed.
func (s *Source) Reload() {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.read, _ = os.Stat(s.path)
	s.load()
}

// Close ends the watch and waits until no callback runs.
func (s *Source) Close() {
	s.stop()
	<-s.stopped
}

// follow reloads when the file has changed and then been left alone.
func (s *Source) follow(ctx context.Context) {
	defer close(s.stopped)
	defer s.watcher.Close()
	timer := time.NewTimer(settle)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-s.watcher.Events:
			if !open {
				return
			}
			timer.Reset(settle)
		case err, open := <-s.watcher.Errors:
			if !open {
				return
			}
			s.onError(fmt.Errorf("policy: watch %s: %w", s.path, err))
			timer.Reset(settle) // what the lost events told
		case <-timer.C:
			s.reloadIfChanged()
		}
	}
}

func (s *Source) reloadIfChanged() {
	s.reading.Lock()
	defer s.reading.Unlock()
	if err := s.watch(); err != nil {
		s.onError(err)
	}
	info, err := os.Stat(s.path)
	if err == nil && s.read != nil && sameState(info, s.read) {
		return
	}
	s.read = info
	s.load()
}

func sameState(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// load puts the file's policy in force if it is valid and newer.
func (s *Source) load() {
	next, err := Load(s.path)
	if err != nil {
		s.onError(fmt.Errorf("policy of generation %d stays in force: %w", s.Current().Version.Generation, err))
		return
	}
	changed, err := next.succeeds(s.Current())
	if err != nil {
		s.onError(fmt.Errorf("policy of generation %d stays in force: %s: %w", s.Current().Version.Generation, s.path, err))
		return
	}
	if changed {
		s.current.Store(next)
		if s.onLoad != nil {
			s.onLoad(next)
		}
	}
}

// succeeds reports whether p is another file than the one in force, and
// refuses it if its generation is not higher.
func (p *Policy) succeeds(old *Policy) (changed bool, err error) {
	next, now := p.Version, old.Version
	switch {
	case next == now:
		return false, nil
	case next.Generation == now.Generation:
		return false, fmt.Errorf("the file has changed but not its generation; raise generation to %d", now.Generation+1)
	case next.Generation < now.Generation:
		return false, fmt.Errorf("its generation %d is older; raise generation to %d", next.Generation, now.Generation+1)
	}
	return true, nil
}

// watch watches the folder of the file and, where that is a symlink, of every
// file on the way: a ConfigMap is changed by pointing a symlink elsewhere.
func (s *Source) watch() error {
	folders := foldersOf(s.path)
	for _, folder := range s.folders {
		if !slices.Contains(folders, folder) {
			_ = s.watcher.Remove(folder) // it may be gone
		}
	}
	s.folders = folders
	for _, folder := range folders {
		if err := s.watcher.Add(folder); err != nil {
			return fmt.Errorf("policy: watch %s: %w", folder, err)
		}
	}
	return nil
}
