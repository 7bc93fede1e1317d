//go:build !race

package tokenizer_test

// textsPerCheck times rapid's 100 checks is how many texts each encoding is
// compared on.
const textsPerCheck = 200
