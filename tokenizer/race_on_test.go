//go:build race

package tokenizer_test

// textsPerCheck times rapid's 100 checks is how many texts each encoding is
// compared on. The race detector slows tiktoken-go tenfold, and
// finds nothing in one goroutine.
const textsPerCheck = 10
