package tokenizer_test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

var encodings = []tokenizer.Encoding{
	tokenizer.O200kBase,
	tokenizer.Cl100kBase,
	tokenizer.P50kBase,
	tokenizer.P50kEdit,
	tokenizer.R50kBase,
}

func count(t testing.TB, encoding tokenizer.Encoding, text string) int64 {
	t.Helper()
	tokens, err := encoding.Count(text)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// The file is what OpenAI's own tiktoken counts; openai.py beside it made it.
func TestCountMatchesOpenAI(t *testing.T) {
	file, err := os.Open("testdata/openai.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var want struct {
			Text   string
			Tokens map[tokenizer.Encoding]int64
		}
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		for _, encoding := range encodings {
			if got := count(t, encoding, want.Text); got != want.Tokens[encoding] {
				t.Errorf("%s: %+q: %d tokens, want %d", encoding, want.Text, got, want.Tokens[encoding])
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestCountInvalidBytesAsReplacementCharacters(t *testing.T) {
	tests := []struct{ name, text, same string }{
		{"lone continuation", "a\x80b", "a\ufffdb"},
		{"cut-off sequence", "caf\xc3", "caf\ufffd"},
		{"one for each byte", "\xff\xfe\xfd", "\ufffd\ufffd\ufffd"},
		{"encoded surrogate", "\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
		{"overlong slash", "x\xc0\xaf", "x\ufffd\ufffd"},
		{"above the last code point", "\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, encoding := range encodings {
				got, want := count(t, encoding, test.text), count(t, encoding, test.same)
				if got != want {
					t.Errorf("%s: %d tokens, want %d", encoding, got, want)
				}
			}
		})
	}
}

func TestCountTakesSpecialTokensForText(t *testing.T) {
	if got := count(t, tokenizer.O200kBase, "<|endoftext|>"); got < 2 {
		t.Errorf("%d token, want the tokens of its letters", got)
	}
}

func TestCountRefusesUnknownEncoding(t *testing.T) {
	for _, name := range []tokenizer.Encoding{"", "o200k", "O200K_BASE", "../p50k_base"} {
		_, err := name.Count("text")
		if err == nil || !strings.Contains(err.Error(), "not known") {
			t.Errorf("%q: error %v, want one that says it is not known", name, err)
		}
	}
}

func TestCountIsSafeForConcurrentUse(t *testing.T) {
	texts := []string{paragraph, strings.Repeat("x", 5000), strings.Repeat(" ", 5000), "\xff\u4f60"}
	want := make(map[string]int64)
	for _, text := range texts {
		want[text] = count(t, tokenizer.Cl100kBase, text)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, text := range texts {
				if got, err := tokenizer.Cl100kBase.Count(text); err != nil || got != want[text] {
					t.Errorf("%.10q: %d, %v, want %d", text, got, err, want[text])
				}
			}
		})
	}
	group.Wait()
}

func TestForModel(t *testing.T) {
	tests := map[tokenizer.Encoding][]string{
		tokenizer.O200kBase: {
			"gpt-5", "gpt-5-mini-2025-08-07", "gpt-5.1", "gpt-5.2-codex", "openai/gpt-5-nano",
			"gpt-4.1", "gpt-4.1-mini", "gpt-4.5-preview", "gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-mini-search-preview",
			"chatgpt-4o-latest", "o1", "o1-pro", "o3-mini-2025-01-31", "o4-mini", "openai/o3",
			"gpt-oss-120b", "openai/gpt-oss-20b:free", "openai/gpt-4o:online",
			"ft:gpt-4o-mini-2024-07-18:acme:name:id", "ft:gpt-4.1-nano-2025-04-14:acme::id",
		},
		tokenizer.Cl100kBase: {
			"gpt-4", "gpt-4-0613", "gpt-4-32k", "gpt-4-turbo-preview", "gpt-3.5-turbo", "gpt-3.5-turbo-instruct",
			"gpt-35-turbo-16k", "text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002",
			"davinci-002", "babbage-002", "ft:gpt-3.5-turbo-0613:acme::id", "ft:babbage-002:acme::id",
		},
		tokenizer.P50kBase: {"text-davinci-003", "code-cushman-001"},
		tokenizer.P50kEdit: {"text-davinci-edit-001"},
		tokenizer.R50kBase: {"davinci", "davinci:ft-acme-2023-01-01", "text-ada-001", "gpt2"},
		"": {
			"", "-", ":", "ft:", "openai/", "gpt", "gpt-", "gpt-6", "gpt-4.9", "gpt-4p", " gpt-4o", "o2", "o10",
			"davinci-003", "text-embedding-4-small", "claude-sonnet-4", "gemini-2.5-pro", "llama-3.1-8b",
			"acme/gpt-4o", "my-gpt-4o", "ft:claude:gpt-4o",
		},
	}
	for want, models := range tests {
		for _, model := range models {
			got, ok := tokenizer.ForModel(model)
			if got != want || ok != (want != "") {
				t.Errorf("%q: %q, %t, want %q", model, got, ok, want)
			}
			if upper, _ := tokenizer.ForModel(strings.ToUpper(model)); upper != want {
				t.Errorf("%q in capitals: %q, want %q", model, upper, want)
			}
		}
	}
}
