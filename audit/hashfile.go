package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const hashesSuffix = ".hashes"

func hashesName(number int) string { return fmt.Sprintf("%06d%s", number, hashesSuffix) }

// hashesNumber is the number in a hash file's name, 0 if it is none.
func hashesNumber(name string) int {
	digits, ok := strings.CutSuffix(name, hashesSuffix)
	if !ok {
		return 0
	}
	return segmentNumber(digits + segmentSuffix)
}

// hashLine is the hash that a line's successor names.
func hashLine(line []byte) Hash { return sha256.Sum256(line) }

// hashesHeader is the first line of a hash file.
type hashesHeader struct {
	Bytes   int64  `json:"bytes"` // of the segment
	First   int64  `json:"first"` // number of its first line
	Prev    string `json:"prev"`  // of its first line
	Version int    `json:"v"`
}

const hashesVersion = 1

// encode is the hash file: a header line, the segment's last line, which is a
// seal, the stored hashes, and the SHA-256 of all that.
func (s *segmentHashes) encode() []byte {
	head, err := json.Marshal(hashesHeader{s.bytes, s.from.n + 1, s.from.hash.String(), hashesVersion})
	if err != nil {
		panic(err) // numbers and a string cannot fail to encode
	}
	var b bytes.Buffer
	b.Grow(len(head) + len(s.line) + (len(s.stored)+1)*tlog.HashSize + 2)
	b.Write(append(head, '\n'))
	b.Write(append(s.line, '\n'))
	for i := range s.stored {
		b.Write(s.stored[i][:])
	}
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	return b.Bytes()
}

// hashFile is the hash file of a closed segment.
type hashFile struct {
	path  string
	leaf  tlog.Hash // of the seal that it has
	met   bool      // Verify has held all of it against lines, or let it stand for them
	head  hashesHeader
	prev  Hash
	tip   sealed
	last  string // the line of tip, the segment's last
	start int64  // where the hashes begin in the file
	sound bool   // its size and SHA-256 were checked
}

// openHashFile reads a hash file and checks its size and SHA-256.
func openHashFile(path string) (*hashFile, error) {
	h, err := openHashHead(path)
	if err != nil {
		return nil, err
	}
	return h, h.checkOnce()
}

// openHashHead reads a hash file's first two lines. The rest is checked before the
// first hash is taken from it.
func openHashHead(path string) (*hashFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := &hashFile{path: path}
	if err := h.readHead(newLineReader(f)); err != nil {
		return nil, fmt.Errorf("audit: hash file %s: %w", path, err)
	}
	return h, nil
}

func (h *hashFile) checkOnce() error {
	if h.sound {
		return nil
	}
	f, err := os.Open(h.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := h.check(f); err != nil {
		return fmt.Errorf("audit: hash file %s: %w", h.path, err)
	}
	h.sound = true
	return nil
}

func (h *hashFile) readHead(lines *lineReader) error {
	head, err := lines.next()
	if err != nil {
		return err
	}
	h.start = int64(len(head)) + 1
	if err := json.Unmarshal(head, &h.head); err != nil {
		return err
	}
	if canonical, err := json.Marshal(h.head); err != nil || string(canonical) != string(head) {
		return errors.New("its header is spelled otherwise")
	}
	if h.head.Version != hashesVersion || h.head.First < 1 || !isHex(h.head.Prev, len(h.prev)) {
		return errors.New("not a header of version 1")
	}
	if _, err := hex.Decode(h.prev[:], []byte(h.head.Prev)); err != nil {
		return err
	}
	line, err := lines.next()
	if err != nil {
		return err
	}
	h.start += int64(len(line)) + 1
	h.leaf = tlog.RecordHash(line)
	h.last = string(line)
	h.tip, err = parseSealed(h.last)
	return err
}

// check holds the file against its size and SHA-256.
func (h *hashFile) check(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := h.start + (h.end()-h.begin())*tlog.HashSize
	if h.tip.n < h.head.First || info.Size() != size+sha256.Size {
		return fmt.Errorf("has %d bytes, want %d", info.Size(), size+sha256.Size)
	}
	sum := sha256.New()
	if _, err := io.CopyBuffer(sum, io.NewSectionReader(f, 0, size), make([]byte, 256<<10)); err != nil {
		return err
	}
	var want [sha256.Size]byte
	if _, err := f.ReadAt(want[:], size); err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != want {
		return errors.New("was altered: its SHA-256 is another")
	}
	return nil
}

// begin and end bound the indexes of the stored hashes in the file.
func (h *hashFile) begin() int64 { return tlog.StoredHashCount(h.head.First - 1) }
func (h *hashFile) end() int64   { return tlog.StoredHashCount(h.tip.n) }

// fits reports whether the segment can be the one that the file was made of: it
// has its size and its last line, which names the one before. One that is gone or
// compressed always can.
func (h *hashFile) fits(segment segmentPath) bool {
	if segment.path == "" || segment.compressed() {
		return true
	}
	f, err := os.Open(segment.path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && info.Size() == h.head.Bytes && endsWith(f, h.head.Bytes, h.last)
}

// endsWith reports whether the last line of a file's first size bytes is this one.
func endsWith(f io.ReaderAt, size int64, line string) bool {
	end := make([]byte, min(size, int64(len(line))+2)) // from the LF before it
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return false
	}
	return strings.HasSuffix("\n"+string(end), "\n"+line+"\n")
}

// hashes are all that are stored in the file, in their order.
func (h *hashFile) hashes() ([]tlog.Hash, error) {
	data, err := os.ReadFile(h.path)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	list := make([]tlog.Hash, h.end()-h.begin())
	for i := range list {
		if copy(list[i][:], data[min(int(h.start)+i*tlog.HashSize, len(data)):]) != tlog.HashSize {
			return nil, fmt.Errorf("audit: hash file %s became shorter", h.path)
		}
	}
	return list, nil
}

// hash reads one stored hash.
func (h *hashFile) hash(index int64) (hash tlog.Hash, err error) {
	if err := h.checkOnce(); err != nil {
		return hash, err
	}
	f, err := os.Open(h.path)
	if err != nil {
		return hash, err
	}
	defer f.Close()
	_, err = f.ReadAt(hash[:], h.start+(index-h.begin())*tlog.HashSize)
	return hash, err
}

// Prefix is the first lines of a chain, as the hash files in its directory
// have them. It stands for segments that were moved away: without their lines
// it can still be held against a checkpoint.
type Prefix struct {
	files  []*hashFile
	rest   []*hashFile // that do not follow those
	broken []brokenFile
}

// brokenFile is a hash file that cannot be read as one.
type brokenFile struct {
	path string
	err  error
}

// OpenPrefix opens the hash files of a directory. The prefix is those from the
// first on, and ends before one that is missing or does not fit. Verify looks at
// the others too.
func OpenPrefix(dir string) *Prefix {
	p := &Prefix{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return p // a file of receipts, or nothing
	}
	for _, e := range entries { // sorted by name
		number := hashesNumber(e.Name())
		if number == 0 {
			continue
		}
		path := filepath.Join(dir, e.Name())
		h, err := openHashFile(path)
		switch {
		case err != nil:
			p.broken = append(p.broken, brokenFile{path, err})
		case number != len(p.files)+1 || p.extend(h) != nil:
			p.rest = append(p.rest, h)
		}
	}
	return p
}

// all are the hash files that could be read.
func (p *Prefix) all() []*hashFile { return slices.Concat(p.files, p.rest) }

// extend adds the file that continues the prefix.
func (p *Prefix) extend(h *hashFile) error {
	at := p.link()
	if h.head.First != at.n+1 || h.prev != at.hash || (at.n > 0 && h.tip.chain != at.chain) {
		return fmt.Errorf("audit: hash file %s does not follow line %d of the chain", h.path, at.n)
	}
	p.files = append(p.files, h)
	return nil
}

// link is the last line that the prefix has.
func (p *Prefix) link() link {
	return p.tip().link
}

// N is how many lines the prefix stands for.
func (p *Prefix) N() int64 { return p.link().n }

// tip is the seal at the prefix's end.
func (p *Prefix) tip() sealed {
	if len(p.files) == 0 {
		return sealed{}
	}
	return p.files[len(p.files)-1].tip
}

// hash reads one stored hash.
func (p *Prefix) hash(index int64) (tlog.Hash, error) {
	for _, h := range p.files {
		if index < h.end() {
			return h.hash(index)
		}
	}
	return tlog.Hash{}, fmt.Errorf("audit: no hash %d", index)
}

// ReadHashes implements tlog.HashReader.
func (p *Prefix) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		var err error
		if hashes[i], err = p.hash(index); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// segmentOf is the number of the segment that has line n.
func (p *Prefix) segmentOf(n int64) int {
	for i, h := range p.files {
		if n <= h.tip.n {
			return i + 1
		}
	}
	return len(p.files) + 1
}

// firstOf is the number of a segment's first line.
func (p *Prefix) firstOf(segment int) int64 {
	if segment > len(p.files) {
		return p.N() + 1
	}
	return p.files[segment-1].head.First
}
