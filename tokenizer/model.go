package tokenizer

import (
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// families are models whose dated and sized variants, NAME-SUFFIX, share an
// encoding. From OpenAI's tiktoken 0.14, model.py; o200k_harmony, which it
// gives for gpt-oss, differs from o200k_base in special tokens only.
var families = map[string]Encoding{
	"o1":         O200kBase,
	"o3":         O200kBase,
	"o4":         O200kBase,
	"gpt-4.5":    O200kBase,
	"gpt-4.1":    O200kBase,
	"gpt-4o":     O200kBase,
	"chatgpt-4o": O200kBase,
	"gpt-oss":    O200kBase,
	"gpt-4":      Cl100kBase,
	"gpt-3.5":    Cl100kBase,
	"gpt-35":     Cl100kBase, // as Azure spells gpt-3.5
}

// models are those without variants, from the same place.
var models = map[string]Encoding{
	"davinci-002":            Cl100kBase,
	"babbage-002":            Cl100kBase,
	"text-embedding-ada-002": Cl100kBase,
	"text-embedding-3-small": Cl100kBase,
	"text-embedding-3-large": Cl100kBase,

	"text-davinci-003":      P50kBase,
	"text-davinci-002":      P50kBase,
	"code-davinci-002":      P50kBase,
	"code-davinci-001":      P50kBase,
	"code-cushman-002":      P50kBase,
	"code-cushman-001":      P50kBase,
	"davinci-codex":         P50kBase,
	"cushman-codex":         P50kBase,
	"text-davinci-edit-001": P50kEdit,
	"code-davinci-edit-001": P50kEdit,

	"text-davinci-001":             R50kBase,
	"text-curie-001":               R50kBase,
	"text-babbage-001":             R50kBase,
	"text-ada-001":                 R50kBase,
	"davinci":                      R50kBase,
	"curie":                        R50kBase,
	"babbage":                      R50kBase,
	"ada":                          R50kBase,
	"text-similarity-davinci-001":  R50kBase,
	"text-similarity-curie-001":    R50kBase,
	"text-similarity-babbage-001":  R50kBase,
	"text-similarity-ada-001":      R50kBase,
	"text-search-davinci-doc-001":  R50kBase,
	"text-search-curie-doc-001":    R50kBase,
	"text-search-babbage-doc-001":  R50kBase,
	"text-search-ada-doc-001":      R50kBase,
	"code-search-babbage-code-001": R50kBase,
	"code-search-ada-code-001":     R50kBase,
	"gpt2":                         R50kBase,
	"gpt-2":                        R50kBase,
}

// ForModel returns the encoding of one of OpenAI's models, and false for any
// other name: use UpperBound there. It takes dated and sized variants
// (gpt-4o-mini-2024-07-18), fine-tuned models (ft:gpt-4o-mini:acme::id, and
// davinci:ft-acme of old), and names as gateways spell them (openai/gpt-4o,
// openai/gpt-oss-120b:free). Like tiktoken it takes whatever begins with gpt-5.
// A name is the same in any case.
func ForModel(model string) (Encoding, bool) {
	name := strings.TrimPrefix(names.Fold(model), "openai/")
	name = strings.TrimPrefix(name, "ft:")
	name, _, _ = strings.Cut(name, ":")
	if strings.HasPrefix(name, "gpt-5") {
		return O200kBase, true
	}
	if encoding, ok := models[name]; ok {
		return encoding, true
	}
	for name != "" {
		if encoding, ok := families[name]; ok {
			return encoding, true
		}
		name = name[:max(strings.LastIndexByte(name, '-'), 0)]
	}
	return "", false
}
