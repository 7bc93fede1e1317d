package tokenizer_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

const paragraph = `The committee met on Tuesday, as it had every week since March, and
went through the list: 14 open questions, three of them old. "We can't keep
deferring this," said the chair; nobody disagreed, but nobody volunteered either.
By half past ten they'd settled on a date (12 September 2024) and moved to costs.
`

var shapes = []struct {
	name string
	text func(size int) string
}{
	{"prose", func(size int) string { return repeat(paragraph, size) }},
	{"code", func(size int) string {
		return repeat("\tif err := f(x, y[i]); err != nil {\n\t\treturn nil, err\n\t}\n", size)
	}},
	{"json", func(size int) string { return repeat(`{"id":"a1b2","n":12345.75,"tags":["x","y"],"ok":true}`, size) }},
	{"Chinese", func(size int) string { return repeat("委员会每周二开会,讨论预算和日程安排。", size) }},
	{"one letter", func(size int) string { return repeat("a", size) }},
	{"spaces", func(size int) string { return repeat(" ", size) }},
	{"newlines", func(size int) string { return repeat("\n", size) }},
	{"alternation", func(size int) string { return repeat("ab", size) }},
	{"symbols", func(size int) string { return repeat("!?", size) }},
	{"digits", func(size int) string { return repeat("7", size) }},
	{"marks", func(size int) string { return repeat("\u0301", size) }},
	{"unspaced letters", func(size int) string { return random(size, "abcdefghijklmnopqrstuvwxyz") }},
	{"unspaced Chinese", func(size int) string { return repeat("委员会每周二开会讨论预算和日程安排", size) }},
	{"random bytes", func(size int) string { return randomBytes(size) }},
}

func repeat(s string, size int) string { return strings.Repeat(s, size/len(s)+1)[:size] }

func random(size int, alphabet string) string {
	source := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, size)
	for i := range text {
		text[i] = alphabet[source.IntN(len(alphabet))]
	}
	return string(text)
}

func randomBytes(size int) string {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	return random(size, string(all[:]))
}

func BenchmarkCount(b *testing.B) {
	for _, encoding := range encodings {
		for _, size := range []struct {
			name  string
			bytes int
		}{{"1KB", 1 << 10}, {"1MB", 1 << 20}} {
			for _, shape := range shapes {
				b.Run(string(encoding)+"/"+size.name+"/"+shape.name, func(b *testing.B) {
					benchmarkCount(b, encoding, shape.text(size.bytes))
				})
			}
		}
	}
}

func benchmarkCount(b *testing.B, encoding tokenizer.Encoding, text string) {
	count(b, encoding, text) // load the vocabulary
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encoding.Count(text); err != nil {
			b.Fatal(err)
		}
	}
}
