package tokenizer_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/pkoukk/tiktoken-go"
	tiktoken_loader "github.com/pkoukk/tiktoken-go-loader"
	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// references are tiktoken-go's encoders: the published patterns run by a regular
// expression engine, and a merge by the book.
var references = func() map[tokenizer.Encoding]func() *tiktoken.Tiktoken {
	tiktoken.SetBpeLoader(tiktoken_loader.NewOfflineLoader())
	all := make(map[tokenizer.Encoding]func() *tiktoken.Tiktoken)
	for _, encoding := range encodings {
		all[encoding] = sync.OnceValue(func() *tiktoken.Tiktoken {
			reference, err := tiktoken.GetEncoding(string(encoding))
			if err != nil {
				panic(err)
			}
			return reference
		})
	}
	return all
}()

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func mustMatchReference(t failer, encoding tokenizer.Encoding, text string) {
	t.Helper()
	if strings.Contains(text, "'\u017f") {
		return // tiktoken-go does not fold the long s; testdata/openai.jsonl covers it
	}
	want := int64(len(references[encoding]().EncodeOrdinary(text)))
	got, err := encoding.Count(text)
	if err != nil || got != want {
		t.Fatalf("%s: %+q: %d tokens, %v; tiktoken-go has %d", encoding, text, got, err, want)
	}
}

// hardStrings are what splitters get wrong.
var hardStrings = []struct{ name, text string }{
	{"contractions", "I'm you're he'd we've it's don't they'll"},
	{"contractions in capitals", "I'M YOU'RE HE'D WE'VE IT'S DON'T THEY'LL"},
	{"contractions in mixed case", "a'Re a'rE A'Ll B'vE"},
	{"contraction glued to a word", "'sabc 'tis 'rex abc'sdef ''s '' 'l 'r '"},
	{"contraction after contraction", "a's's't'll're"},
	{"long s", "a\u017ft\u017f \u017f's"},
	{"camel case", "fooBarBAZQux HTTPServer iOS McDonald ABCdefGHI"},
	{"title case letter", "\u01c5x \u01c5X A\u01c5a"},
	{"modifier letters", "A\u02b0 \u02b0A AB\u02b0CD a\u02b0b \u02b0"},
	{"letters without case", "A\u4f60B\u597da \u0e01\u0e33ABC"},
	{"mark before letters", "\u0301ABC \u0301abc \u0301Abc\u0301 \u0301"},
	{"mark as prefix of a capital run", "\u0301\u0301ABC!\u0301ABC \u0301AB\u0301CD"},
	{"mark among capitals", "A\u0301B\u0301CD E\u0301 AB\u0301"},
	{"marks after symbols and spaces", "!\u0301 \u0301\u0300 \u20dd\t\u0301\n\u0301"},
	{"marks after digits", "1\u03012 12\u0301 \u0661\u0301"},
	{"Chinese", "你好,世界。今天天气怎么样?"},
	{"Japanese", "これは日本語のテキストです。カタカナもあります"},
	{"Korean", "안녕하세요 세계"},
	{"decomposed Korean", "\u1112\u1161\u11ab\u1100\u1173\u11af"},
	{"Thai", "ภาษาไทยไม่มีช่องว่าง"},
	{"Hindi", "हिन्दी में लिखा हुआ"},
	{"Arabic", "مرحبا بالعالم ١٢٣٤"},
	{"emoji", "\U0001f600\U0001f601 \U0001f44d\U0001f3fd"},
	{"emoji joined", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \u2764\ufe0f\u200d\U0001f525"},
	{"flags", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7"},
	{"digits", "1 12 123 1234 12345 123456 1234567"},
	{"other numbers", "\u00bd\u00bc\u00b2\u2167\u0661\u0662\u0663\u0664 \u4e00"},
	{"spaces", " a  b   c    d     "},
	{"spaces and newlines", "a \n b\n \n c\n\n\n  d \r\n\r\n e\n"},
	{"trailing spaces", "a   "},
	{"trailing newline and spaces", "a\n   "},
	{"only newlines", "\n\n\n\n"},
	{"returns", "\r\r\n\n\r"},
	{"tabs", "\t\ta\t\t\tb \t \tc"},
	{"tab before a word", "\tword \tWord\t!x"},
	{"no-break spaces", "a\u00a0b \u00a0c\u00a0\u00a0d \u00a0!"},
	{"next line", "a\u0085b\u0085\u0085 c\u0085"},
	{"separators", "a\u2028b\u2029c\u3000d\u1680e\u202ff"},
	{"not spaces", "a\u200bb\u180ec\u2060d\ufeffe\x1cf\x1fg"},
	{"controls", "\x00\x01\x02a\x07b\x1b[0m\x7f\u0080\u009f"},
	{"symbols", "!!! ... --- === *** ((( )))"},
	{"symbols and newlines", "};\n\n}\n);\r\n  */\n"},
	{"slashes", "a/b //c\n/d\n//\n/ /\n !/\r\n//x"},
	{"code", "func main() {\n\tfmt.Println(\"hi\")\n}\n"},
	{"special tokens", "<|endoftext|><|im_start|>user<|fim_prefix|>"},
	{"replacement and private use", "\ufffd\ufffda\ue000\uffff\U0010ffff"},
	{"unassigned", "\u0378a\u0378 \u0378"},
	{"case folds", "\u1e9e\u00df\u0130\u0131\u212a\u017f"},
	{"invalid", "a\xff\xfeb\xc3 \xed\xa0\x80c\xf0\x9f"},
	{"long run of a letter", strings.Repeat("a", 3000)},
	{"long run of a capital", strings.Repeat("Z", 3000)},
	{"long run of capitals, then one small", strings.Repeat("AB", 900) + "c"},
	{"long run of spaces", strings.Repeat(" ", 3000) + "x"},
	{"long run of newlines", strings.Repeat("\n", 3000)},
	{"long run of digits", strings.Repeat("7", 3000)},
	{"long run of marks", "a" + strings.Repeat("\u0301", 1500)},
	{"long run of symbols", strings.Repeat("=-", 1500)},
	{"long alternation", strings.Repeat("ab", 1500)},
	{"long alternation of spaces", strings.Repeat(" \t", 1500)},
	{"long Chinese without punctuation", strings.Repeat("委员会每周二开会讨论预算", 90)},
	{"base64", strings.Repeat("aGVsbG8gd29ybGQhIEhvdyBhcmUgeW91", 90)},
}

func TestCountMatchesReferenceOnHardStrings(t *testing.T) {
	for _, hard := range hardStrings {
		t.Run(hard.name, func(t *testing.T) {
			for _, encoding := range encodings {
				mustMatchReference(t, encoding, hard.text)
			}
		})
	}
}

// fragments are joined to random texts; short ones, so that classes meet in
// many orders.
var fragments = []string{
	"'s", "'S", "'t", "'re", "'RE", "'ve", "'LL", "'m", "'D", "'", "'x",
	"a", "A", "ab", "Ab", "AB", "aB", "hello", "HELLO", " the", "\u01c5", "\u02b0", "\u0301", "\u0300\u0323",
	"\u00e9", "\u00c9", "\u017f", "\u4f60\u597d", "\u65e5\u672c", "\uac00\ub098", "\u0e01\u0e33", "\u0928\u094d",
	"\U0001f468\u200d\U0001f469", "\U0001f600", "\ufe0f",
	" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", " \n", "\n ", "\u00a0", "\u0085", "\u2028", "\u3000", "\u200b",
	"\x00", "\x1c", "\x7f", "\xff", "\xe4\xbd", "0", "12", "123", "1234", "\u0661", "\u00bd",
	"/", "//", "/\n", "!", "...", "()", "};", "<|endoftext|>", "_", "-", "=", "\u20ac", "\ufffd", "\U0010ffff", "\u0378",
}

// texts draws texts of up to 16 fragments, runs or any code points.
func texts() *rapid.Generator[string] {
	fragment := rapid.SampledFrom(fragments)
	run := rapid.Custom(func(t *rapid.T) string {
		return strings.Repeat(fragment.Draw(t, "fragment"), rapid.IntRange(2, 60).Draw(t, "times"))
	})
	part := rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 19).Draw(t, "kind") {
		case 0:
			return run.Draw(t, "run")
		case 1, 2:
			return string(rapid.Rune().Draw(t, "rune"))
		}
		return fragment.Draw(t, "fragment")
	})
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(part, 1, 16).Draw(t, "parts"), "")
	})
}

func TestCountMatchesReference(t *testing.T) {
	many := rapid.SliceOfN(texts(), textsPerCheck, textsPerCheck)
	rapid.Check(t, func(t *rapid.T) {
		for _, text := range many.Draw(t, "texts") {
			for _, encoding := range encodings {
				mustMatchReference(t, encoding, text)
			}
		}
	})
}

// fuzzBytes bounds a fuzzed text: tiktoken-go's merge is quadratic.
const fuzzBytes = 1 << 10

func FuzzCount(f *testing.F) {
	for _, hard := range hardStrings {
		f.Add(hard.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > fuzzBytes {
			t.Skip()
		}
		bound := tokenizer.UpperBound(text)
		for _, encoding := range encodings {
			mustMatchReference(t, encoding, text)
			if tokens := count(t, encoding, text); tokens > bound {
				t.Errorf("%s: %+q: %d tokens above the bound %d", encoding, text, tokens, bound)
			}
		}
	})
}
