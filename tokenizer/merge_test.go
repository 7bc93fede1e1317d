package tokenizer

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var allEncodings = []Encoding{O200kBase, Cl100kBase, P50kBase, P50kEdit, R50kBase}

func mustEncoder(t testing.TB, encoding Encoding) *encoder {
	t.Helper()
	e, err := encoding.encoder()
	if err != nil {
		t.Fatal(err)
	}
	return &e
}

// pieces draws pieces of few different bytes, so that many pairs compete.
func pieces(longest int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		unit := rapid.SampledFrom([]string{"a", "b", "ab", "e", "er", "the", "ing", " ", "  ", "\n", "0", "=", "-", "!", "\xe4", "\xb8", "\x80", "\xff"})
		run := rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(unit.Draw(t, "unit"), rapid.IntRange(1, 12).Draw(t, "times"))
		})
		piece := strings.Join(rapid.SliceOfN(run, 1, 20).Draw(t, "runs"), "")
		return piece[:min(len(piece), longest)]
	})
}

func TestScanAndHeapMergeAlike(t *testing.T) {
	for _, encoding := range allEncodings {
		e := mustEncoder(t, encoding)
		rapid.Check(t, func(t *rapid.T) {
			piece := pieces(scanBytes).Draw(t, "piece")
			scan := e.countShort(piece, make([]part, len(piece)))
			heap := len(new(heapMerge).run(e, piece, nil))
			if scan != heap {
				t.Fatalf("%s: %+q: the scan gives %d tokens, the heap %d", encoding, piece, scan, heap)
			}
		})
	}
}

func TestWindowsMergeAsTheWhole(t *testing.T) {
	for _, encoding := range allEncodings {
		e := mustEncoder(t, encoding)
		rapid.Check(t, func(t *rapid.T) {
			piece := pieces(1<<20).Draw(t, "piece")
			window := rapid.IntRange(1, 100).Draw(t, "window")
			overlap := rapid.IntRange(2, 8).Draw(t, "overlap")
			want := len(new(heapMerge).run(e, piece, nil))
			if got := e.countLong(piece, new(scratch), window, overlap); got != want {
				t.Fatalf("%s: %+q: %d tokens by windows of %d bytes, want %d", encoding, piece, got, window, want)
			}
		})
	}
}

// A window so small that no token of it comes out again leaves only the merge of
// the whole piece.
func TestWindowsThatDisagreeMergeTheWhole(t *testing.T) {
	e := mustEncoder(t, O200kBase)
	s := new(scratch)
	s.starts[0] = s.merge.run(e, "international"[:2], nil)
	if back := e.extend("international", s, 2); back != 0 {
		t.Fatalf("extended from token %d before the end of one", back)
	}
	if got := e.countLong("international", s, 2, 2); got != 1 {
		t.Errorf("%d tokens, want 1", got)
	}
}

func TestScratchStaysSmall(t *testing.T) {
	e := mustEncoder(t, O200kBase)
	s := new(scratch)
	for _, unit := range []string{"a", " ", "ab", "\n", "!?", "\u4f60\u597d"} {
		e.merged(strings.Repeat(unit, 20_000), s)
	}
	held := 12*cap(s.merge.nodes) + 8*cap(s.merge.heap) + 4*(cap(s.starts[0])+cap(s.starts[1]))
	if held > 128<<10 {
		t.Errorf("scratch holds %d bytes, want at most 128 KiB", held)
	}
}

func TestClassOfEveryCodePoint(t *testing.T) {
	table := wideClasses()
	for r := range rune(0x110000) {
		if got, want := table.of(r), slowClass(r); got != want && r != '\r' && r != '\n' {
			t.Errorf("%U: class %b, want %b", r, got, want)
		}
	}
}
