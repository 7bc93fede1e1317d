package tokenizer

import (
	"bytes"
	"compress/gzip"
	"runtime"
	"strings"
	"testing"
)

func TestVocabularyRanks(t *testing.T) {
	tests := []struct {
		name string
		load func() (*vocabulary, error)
		size int
	}{
		{"o200k_base", wordsO200k, 199_998},
		{"cl100k_base", wordsCl100k, 100_256},
		{"p50k_base", wordsP50k, 50_280},
	}
	for _, test := range tests {
		name, size := test.name, test.size
		v, err := test.load()
		if err != nil {
			t.Fatal(err)
		}
		if got := len(v.starts) - 1; got != size {
			t.Errorf("%s: %d tokens, want %d", name, got, size)
		}
		for rank := range uint32(size) {
			token := v.tokens[v.starts[rank]:v.starts[rank+1]]
			if got := v.rank(token); got != rank {
				t.Fatalf("%s: token %+q has rank %d, want %d", name, token, got, rank)
			}
		}
		for _, token := range []string{"qzqzqz", "\xff\xff\xff", strings.Repeat("ab", 40), strings.Repeat(" ", 300)} {
			if got := v.rank(token); got != noRank {
				t.Errorf("%s: %+q has rank %d, want none", name, token, got)
			}
		}
	}
}

func TestR50kLacksTheRunsOfSpacesOfP50k(t *testing.T) {
	spaces := strings.Repeat(" ", 8)
	if got := mustEncoder(t, P50kBase).rank(spaces); got == noRank {
		t.Error("p50k_base does not have eight spaces")
	}
	if got := mustEncoder(t, R50kBase).rank(spaces); got != noRank {
		t.Errorf("r50k_base has eight spaces, of rank %d", got)
	}
}

// probesMax is the most slots that any lookup of these vocabularies reads. It is a
// property of the compiled-in words, so that no text can make lookups slow.
const probesMax = 64

func TestLookupsProbeFewSlots(t *testing.T) {
	for _, encoding := range []Encoding{O200kBase, Cl100kBase, P50kBase} {
		v := mustEncoder(t, encoding).words
		run, longest := 0, 0
		for _, slot := range append(v.slots, v.slots...) {
			if slot == 0 {
				run = 0
				continue
			}
			run++
			longest = max(longest, run)
		}
		if longest > probesMax {
			t.Errorf("%s: %d slots in a row are taken, want at most %d", encoding, longest, probesMax)
		}
	}
}

func TestDamagedVocabularyIsRefused(t *testing.T) {
	whole := zipped(t, "\x02\x00\x00\x00\x01\x02abc")
	tests := []struct {
		name   string
		packed string
		want   string
	}{
		{"empty", "", "EOF"},
		{"cut off", whole[:len(whole)-6], "EOF"},
		{"not gzip", "0123456789\x01\x00\x00\x00", "header"},
		{"no header", zipped(t, "ab"), "no header"},
		{"more tokens than bytes", zipped(t, "\xff\x00\x00\x00ab"), "255 tokens"},
		{"more tokens than ranks", zipped(t, "\xff\xff\xff\x00ab"), "tokens in"},
		{"empty token", zipped(t, "\x02\x00\x00\x00\x00\x02ab"), "token 0 is empty"},
		{"lengths too short", zipped(t, "\x02\x00\x00\x00\x01\x01abc"), "their lengths say 2"},
	}
	if _, err := newVocabulary(whole); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := newVocabulary(test.packed)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func zipped(t *testing.T, plain string) string {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write([]byte(plain)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.String()
}

func BenchmarkLoad(b *testing.B) {
	files := map[string]string{"o200k_base": packedO200k, "cl100k_base": packedCl100k, "p50k_base": packedP50k}
	for name, packed := range files {
		b.Run(name, func(b *testing.B) {
			before := heapBytes()
			var v *vocabulary
			for b.Loop() {
				var err error
				if v, err = newVocabulary(packed); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(heapBytes()-before), "held-B")
			runtime.KeepAlive(v)
		})
	}
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
