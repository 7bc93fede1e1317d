package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// hashFiles follows the hash files of one chain as its lines are read.
type hashFiles struct {
	all  []*hashFile
	open []*openHashes // that the line read last is in
}

// openHashes is a hash file whose segment is being read.
type openHashes struct {
	*hashFile
	segment string      // that its first line is in
	left    []tlog.Hash // of the lines to come
	bytes   int64       // of the lines so far
}

// add holds the next line, and the subtrees that are complete with it, against the
// hash files that have it.
func (f *hashFiles) add(c *chainState, p *parsedLine, stored []tlog.Hash) {
	for _, h := range f.all {
		if h.head.First != p.N || h.met {
			continue
		}
		list, err := h.begins(p)
		if err != nil {
			c.v.find(Altered, h.path, 0, "%v", err)
			h.met = true // once is enough
			continue
		}
		f.open = append(f.open, &openHashes{h, p.File, list, 0})
	}
	f.open = slices.DeleteFunc(f.open, func(o *openHashes) bool {
		ended, err := o.line(p, stored)
		if err != nil {
			c.v.find(Altered, o.path, 0, "%v", err)
		}
		o.met = o.met || ended || err != nil
		return ended || err != nil
	})
}

// begins reads the hashes of a file whose first line has come.
func (h *hashFile) begins(p *parsedLine) ([]tlog.Hash, error) {
	name := strings.TrimSuffix(filepath.Base(p.File), gzipSuffix)
	own := segmentName(hashesNumber(filepath.Base(h.path)))
	switch {
	case p.Line != 1 || segmentNumber(name) != 0 && name != own:
		return nil, fmt.Errorf("it is of lines %d to %d, and %s does not begin with those", h.head.First, h.tip.n, own)
	case p.Prev != h.prev:
		return nil, fmt.Errorf("the prev of its first line is another than that of line %d", p.N)
	}
	return h.hashes()
}

// line takes the next line of the segment. ended is true after the last one.
func (o *openHashes) line(p *parsedLine, stored []tlog.Hash) (ended bool, err error) {
	o.bytes += p.size
	if p.File != o.segment {
		return false, fmt.Errorf("it goes on to line %d, and %s ends before", o.tip.n, o.segment)
	}
	if !slices.Equal(o.left[:len(stored)], stored) {
		return false, fmt.Errorf("the hashes of line %d are others than the line gives; remove the file, it can be made anew", p.N)
	}
	o.left = o.left[len(stored):]
	switch {
	case p.N < o.tip.n:
		return false, nil
	case p.Hash != o.tip.hash || o.bytes != o.head.Bytes:
		return false, fmt.Errorf("its seal or its number of bytes is not that of lines %d to %d", o.head.First, o.tip.n)
	}
	return true, nil
}

// gone makes the tree over the first n lines from the hash files that stand for
// them, and checks each inner node.
func (f *hashFiles) gone(c *chainState, p *Prefix, n int64) (edge frontier, err error) {
	var scratch []tlog.Hash
	for _, h := range p.files {
		if h.head.First > n {
			break
		}
		list, err := h.hashes()
		if err != nil {
			return edge, err
		}
		h.met = h.tip.n <= n
		for edge.n < min(n, h.tip.n) {
			leaf := list[0]
			scratch = edge.add(leaf, scratch[:0])
			if !slices.Equal(list[:len(scratch)], scratch) {
				return edge, fmt.Errorf("hash file %s: the hashes of the subtrees that end with line %d are not those of their parts", h.path, edge.n)
			}
			list = list[len(scratch):]
			if edge.n == h.tip.n && leaf != h.leaf {
				return edge, fmt.Errorf("hash file %s: its last hash is not that of its seal", h.path)
			}
		}
	}
	if edge.n != n {
		return edge, errors.New("the hash files do not reach so far")
	}
	return edge, nil
}

// checkHashFiles reports hash files that are broken, or of no lines that are here
// or stood for.
func (v *verifier) checkHashFiles() {
	if v.leaf == nil {
		return
	}
	for _, p := range v.opts.Prefixes {
		for _, b := range p.broken {
			v.find(Malformed, b.path, 0, "%v", errors.Unwrap(b.err))
		}
		for _, h := range p.all() {
			switch c := v.chains[h.tip.chain]; {
			case h.met || c != nil && c.tree.off: // what is wrong was found
			case c != nil && h.tip.n > c.report.Last:
				v.find(Truncated, c.last.file, c.last.line, "the chain ends at number %d, %s goes to %d", c.report.Last, h.path, h.tip.n)
			default:
				v.find(Altered, h.path, 0, "it is of lines %d to %d of chain %s, which are not here in a file of their own",
					h.head.First, h.tip.n, h.tip.chain)
			}
		}
	}
}
