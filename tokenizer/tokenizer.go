// Package tokenizer gives the tokens of a text: exactly, for OpenAI's
// encodings, or a bound that holds for any tokenizer of the byte-level families.
// Both take time bounded by the length of the text, whatever the text is.
//
// # Counting
//
// Encoding.Count yields as many tokens as encode_ordinary of OpenAI's tiktoken:
// text that spells a special token, such as <|endoftext|>, is plain text. It
// does the same in two steps:
//
//   - Split the text into pieces, as a regular expression that each encoding
//     publishes does, by a scanner written by hand for each of the three.
//     This is linear: each code point is read a bounded number of times.
//   - Merge each piece: starting from its bytes, join the leftmost pair of
//     neighbours whose joined bytes have the lowest rank in the vocabulary, until
//     no pair is in it. A piece that is itself in the vocabulary is one token. Up
//     to 48 bytes a scan finds each pair, beyond that a heap, in n log n for a
//     piece of n bytes. A long piece is merged in overlapping windows of
//     about 1 KiB, which bounds the memory; see countLong for why that is exact.
//
// Merging can take a hundred times as long as looking a word up, by texts made
// for it, so a Counter allows for so much of it and takes the rest by its bytes.
//
// Unicode classes are those of package unicode of the Go release that compiled
// the program. For a code point assigned since, the split, and so the count, can
// differ from that of a tiktoken built with newer tables.
//
// # Vocabularies
//
// The ranks are compiled in, read on first use of an encoding and then kept:
// 7.5 MB for all. ranks/NAME.bin.gz is gzip of: the number of tokens, as
// four bytes, little endian; the length of each token, one byte each, by rising
// rank; the bytes of all tokens in the same order. p50k_base and p50k_edit are
// the same words, and r50k_base is the first 50,256 of them.
package tokenizer

import (
	"fmt"
	"math"
)

// Encoding names one of OpenAI's encodings, as tiktoken does.
type Encoding string

// The encodings that can be counted.
const (
	O200kBase  Encoding = "o200k_base"
	Cl100kBase Encoding = "cl100k_base"
	P50kBase   Encoding = "p50k_base"
	P50kEdit   Encoding = "p50k_edit"
	R50kBase   Encoding = "r50k_base"
)

// r50kTokens is how many words r50k_base has. Those that p50k_base adds, runs of
// spaces, come after.
const r50kTokens = 50_256

// Count returns the number of tokens of text. A byte that is not part of valid
// UTF-8 counts as U+FFFD, the replacement character, which is up to three
// tokens. An encoding that is not among the constants is an error, and nothing
// else is once its vocabulary is loaded. The first count of an encoding loads
// it, in some tens of milliseconds; counting "" when a program starts gets that
// over with.
//
// It is safe for concurrent use.
func (e Encoding) Count(text string) (int64, error) {
	enc, err := e.encoder()
	if err != nil {
		return 0, err
	}
	c := Counter{encoder: enc, most: math.MaxInt64, effort: math.MaxInt64}
	c.Add(text)
	return c.tokens, nil
}

func (e Encoding) encoder() (encoder, error) {
	switch e {
	case O200kBase:
		return newEncoder(splitO200k, wordsO200k, noRank)
	case Cl100kBase:
		return newEncoder(splitCl100k, wordsCl100k, noRank)
	case P50kBase, P50kEdit:
		return newEncoder(splitGPT2, wordsP50k, noRank)
	case R50kBase:
		return newEncoder(splitGPT2, wordsP50k, r50kTokens)
	}
	return encoder{}, fmt.Errorf("tokenizer: encoding %q is not known; use one that ForModel returns", string(e))
}

func newEncoder(split splitter, load func() (*vocabulary, error), size uint32) (encoder, error) {
	words, err := load()
	return encoder{split, words, size}, err
}
