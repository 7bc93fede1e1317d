package tokenizer

import "unicode"

const (
	pageBits = 8
	pageSize = 1 << pageBits
	pages    = (unicode.MaxRune + 1) / pageSize
)

// pageTable holds a value for every code point, in pages of 256; equal pages are
// stored once. A look-up is two loads, and most properties take less than 100 KB.
type pageTable[V comparable] struct {
	index  [pages]uint16
	values [][pageSize]V
}

// newPageTable makes the table of all, which has a value for each code point.
func newPageTable[V comparable](all []V) *pageTable[V] {
	t := new(pageTable[V])
	seen := make(map[[pageSize]V]uint16)
	for p := range t.index {
		page := [pageSize]V(all[p*pageSize:])
		at, ok := seen[page]
		if !ok {
			at = uint16(len(t.values))
			seen[page] = at
			t.values = append(t.values, page)
		}
		t.index[p] = at
	}
	return t
}

func (t *pageTable[V]) of(r rune) V {
	return t.values[t.index[r>>pageBits]][r&(pageSize-1)]
}
