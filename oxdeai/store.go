package oxdeai

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Saved is what a state store keeps: the canonical bytes of a snapshot, and the authorizations that were released, as
// canonical JSON. The second is apart from the first because the protocol's snapshot has no place for it.
type Saved struct {
	Snapshot []byte
	Released []byte
}

// StateStore keeps the last state. Save returns when the state is durable; Load returns false if nothing was saved
// yet. The engine calls one method at a time.
type StateStore interface {
	Save(Saved) error
	Load() (Saved, bool, error)
}

// MemoryStore keeps the state in memory. The zero value is empty and ready. It is safe for concurrent use.
type MemoryStore struct {
	mu    sync.Mutex
	saved *Saved
}

// Save implements StateStore.
func (m *MemoryStore) Save(s Saved) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saved = &Saved{slices.Clone(s.Snapshot), slices.Clone(s.Released)}
	return nil
}

// Load implements StateStore.
func (m *MemoryStore) Load() (Saved, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saved == nil {
		return Saved{}, false, nil
	}
	return Saved{slices.Clone(m.saved.Snapshot), slices.Clone(m.saved.Released)}, true, nil
}

// FileStore keeps the snapshot in a file, and the released authorizations in a file of the same name with the ending
// .released. Each is replaced as a whole, so a crash leaves the old content or the new one. The released ids are
// written first: after a crash between the two a release is refused that could have been allowed, never the other way
// round.
type FileStore struct {
	path string
}

// NewFileStore returns a store in the file of this path. The file need not exist, its directory has to.
func NewFileStore(path string) *FileStore { return &FileStore{path} }

func (f *FileStore) releasedPath() string { return f.path + ".released" }

// Save implements StateStore.
func (f *FileStore) Save(s Saved) error {
	if err := replaceFile(f.releasedPath(), s.Released); err != nil {
		return err
	}
	return replaceFile(f.path, s.Snapshot)
}

// Load implements StateStore. A snapshot without the second file, which another implementation may have left, has no
// released authorizations.
func (f *FileStore) Load() (Saved, bool, error) {
	snapshot, err := readAtMost(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Saved{}, false, nil
	}
	if err != nil {
		return Saved{}, false, err
	}
	released, err := readAtMost(f.releasedPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Saved{}, false, err
	}
	return Saved{snapshot, released}, true, nil
}

// readAtMost reads a file of at most MaxDocumentBytes.
func readAtMost(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxDocumentBytes {
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	}
	return os.ReadFile(path)
}

// replaceFile puts content into a temporary file beside the target, makes it durable and renames it.
func replaceFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
