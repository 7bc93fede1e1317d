package audit

import (
	"crypto/ed25519"
	"encoding/hex"
	"slices"
)

// where is a line of a file.
type where struct {
	file string
	line int64
}

// gapSpan is a run of a chain's numbers that were passed over, and the line
// that came in their place.
type gapSpan struct {
	from, to int64
	at       where
}

// chainState follows one chain line by line.
type chainState struct {
	v      *verifier
	id     string
	tree   chainTree
	report ChainReport

	begin    where // the first line
	last     where // the line with the highest number
	mismatch *where
	gaps     []gapSpan

	kid, alg  string // the key of the seals to come, "" until the first line
	next      *Key   // announced, not yet sealed
	announced Keys   // by a rotate line under a valid seal

	unsealed int64 // receipts since the last seal
	from     where // the first of the lines that no seal covers
	open     bool  // whether there are such lines
	cut      bool  // whether the chain is broken since the last seal
}

func newChainState(v *verifier, id string) *chainState {
	c := &chainState{
		v: v, id: id, tree: newChainTree(v.opts, id),
		report: ChainReport{Chain: id}, announced: Keys{},
	}
	c.tree.off = v.leaf == nil
	return c
}

func (c *chainState) find(kind FindingKind, at where, format string, args ...any) {
	c.v.find(kind, at.file, at.line, format, args...)
}

// line takes the next line, after skipped lines that could not be read. It is
// false for a line that was there before.
func (c *chainState) line(p *parsedLine, skipped int64) bool {
	at := where{p.File, p.Line}
	if c.report.First > 0 && p.N <= c.report.Last {
		return c.stray(p, at)
	}
	c.place(p, at, skipped)
	c.addLeaf(p, at)
	if !c.open {
		c.from, c.open = at, true
	}
	c.body(p, at)
	c.last = at
	c.report.Last, c.report.Hash = p.N, p.Hash
	return true
}

// place checks a line's number and its link to the line before.
func (c *chainState) place(p *parsedLine, at where, skipped int64) {
	expected := c.report.Last + 1
	switch {
	case c.report.First == 0:
		c.first(p, at, skipped)
		return
	case p.N == expected:
		c.checkLink(p)
		return
	case p.N > expected+skipped: // else the lines in between were found malformed
		c.gaps = append(c.gaps, gapSpan{expected, p.N - 1, at})
	}
	c.settleMismatch(false)
	c.cut, c.tree.off = true, true
}

// first checks how the chain begins.
func (c *chainState) first(p *parsedLine, at where, skipped int64) {
	c.report.First, c.begin = p.N, at
	_, starts := p.Body.(Start)
	switch {
	case p.N == 1 && p.Prev != Hash{}:
		c.find(Altered, at, "prev of the first line is not zero")
	case p.N == 1 && !starts:
		c.find(Altered, at, "the first line is not a start line")
	case p.N > 1 && !c.skipTree(p.N-1, at):
		c.tree.off = true
		if p.N > 1+skipped {
			c.gaps = append(c.gaps, gapSpan{1, p.N - 1, at})
		}
	}
}

// stray reports a line whose number is not above all before it. It is true
// for one that fills a gap.
func (c *chainState) stray(p *parsedLine, at where) bool {
	i := slices.IndexFunc(c.gaps, func(g gapSpan) bool { return g.from <= p.N && p.N <= g.to })
	if i < 0 {
		c.find(Duplicated, at, "number %d of the chain was there before", p.N)
		return false
	}
	g := c.gaps[i]
	c.find(Reordered, at, "number %d of the chain comes after number %d", p.N, c.report.Last)
	c.gaps = slices.Delete(c.gaps, i, i+1)
	if g.from < p.N {
		c.gaps = append(c.gaps, gapSpan{g.from, p.N - 1, g.at})
	}
	if p.N < g.to {
		c.gaps = append(c.gaps, gapSpan{p.N + 1, g.to, g.at})
	}
	return true
}

// checkLink compares prev with the hash of the line before. Where they differ
// the next link tells which of the two was altered: if it fails too, this
// line; if not, the one before.
func (c *chainState) checkLink(p *parsedLine) {
	if p.Prev == c.report.Hash {
		c.settleMismatch(false)
		return
	}
	c.cut, c.tree.off = true, true
	if c.mismatch != nil {
		c.settleMismatch(true)
		return
	}
	before := c.last
	c.mismatch = &before
}

// settleMismatch reports a failed link: of the line before it, or if the link
// after failed too, of the line between the two, which is the last one read.
func (c *chainState) settleMismatch(afterToo bool) {
	if c.mismatch == nil {
		return
	}
	at := *c.mismatch
	if afterToo {
		at = c.last
	}
	c.find(Altered, at, "the line's hash is not the one that its successor names")
	c.mismatch = nil
}

func (c *chainState) body(p *parsedLine, at where) {
	switch b := p.Body.(type) {
	case Seal:
		c.seal(p, b, at)
	case Start:
		c.start(b, at)
	case Rotate:
		c.rotate(b, at)
	default:
		c.report.Receipts++
		c.unsealed++
	}
}

// start checks that the log went on with the key that the chain expects. It
// cancels an announcement that no seal covers.
func (c *chainState) start(b Start, at where) {
	c.next = nil
	if c.kid == "" {
		c.kid, c.alg = b.Kid, b.Alg
	}
	if b.Kid != c.kid || b.Alg != c.alg {
		c.find(WrongKey, at, "starts with key %s (%s), but the chain is sealed with %s (%s)", b.Kid, b.Alg, c.kid, c.alg)
	}
}

func (c *chainState) rotate(b Rotate, at where) {
	key := Key{Alg: b.Alg, ID: b.Kid}
	if b.Alg == AlgEd25519 {
		public, err := hex.DecodeString(b.Public)
		if err == nil && len(public) == ed25519.PublicKeySize {
			key = Ed25519Key(public)
		}
		if key.Public == nil || key.ID != b.Kid {
			c.find(WrongKey, at, "announces key %s with another key's public half", b.Kid)
			return
		}
	}
	c.next = &key
}

func (c *chainState) seal(p *parsedLine, b Seal, at where) {
	if c.kid == "" { // the chain's first lines are archived
		c.kid, c.alg = b.Kid, b.Alg
	}
	if c.checkSeal(p, b, at) {
		c.covered()
	}
	c.unsealed, c.open, c.cut = 0, false, false
}

func (c *chainState) checkSeal(p *parsedLine, b Seal, at where) bool {
	if b.Kid != c.kid || b.Alg != c.alg {
		c.find(WrongKey, at, "sealed with key %s (%s), but the chain announced %s (%s)", b.Kid, b.Alg, c.kid, c.alg)
		return false
	}
	key, known := c.v.opts.Keys[b.Kid]
	if !known {
		key, known = c.announced[b.Kid]
	}
	if !known || !key.canVerify() {
		c.find(UnknownKey, at, "sealed with %s key %s, which was not given", b.Alg, b.Kid)
		return false
	}
	if !p.sealChecked {
		p.sealValid = key.Alg == b.Alg && key.verify(p.before(), b.Sig)
	}
	if !p.sealValid {
		c.find(BadSeal, at, "the signature by key %s does not match", b.Kid)
	}
	return p.sealValid
}

// covered counts what a valid seal signs. Before a break in the chain that is
// nothing, and a key announced there is not to be trusted.
func (c *chainState) covered() {
	if c.cut {
		return
	}
	c.report.Sealed += c.unsealed
	if c.next == nil {
		return
	}
	if c.next.canVerify() {
		c.announced[c.next.ID] = *c.next
	}
	c.kid, c.alg, c.next = c.next.ID, c.next.Alg, nil
}

// end reports what only the end of the chain tells.
func (c *chainState) end() {
	c.settleMismatch(false)
	for _, g := range c.gaps {
		c.find(Missing, g.at, "numbers %d to %d of the chain are missing before this line", g.from, g.to)
	}
	if c.open {
		c.find(Unsealed, c.from, "no seal covers the lines from here to the end of the chain")
	}
	c.endTree()
}
