// Package dialects lists the dialects that are spoken here. A new one is a package
// below providers, and a line of All.
package dialects

import (
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/anthropic"
	"github.com/aegis-proxy/aegis-proxy/providers/gemini"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// All returns every dialect. OpenAI's is the last: most clients speak it.
func All() providers.Registry {
	return providers.Registry{anthropic.Dialect{}, gemini.Dialect{}, openai.Dialect{}}
}
