package tokenizer

import "sync"

const (
	// scanBytes is the longest piece that is merged by scanning for the
	// lowest rank, in time quadratic in its length.
	scanBytes = 48

	// windowBytes is how much a longer piece is merged at a time. It bounds
	// scratch memory, and keeps the heap in the processor's cache.
	windowBytes = 1024

	// overlapTokens is how many tokens of one window are merged again with
	// the next.
	overlapTokens = 2
)

// An encoder counts the tokens of one encoding.
type encoder struct {
	split splitter
	words *vocabulary
	size  uint32 // words of this rank and above are not in the encoding
}

// rank returns the rank of token, which must not be empty; noRank if it is not
// in the encoding.
func (e *encoder) rank(token string) uint32 {
	if rank := e.words.rank(token); rank < e.size {
		return rank
	}
	return noRank
}

// scratch is the memory of one count. Its size is bounded by the constants
// above, so a pool of them stays small.
type scratch struct {
	parts  [scanBytes]part
	merge  heapMerge
	starts [2][]uint32
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// isToken reports whether a piece is one token as it is.
func (e *encoder) isToken(piece string) bool { return len(piece) == 1 || e.rank(piece) != noRank }

// merged returns the tokens of a piece that is not one token.
func (e *encoder) merged(piece string, s *scratch) int {
	if len(piece) <= scanBytes {
		return e.countShort(piece, s.parts[:len(piece)])
	}
	return e.countLong(piece, s, windowBytes, overlapTokens)
}

// part is one part of a piece that is being merged.
type part struct {
	start uint32
	rank  uint32 // of this part joined with the next
}

// countShort joins the leftmost pair of lowest rank until no pair is a token. It
// has one part for each byte of piece.
func (e *encoder) countShort(piece string, parts []part) int {
	for i := range parts {
		parts[i] = part{uint32(i), noRank}
		if i+2 <= len(piece) {
			parts[i].rank = e.rank(piece[i : i+2])
		}
	}
	for {
		lowest := lowestRank(parts)
		if parts[lowest].rank == noRank {
			return len(parts)
		}
		parts = append(parts[:lowest+1], parts[lowest+2:]...)
		parts[lowest].rank = e.joinedRank(piece, parts, lowest)
		if lowest > 0 {
			parts[lowest-1].rank = e.joinedRank(piece, parts, lowest-1)
		}
	}
}

func lowestRank(parts []part) int {
	lowest := 0
	for i := range parts {
		if parts[i].rank < parts[lowest].rank {
			lowest = i
		}
	}
	return lowest
}

// joinedRank returns the rank of part i joined with the next.
func (e *encoder) joinedRank(piece string, parts []part, i int) uint32 {
	switch {
	case i+2 < len(parts):
		return e.rank(piece[parts[i].start:parts[i+2].start])
	case i+2 == len(parts):
		return e.rank(piece[parts[i].start:])
	}
	return noRank
}

// countLong merges piece window by window.
//
// It rests on this: a split of a piece into tokens is the one that merging
// gives, if and only if each two neighbours are what merging gives for the two
// alone. For the pairs joined inside one token depend on nothing outside it, so
// the first join across a border in the whole would be made in the two alone.
//
// So when the next window starts at a token of this one and merges to the same
// token first, this window's tokens up to it and the next window's after it are
// the piece's tokens. When it does not, the overlap doubles; when that reaches
// the window's start, which no text is known to cause, the whole piece is merged
// at once.
func (e *encoder) countLong(piece string, s *scratch, window, overlap int) int {
	end := min(window, len(piece))
	tokens, base := 0, 0
	s.starts[0] = s.merge.run(e, piece[:end], s.starts[0])
	for end < len(piece) {
		next := min(end+window, len(piece))
		back := e.extend(piece[base:next], s, overlap)
		if back == 0 {
			return len(new(heapMerge).run(e, piece, nil))
		}
		kept := len(s.starts[0]) - back
		tokens += kept
		base += int(s.starts[0][kept])
		end = next
		s.starts[0], s.starts[1] = s.starts[1], s.starts[0]
	}
	return tokens + len(s.starts[0])
}

// extend merges the end of text into s.starts[1], from a token in s.starts[0]
// that comes out the same again. It returns how many tokens before the end of
// s.starts[0] that is, or 0 if there is none.
func (e *encoder) extend(text string, s *scratch, overlap int) int {
	old := s.starts[0]
	for back := max(overlap, 2); back < len(old); back *= 2 {
		first := old[len(old)-back]
		s.starts[1] = s.merge.run(e, text[first:], s.starts[1])
		if again := s.starts[1]; len(again) > 1 && again[1] == old[len(old)-back+1]-first {
			return back
		}
	}
	return 0
}

// heapMerge merges a piece in time n log n: the pairs that can be joined wait in
// a heap. It takes up to 28 bytes for each byte of the piece.
type heapMerge struct {
	nodes []node
	heap  pairHeap
}

// node is the part that starts at the byte of its index.
type node struct {
	previous, next uint32 // indexes; the first has no previous, the last's next is the end
	rank           uint32 // of this part joined with the next
}

// run returns where the tokens of piece start, in the memory of starts.
func (m *heapMerge) run(e *encoder, piece string, starts []uint32) []uint32 {
	m.load(e, piece)
	for len(m.heap) > 0 {
		rank, at := m.heap.pop()
		if m.nodes[at].rank == rank {
			m.join(e, piece, at)
		}
	}
	starts = starts[:0]
	for at := uint32(0); at < uint32(len(piece)); at = m.nodes[at].next {
		starts = append(starts, at)
	}
	return starts
}

func (m *heapMerge) load(e *encoder, piece string) {
	m.nodes, m.heap = m.nodes[:0], m.heap[:0]
	for i := range uint32(len(piece)) {
		rank := uint32(noRank)
		if int(i)+2 <= len(piece) {
			rank = e.rank(piece[i : i+2])
		}
		m.nodes = append(m.nodes, node{i - 1, i + 1, rank})
		if rank != noRank {
			m.heap.push(rank, i)
		}
	}
}

// join joins the part at with the next. What the heap still holds of the old
// pairs no longer matches their ranks, and is dropped when popped.
func (m *heapMerge) join(e *encoder, piece string, at uint32) {
	gone := m.nodes[at].next
	after := m.nodes[gone].next
	m.nodes[gone].rank = noRank
	m.nodes[at].next = after
	if after < uint32(len(piece)) {
		m.nodes[after].previous = at
	}
	m.renew(e, piece, at)
	if at > 0 {
		m.renew(e, piece, m.nodes[at].previous)
	}
}

// renew looks up the pair of the part at and the next again.
func (m *heapMerge) renew(e *encoder, piece string, at uint32) {
	m.nodes[at].rank = noRank
	next := m.nodes[at].next
	if next == uint32(len(piece)) {
		return
	}
	rank := e.rank(piece[at:m.nodes[next].next])
	if rank == noRank {
		return
	}
	m.nodes[at].rank = rank
	m.heap.push(rank, at)
}

// pairHeap is a binary heap of pairs: the lowest rank first, then the leftmost.
type pairHeap []uint64

func (h *pairHeap) push(rank, at uint32) {
	*h = append(*h, 0)
	h.rise(len(*h)-1, uint64(rank)<<32|uint64(at))
}

func (h *pairHeap) pop() (rank, at uint32) {
	heap := *h
	first, moved := heap[0], heap[len(heap)-1]
	heap = heap[:len(heap)-1]
	*h = heap
	if len(heap) > 0 {
		heap.rise(heap.sink(0), moved)
	}
	return uint32(first >> 32), uint32(first)
}

// sink moves a hole at i down to a leaf and returns where it ends up. What fills
// it then comes from the bottom and seldom rises far, so this compares less
// than stopping where it fits.
func (h pairHeap) sink(i int) int {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return i
		}
		least := h[child]
		if child+1 < len(h) {
			if right := h[child+1]; right < least {
				least = right
				child++
			}
		}
		h[i] = least
		i = child
	}
}

// rise fills a hole at i, moved up to where filler belongs.
func (h pairHeap) rise(i int, filler uint64) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent] <= filler {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = filler
}
