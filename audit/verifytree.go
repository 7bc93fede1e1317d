package audit

import (
	"cmp"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// chainTree follows the Merkle tree over a chain's lines as they are read.
type chainTree struct {
	checkpoints []Checkpoint // by N
	prefix      *Prefix      // nil if there is none of this chain
	files       hashFiles
	edge        frontier
	scratch     []tlog.Hash
	off         bool  // none is wanted, or a line is not in its place, which is a finding already
	unseen      int64 // the first lines, which the prefix stands for
	vouched     int64 // of the highest checkpoint that fits
}

func newChainTree(opts VerifyOptions, chain string) chainTree {
	t := chainTree{}
	for _, c := range opts.Checkpoints {
		if c.Chain == chain {
			t.checkpoints = append(t.checkpoints, c)
		}
	}
	slices.SortStableFunc(t.checkpoints, func(a, b Checkpoint) int { return cmp.Compare(a.N, b.N) })
	for _, p := range opts.Prefixes {
		if p.N() > 0 && p.link().chain == chain {
			t.prefix = p
		}
		for _, h := range p.all() {
			if h.tip.chain == chain {
				t.files.all = append(t.files.all, h)
			}
		}
	}
	return t
}

// skipTree begins the tree after the lines that were moved away, and holds
// these against the checkpoints. It is false if nothing stands for them.
func (c *chainState) skipTree(n int64, at where) bool {
	t := &c.tree
	if t.off || t.prefix == nil || t.prefix.N() < n {
		return false
	}
	edge, err := t.files.gone(c, t.prefix, n)
	if err != nil {
		c.find(Altered, at, "lines 1 to %d are not here, and what should stand for them is wrong: %v", n, err)
		return false
	}
	t.edge, t.unseen = edge, n
	for _, cp := range c.tree.checkpoints {
		if cp.N >= n {
			break
		}
		root, err := tlog.TreeHash(cp.N, c.tree.prefix)
		c.vouch(cp, err == nil && root == cp.Root, at)
	}
	c.checkTree(at)
	return true
}

// addLeaf puts the line that was read last into the tree.
func (c *chainState) addLeaf(p *parsedLine, at where) {
	if c.tree.off {
		return
	}
	c.tree.scratch = c.tree.edge.add(p.leaf, c.tree.scratch[:0])
	c.tree.files.add(c, p, c.tree.scratch)
	c.checkTree(at)
}

// checkTree holds the tree against the checkpoints of its size.
func (c *chainState) checkTree(at where) {
	t := &c.tree
	for _, cp := range t.checkpoints {
		if cp.N == t.edge.n {
			c.vouch(cp, t.edge.root() == cp.Root, at)
		}
	}
}

// vouch takes one checkpoint's word. The lines up to one that fits are as
// they were, so only those after it can differ.
func (c *chainState) vouch(cp Checkpoint, fits bool, at where) {
	if fits {
		c.tree.vouched = cp.N
		return
	}
	c.find(Altered, at, "lines %d to %d of the chain are not the ones of the checkpoint: their tree has root %v, not %v",
		c.tree.vouched+1, cp.N, c.tree.rootText(cp.N), cp.Root)
}

// rootText is the tree's root when it had n lines.
func (t *chainTree) rootText(n int64) string {
	if n == t.edge.n {
		return t.edge.root().String()
	}
	root, err := tlog.TreeHash(n, t.prefix)
	if err != nil {
		return err.Error()
	}
	return root.String()
}

// endTree reports what only the end of the chain tells.
func (c *chainState) endTree() {
	t := &c.tree
	if t.unseen > t.vouched {
		c.find(Missing, c.begin, "lines %d to %d of the chain are not there, and no checkpoint that reaches line %d vouches for their hashes",
			t.vouched+1, t.unseen, t.unseen)
	}
	for _, cp := range t.checkpoints {
		if cp.N > c.report.Last {
			c.find(Truncated, c.last, "the chain ends at number %d, the checkpoint has %d", c.report.Last, cp.N)
		}
	}
	c.report.Unseen = t.unseen
	if !t.off && t.edge.n > 0 {
		c.report.Root = t.edge.root()
	}
}
