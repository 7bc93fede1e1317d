package tokenizer

import (
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"sync"
)

//go:generate go run ./internal/gen ranks

var (
	//go:embed ranks/o200k_base.bin.gz
	packedO200k string
	//go:embed ranks/cl100k_base.bin.gz
	packedCl100k string
	//go:embed ranks/p50k_base.bin.gz
	packedP50k string
)

const (
	// noRank is the rank of what is not a token: above every rank.
	noRank = 1<<32 - 1

	// rankBits is how many low bits of a slot hold a rank plus one; the rest
	// is a tag, the top bits of the token's hash. It bounds a vocabulary to
	// 262,143 tokens.
	rankBits = 18
	rankMask = 1<<rankBits - 1
	tagMask  = 1<<32 - 1 - rankMask
)

// vocabulary maps tokens to ranks: an open-addressed hash table over one string
// of all tokens. It is read-only once built.
type vocabulary struct {
	tokens  string   // all tokens by rising rank, one after the other
	starts  []uint32 // where each token starts in tokens, and the end of the last
	slots   []uint32 // a power of two, at most half of it in use; 0 is free
	longest int      // bytes of the longest token
}

// The vocabularies are loaded once each, on first use.
var (
	wordsO200k  = loadOnce(&packedO200k)
	wordsCl100k = loadOnce(&packedCl100k)
	wordsP50k   = loadOnce(&packedP50k)
)

func loadOnce(packed *string) func() (*vocabulary, error) {
	return sync.OnceValues(func() (*vocabulary, error) {
		v, err := newVocabulary(*packed)
		if err != nil {
			return nil, fmt.Errorf("tokenizer: compiled-in vocabulary: %w", err)
		}
		return v, nil
	})
}

func newVocabulary(packed string) (*vocabulary, error) {
	plain, err := unzip(packed)
	if err != nil {
		return nil, err
	}
	if len(plain) < 4 {
		return nil, fmt.Errorf("no header in %d bytes", len(plain))
	}
	count := int(binary.LittleEndian.Uint32(plain))
	if count >= rankMask || count > len(plain)-4 {
		return nil, fmt.Errorf("%d tokens in %d bytes", count, len(plain))
	}
	lengths, tokens := plain[4:4+count], plain[4+count:]
	v := &vocabulary{
		tokens: string(tokens),
		starts: make([]uint32, 1, count+1),
		slots:  make([]uint32, 1<<bits.Len(uint(2*count))),
	}
	end := uint32(0)
	for rank, length := range lengths {
		if length == 0 {
			return nil, fmt.Errorf("token %d is empty", rank)
		}
		end += uint32(length)
		v.starts = append(v.starts, end)
		v.longest = max(v.longest, int(length))
	}
	if int(end) != len(v.tokens) {
		return nil, fmt.Errorf("tokens are %d bytes long, their lengths say %d", len(v.tokens), end)
	}
	for rank := range uint32(count) {
		v.insert(rank)
	}
	return v, nil
}

// unzip needs no limit of its own: its input is compiled in. The last four
// bytes of a gzip file give the size of what it holds.
func unzip(packed string) ([]byte, error) {
	if len(packed) < 4 {
		return nil, io.ErrUnexpectedEOF
	}
	size := binary.LittleEndian.Uint32([]byte(packed[len(packed)-4:]))
	zip, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		return nil, err
	}
	plain := make([]byte, size)
	_, err = io.ReadFull(zip, plain)
	return plain, err
}

func (v *vocabulary) insert(rank uint32) {
	h := hash(v.tokens[v.starts[rank]:v.starts[rank+1]])
	at := uint32(h)
	for v.slots[at&uint32(len(v.slots)-1)] != 0 {
		at++
	}
	v.slots[at&uint32(len(v.slots)-1)] = uint32(h>>32)&tagMask | (rank + 1)
}

// rank returns the rank of token, which must not be empty; noRank if it is not
// in the vocabulary.
func (v *vocabulary) rank(token string) uint32 {
	if len(token) > v.longest {
		return noRank
	}
	h := hash(token)
	tag := uint32(h>>32) & tagMask
	for at := uint32(h); ; at++ {
		slot := v.slots[at&uint32(len(v.slots)-1)]
		if slot == 0 {
			return noRank
		}
		if slot&tagMask != tag {
			continue
		}
		rank := slot&rankMask - 1
		if v.tokens[v.starts[rank]:v.starts[rank+1]] == token {
			return rank
		}
	}
}

// hash spreads a token that is not empty over 64 bits. The multipliers are the
// fractional digits of the square roots of 2 and 3.
func hash(s string) uint64 {
	n := len(s)
	seed := uint64(n)
	for ; len(s) > 16; s = s[8:] {
		seed = mix(seed^word(s), 0x6a09e667f3bcc909)
	}
	switch {
	case len(s) >= 8:
		return mix(word(s)^0x6a09e667f3bcc909, word(s[len(s)-8:])^seed^0xbb67ae8584caa73b)
	case len(s) >= 4:
		return mix(halfWord(s)^0x6a09e667f3bcc909, halfWord(s[len(s)-4:])^seed^0xbb67ae8584caa73b)
	}
	few := uint64(s[0]) | uint64(s[len(s)/2])<<8 | uint64(s[len(s)-1])<<16
	return mix(few^0x6a09e667f3bcc909, seed^0xbb67ae8584caa73b)
}

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// word reads the first eight bytes of s, which has as many.
func word(s string) uint64 {
	s = s[:8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// halfWord reads the first four bytes of s, which has as many.
func halfWord(s string) uint64 {
	s = s[:4]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
