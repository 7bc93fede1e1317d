package tokenizer

import (
	"encoding/binary"
	"sync"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/text/unicode/norm"
)

// leadingSpace is the token that SentencePiece, and some byte-level tokenizers,
// add in front of a text for a space that is not there.
const leadingSpace = 1

// UpperBound returns a number of tokens that no tokenizer of these families
// exceeds for text: byte-level BPE (GPT, Llama 3, Qwen, DeepSeek, Mistral's
// Tekken) and SentencePiece with byte fallback (Llama 2, Mistral's first, Gemma,
// Gemini), with or without Unicode normalisation to NFC or NFKC.
//
// Each of their tokens covers at least one byte of what they encode, and what
// they encode is the text, normalised, plus at most one leading space. So the
// bound is one more than the bytes of the text or of its normal form, whichever
// takes more. A code point that normalisation can change counts as the most bytes
// that it becomes on its own; but where any code point of the text may combine
// with what is before it, such as a mark, a composed letter can fall apart and each
// counts as its full decomposition. Composing again never takes more than that, and
// Hangul syllables always compose again. ASCII never changes. A byte that is not
// part of valid UTF-8 counts as U+FFFD, three bytes. For most texts the bound is
// two to four times the count.
//
// Not covered: what surrounds the text (chat templates, special tokens, tool
// schemas), texts that are changed further before they are encoded (case folding,
// NFD or NFKD of Hangul), and tokenizers that add tokens of their own to
// words, such as marks of upper case. The empty text is zero.
//
// It takes linear time. The first text that is not ASCII takes some
// milliseconds more, to build a table of 100 KB.
func UpperBound(text string) int64 {
	if text == "" {
		return 0
	}
	if isASCII(text) {
		return int64(len(text)) + leadingSpace
	}
	table := growths()
	alone, apart, joins := int64(0), int64(0), false
	for _, r := range text {
		if r < utf8.RuneSelf {
			alone++
			apart++
			continue
		}
		g := table.of(r)
		alone += int64(g.alone)
		apart += int64(g.apart)
		joins = joins || g.joins
	}
	if joins {
		return apart + leadingSpace
	}
	return alone + leadingSpace
}

// isASCII looks at eight bytes at a time: most prompts are ASCII, and every one
// is looked at.
func isASCII(text string) bool {
	const high = 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(text), len(text))
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&high != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// growth says what NFC and NFKC can make of a code point.
type growth struct {
	alone uint8 // the most bytes, next to code points that do not join
	apart uint8 // the most bytes, next to any
	joins bool  // may combine with what is before it, or change its order
}

var growths = sync.OnceValue(func() *pageTable[growth] {
	all := make([]growth, utf8.MaxRune+1)
	for r := range all {
		all[r] = growthOf(rune(r))
	}
	return newPageTable(all)
})

const (
	firstHangul = '\uac00'
	lastHangul  = '\ud7a3'

	// lastChanged is above every code point that normalisation changes or
	// reorders; planes 3 to 16 have none.
	lastChanged = '\U0002ffff'
)

func growthOf(r rune) growth {
	var buffer [utf8.UTFMax]byte
	code := buffer[:utf8.EncodeRune(buffer[:], r)]
	size := len(code)
	if r > lastChanged || r >= firstHangul && r <= lastHangul {
		return growth{uint8(size), uint8(size), false}
	}
	nfc, nfkc := norm.NFC.Properties(code), norm.NFKC.Properties(code)
	g := growth{
		alone: uint8(size),
		apart: uint8(max(size, len(nfc.Decomposition()), len(nfkc.Decomposition()))),
		joins: !nfc.BoundaryBefore() || !nfkc.BoundaryBefore(),
	}
	if nfkc.Decomposition() != nil {
		g.alone = uint8(max(size, len(norm.NFC.Bytes(code)), len(norm.NFKC.Bytes(code))))
	}
	return g
}
