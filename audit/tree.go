package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a Merkle tree (RFC 6962) over n lines: the
// roots of its complete subtrees, the largest first. It is all that it takes
// to add lines.
type frontier struct {
	n     int64
	nodes []tlog.Hash
}

// add puts one more leaf into the tree. It appends the leaf and every subtree
// that is complete with it to stored, in the order of tlog's stored hashes.
func (f *frontier) add(leaf tlog.Hash, stored []tlog.Hash) []tlog.Hash {
	stored = append(stored, leaf)
	for m := f.n; m&1 == 1; m >>= 1 {
		last := len(f.nodes) - 1
		leaf = tlog.NodeHash(f.nodes[last], leaf)
		f.nodes = f.nodes[:last]
		stored = append(stored, leaf)
	}
	f.nodes = append(f.nodes, leaf)
	f.n++
	return stored
}

// root is the tree's root. The tree is not empty.
func (f *frontier) root() tlog.Hash {
	last := len(f.nodes) - 1
	h := f.nodes[last]
	for i := last - 1; i >= 0; i-- {
		h = tlog.NodeHash(f.nodes[i], h)
	}
	return h
}

// frontierAt is the right edge of the tree over the first n lines.
func frontierAt(n int64, r tlog.HashReader) (frontier, error) {
	var indexes []int64
	done := int64(0)
	for level := 62; level >= 0; level-- {
		if n>>level&1 == 1 {
			indexes = append(indexes, tlog.StoredHashIndex(level, done>>level))
			done += 1 << level
		}
	}
	nodes, err := r.ReadHashes(indexes)
	return frontier{n, nodes}, err
}

// Tree is the Merkle tree over the sealed lines of one log's directory, as
// they were when it was opened.
type Tree struct {
	dir    string
	prefix Prefix
	tail   []tlog.Hash // stored hashes of the lines after the prefix
	tip    sealed
	last   segmentPath // the file that tail was read from

	openHashes func(path string) (*hashFile, error)
}

// sealed is a place in a chain that a seal has made final.
type sealed struct {
	link        // the seal itself
	before link // what the seal signs
	seal   Seal
}

// OpenTree reads a log's directory, which a proxy may be writing. The hashes
// of closed segments come from their hash files, and those are made where
// they are missing. Lines after the last seal do not count. It fails with
// ErrDamaged if the lines do not form a chain; Verify says more then.
func OpenTree(dir string) (*Tree, error) { return openTree(dir, openHashFile) }

// outlineTree is OpenTree for who wants few hashes: it checks a hash file when one
// is first taken from it.
func outlineTree(dir string) (*Tree, error) { return openTree(dir, openHashHead) }

func openTree(dir string, openHashes func(path string) (*hashFile, error)) (*Tree, error) {
	files, err := listSegmentFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("audit: %s holds no receipts (no file like %s): no proxy has run there, or they were taken away", dir, segmentName(1))
	}
	t := &Tree{dir: dir, last: files[len(files)-1], openHashes: openHashes}
	return t, t.load(files)
}

// load goes through the segments in order.
func (t *Tree) load(files []segmentPath) error {
	there := map[int]segmentPath{}
	for _, f := range files {
		there[f.number] = f
	}
	for number := 1; number < t.last.number; number++ {
		file, present := there[number]
		if err := t.loadClosed(number, file, present); err != nil {
			return err
		}
	}
	return t.loadLast()
}

// loadClosed takes a closed segment's hashes from its hash file. If that does
// not fit, it makes the file anew from the segment.
func (t *Tree) loadClosed(number int, file segmentPath, present bool) error {
	path := filepath.Join(t.dir, hashesName(number))
	h, err := t.openHashes(path)
	if err == nil {
		if !h.fits(file) {
			err = fmt.Errorf("audit: hash file %s is of a segment of %d bytes", path, h.head.Bytes)
		} else if err = t.prefix.extend(h); err == nil {
			return nil
		}
	}
	if !present {
		return fmt.Errorf("audit: segment %d is not in %s, and there is no hash file that stands for it: %w", number, t.dir, err)
	}
	return t.hashClosed(file, path)
}

// hashClosed computes a closed segment's hashes and writes its hash file.
func (t *Tree) hashClosed(file segmentPath, path string) error {
	read, err := t.read(file)
	if err != nil {
		return err
	}
	if read.torn || read.tip.n != read.at.n {
		return fmt.Errorf("%w: %s is closed, but does not end with a seal", ErrDamaged, file.path)
	}
	if err := replaceFile(path, read.encode()); err != nil {
		return fmt.Errorf("audit: keep the hashes of %s: %w", file.path, err)
	}
	h, err := openHashFile(path)
	if err != nil {
		return err
	}
	return t.prefix.extend(h)
}

// loadLast reads the last segment. It syncs the file first, so that nothing
// is signed which a power failure can still take back.
func (t *Tree) loadLast() error {
	if err := syncFile(t.last.path); err != nil {
		return err
	}
	read, err := t.read(t.last)
	if err != nil {
		return err
	}
	t.tail, t.tip = read.stored, read.tip
	if t.tip.n == 0 {
		t.tip = t.prefix.tip()
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// read computes the hashes of the segment that follows the prefix.
func (t *Tree) read(file segmentPath) (*segmentHashes, error) {
	f, err := file.source().Open()
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	edge, err := frontierAt(t.prefix.N(), &t.prefix)
	if err != nil {
		return nil, err
	}
	read := &segmentHashes{edge: edge, from: t.prefix.link()}
	read.at = read.from
	if err := read.lines(newLineReader(f)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, file.path, err)
	}
	return read, nil
}

// segmentHashes are the stored hashes of one segment, as they are computed.
type segmentHashes struct {
	edge   frontier
	stored []tlog.Hash
	bytes  int64
	from   link // before the first line
	at     link
	tip    sealed // the last seal
	line   []byte // its line
	torn   bool   // whether bytes without a newline follow
	parser parser
}

// lines reads whole lines to the end. A torn last line is not there yet.
func (s *segmentHashes) lines(lines *lineReader) error {
	for {
		line, err := lines.next()
		if err == io.EOF || err == errTorn {
			s.torn = err == errTorn
			return s.finish()
		}
		if err == nil {
			err = s.add(line)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", lines.line, err)
		}
	}
}

// add takes the next line. It looks at the links alone: what a body says is
// for Verify to check.
func (s *segmentHashes) add(line []byte) error {
	tail := string(line[max(0, len(line)-lineOverhead):])
	cut := tailOf(tail)
	if cut < 0 {
		return errors.New("not a receipt")
	}
	r, kind, err := s.parser.parseTail(tail[cut:])
	if err != nil {
		return err
	}
	before := s.at
	if before.n == 0 {
		before.chain = r.Chain
	}
	if r.Chain != before.chain || r.N != before.n+1 || r.Prev != before.hash {
		return fmt.Errorf("does not follow line %d of chain %s", before.n, before.chain)
	}
	s.at = link{r.Chain, r.N, hashLine(line)}
	s.bytes += int64(len(line)) + 1
	s.stored = s.edge.add(tlog.RecordHash(line), s.stored)
	if kind == kindSeal {
		s.line = append(s.line[:0], line...)
	}
	return nil
}

// finish parses the last seal.
func (s *segmentHashes) finish() (err error) {
	if len(s.line) > 0 {
		s.tip, err = parseSealed(string(s.line))
	}
	return err
}

// parseSealed reads a line that must be a seal.
func parseSealed(line string) (sealed, error) {
	r, err := parseLine(line)
	if err != nil {
		return sealed{}, err
	}
	seal, ok := r.Body.(Seal)
	if !ok {
		return sealed{}, errors.New("not a seal")
	}
	return sealed{link{r.Chain, r.N, r.Hash}, link{r.Chain, r.N - 1, r.Prev}, seal}, nil
}

// ReadHashes implements tlog.HashReader.
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	closed := tlog.StoredHashCount(t.prefix.N())
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		var err error
		if index < closed {
			hashes[i], err = t.prefix.hash(index)
		} else if index-closed < int64(len(t.tail)) {
			hashes[i] = t.tail[index-closed]
		} else {
			err = fmt.Errorf("audit: no hash %d", index)
		}
		if err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// Checkpoint is the tree's size and root, not signed.
func (t *Tree) Checkpoint() (Checkpoint, error) {
	if t.tip.n == 0 {
		return Checkpoint{}, fmt.Errorf("audit: %s has no sealed line yet", t.dir)
	}
	root, err := tlog.TreeHash(t.tip.n, t)
	return Checkpoint{t.tip.chain, t.tip.n, root}, err
}

// Extends reports as an error wrapping ErrForked that the tree is not the one
// of an earlier checkpoint with lines added.
func (t *Tree) Extends(old Checkpoint) error {
	switch {
	case old.Chain != t.tip.chain:
		return fmt.Errorf("%w: the checkpoint is of chain %s, the log of %s", ErrForked, old.Chain, t.tip.chain)
	case old.N > t.tip.n:
		return fmt.Errorf("%w: the checkpoint has %d lines, the log only %d sealed ones", ErrForked, old.N, t.tip.n)
	}
	root, err := tlog.TreeHash(old.N, t)
	if err == nil && root != old.Root {
		err = fmt.Errorf("%w: lines 1 to %d had the root %v, and have %v now", ErrForked, old.N, old.Root, root)
	}
	return err
}

// ErrForked is wrapped when a log is not an earlier state of itself with
// lines added: its history was rewritten or shortened.
var ErrForked = errors.New("audit: the log does not extend the checkpoint")

// line returns line n of the chain, from the tree's directory or one that old
// segments were moved to.
func (t *Tree) line(n int64, archives []string) (string, error) {
	if n < 1 || n > t.tip.n {
		return "", fmt.Errorf("audit: chain %s has %d sealed lines, there is no line %d", t.tip.chain, t.tip.n, n)
	}
	number := t.prefix.segmentOf(n)
	file, err := t.segment(number, archives)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("audit: segment %d, which has line %d, was moved away: name its directory too", number, n)
	}
	if err != nil {
		return "", err
	}
	return file.lineNumber(n - t.prefix.firstOf(number) + 1)
}

// segment finds a segment in the tree's directory or in an archive. It fails with
// fs.ErrNotExist if it is in none.
func (t *Tree) segment(number int, archives []string) (segmentPath, error) {
	for _, dir := range append([]string{t.dir}, archives...) {
		file, err := findSegmentFile(dir, number)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return segmentPath{}, fs.ErrNotExist
}
