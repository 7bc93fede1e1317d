package tokenizer_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

func TestUpperBound(t *testing.T) {
	tests := []struct {
		name string
		text string
		want int64
	}{
		{"empty", "", 0},
		{"ASCII", "hello", 6},
		{"composed letter", "\u00e9", 3},
		{"Chinese", "\u4f60\u597d", 7},
		{"Korean", "\uac00\ub098", 7},
		{"Korean after what grows", "\ufdfa\uac00", 1 + 33 + 3},
		{"Korean among marks", "\uac00\u0301", 1 + 3 + 2},
		{"one code point that becomes 18", "\ufdfa", 34},
		{"one third", "\u2153", 1 + 5},
		{"ligature that shrinks", "\ufb01", 4},
		{"composed letter that a mark breaks up", "\u00e9\u0323", 1 + 3 + 2},
		{"composed letter that never stays so", "\u0958", 1 + 6},
		{"invalid byte", "\xff", 4},
		{"invalid byte after normal text", "ab\xff\u00e9", 1 + 2 + 3 + 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := tokenizer.UpperBound(test.text); got != test.want {
				t.Errorf("%+q: %d, want %d", test.text, got, test.want)
			}
		})
	}
}

func TestUpperBoundHoldsForEveryCodePoint(t *testing.T) {
	for r := range rune(utf8.MaxRune + 1) {
		mustBound(t, string(r))
	}
}

// Composition is why the bound need not look at more than one code point at a
// time: no pair takes more bytes composed than apart.
func TestComposingNeverGrows(t *testing.T) {
	for r := range rune(utf8.MaxRune + 1) {
		apart := norm.NFD.String(string(r))
		if together := norm.NFC.String(apart); len(together) > len(apart) && !strings.ContainsRune(apart, utf8.RuneError) {
			t.Errorf("%U: %d bytes composed, %d apart", r, len(together), len(apart))
		}
	}
}

func TestUpperBoundHoldsForRandomTexts(t *testing.T) {
	mark := rapid.SampledFrom([]rune{'\u0301', '\u0323', '\u0327', '\u0345', '\u05b0', '\u3099', '\u1161', '\u11a8', '\U0001d165'})
	base := rapid.SampledFrom([]rune{'a', 'e', ' ', '\u00e9', '\u1ebf', '\u01d6', '\uac00', '\u1100', '\u304b', '\u2126', '\ufdfa', '\U0001d15e', '\ufb2c'})
	part := rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			return string(rapid.Rune().Draw(t, "rune"))
		}
		return string(base.Draw(t, "base")) + string(rapid.SliceOfN(mark, 0, 4).Draw(t, "marks"))
	})
	rapid.Check(t, func(t *rapid.T) {
		for range 50 {
			mustBound(t, strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "parts"), ""))
		}
	})
}

func mustBound(t failer, text string) {
	t.Helper()
	bound := tokenizer.UpperBound(text)
	for _, form := range []norm.Form{norm.NFC, norm.NFKC} {
		if grown := int64(len(form.String(text))); bound < grown+1 {
			t.Fatalf("%+q: bound %d, want above %d", text, bound, grown)
		}
	}
	if bound < int64(len(text))+1 {
		t.Fatalf("%+q: bound %d is not above its %d bytes", text, bound, len(text))
	}
}

func TestUpperBoundIsAboveEveryCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := texts().Draw(t, "text")
		bound := tokenizer.UpperBound(text)
		for _, encoding := range encodings {
			if tokens, err := encoding.Count(text); err != nil || tokens > bound {
				t.Fatalf("%s: %+q: %d tokens, %v; the bound is %d", encoding, text, tokens, err, bound)
			}
		}
	})
}

func FuzzUpperBound(f *testing.F) {
	for _, hard := range hardStrings {
		f.Add(hard.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || strings.ContainsRune(norm.NFKC.String(text), '\u034f') {
			t.Skip() // the empty text has no leading space; norm breaks up more than 30 marks in a row with U+034F; tokenizers do not
		}
		mustBound(t, strings.ToValidUTF8(text, "\ufffd"))
		tokenizer.UpperBound(text)
	})
}

func BenchmarkUpperBound(b *testing.B) {
	for _, shape := range shapes {
		text := shape.text(1 << 20)
		b.Run(shape.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				tokenizer.UpperBound(text)
			}
		})
	}
}
