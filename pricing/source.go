package pricing

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// lookEvery is how often a Source looks whether its file has changed.
const lookEvery = time.Second

// toldLeaps is how many leaps a refusal names.
const toldLeaps = 5

// Source holds the newest valid table of a file. What leaves the old one in force is a file that cannot be read, is no table,
// or has a price that leaps from the one in force and is not confirmed.
type Source struct {
	path    string
	factor  int64
	onError func(error)
	current atomic.Pointer[Table]
	refused atomic.Bool
	stop    context.CancelFunc
	stopped chan struct{}
}

// Watch reads the table at path and follows the file until Close. It fails if the first reading does; onError is told of
// later ones. The first table is taken as it is, since there is none that its prices could leap from.
func Watch(path string, factor int64, onError func(error)) (*Source, error) {
	seen, err := stampOf(path)
	if err != nil {
		return nil, fmt.Errorf("prices: %w", err)
	}
	t, err := ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("prices: %w", err)
	}
	s := &Source{path: path, factor: factor, onError: onError, stopped: make(chan struct{})}
	s.current.Store(t)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.follow(ctx, seen)
	return s, nil
}

// Current is the table in force.
func (s *Source) Current() *Table { return s.current.Load() }

// Refused reports whether the file was changed to something that is not in force.
func (s *Source) Refused() bool { return s.refused.Load() }

// Close ends the watch and waits until onError does not run.
func (s *Source) Close() {
	s.stop()
	<-s.stopped
}

func (s *Source) follow(ctx context.Context, read stamp) {
	defer close(s.stopped)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := stampOf(s.path)
		if err != nil || now.equal(read) {
			continue
		}
		read = now
		err = s.load()
		s.refused.Store(err != nil)
		if err != nil {
			s.onError(fmt.Errorf("prices of version %s stay in force: %w", s.Current().Version(), err))
		}
	}
}

// load puts the file's table in force, if it may follow the one that is.
func (s *Source) load() error {
	newer, err := ReadFile(s.path)
	if err != nil {
		return err
	}
	leaps := s.Current().Leaps(newer, s.factor)
	if len(leaps) > 0 && !confirmed(s.path, newer) {
		return s.unconfirmed(newer, leaps)
	}
	s.current.Store(newer)
	return nil
}

func (s *Source) unconfirmed(newer *Table, leaps []Change) error {
	var told []string
	for _, c := range leaps[:min(len(leaps), toldLeaps)] {
		told = append(told, c.String())
	}
	return fmt.Errorf("%s: of its prices %d leap by more than a factor of %d, and are not confirmed (%s): look, and if that is meant, say aegis-proxy prices confirm %s --prices %s",
		s.path, len(leaps), s.factor, strings.Join(told, "; "), newer.Version(), s.path)
}

// Confirmation is the file beside a price file that has the version of a table whose prices may leap: they are meant.
func Confirmation(path string) string { return path + ".confirmed" }

// confirmed reports whether somebody has confirmed a table that stands at path.
func confirmed(path string, t *Table) bool {
	version, err := readBounded(Confirmation(path))
	return err == nil && string(bytes.TrimSpace(version)) == t.Version()
}

// stamp is the state of a price file, and of its confirmation, nil where there is none.
type stamp struct{ prices, confirmation fs.FileInfo }

func stampOf(path string) (s stamp, err error) {
	if s.prices, err = os.Stat(path); err != nil {
		return stamp{}, err
	}
	if info, err := os.Stat(Confirmation(path)); err == nil {
		s.confirmation = info
	}
	return s, nil
}

func (s stamp) equal(other stamp) bool {
	return same(s.prices, other.prices) && same(s.confirmation, other.confirmation)
}

func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
