package policy

import "slices"

// A Vendor is an API of a provider as a starter policy names it: where it is, which
// variable holds its key by convention, and what it is known to obey.
type Vendor struct {
	Name      string   // of the upstream
	Provider  string   // whose prices apply
	KeyEnv    string   // the variable that holds its key, as its own tools read it; "": it needs none
	BaseURL   string   // what the dialect's paths are appended to
	Dialect   string   // "": openai
	CapField  string   // the field whose cap it obeys; "" where its dialect has one
	KeyHeader string   // the header that holds its key; "": a bearer token
	Silent    bool     // it refuses to be asked for the usage of streams, and tells it unasked
	Models    []string // patterns of the models that it serves; of two vendors the first one that matches
	Local     bool     // it runs on one's own machine: what it serves costs nothing
}

// vendors are the APIs that a starter policy can name, in the order in which they are
// asked for a model. The base URLs, cap fields and variables are those of the
// providers' own references and clients, read in November 2026.
var vendors = []Vendor{
	{Name: "openai", Provider: "openai", KeyEnv: "OPENAI_API_KEY", BaseURL: "https://api.openai.com/v1", CapField: "max_completion_tokens",
		Models: []string{"gpt-*", "o1*", "o3*", "o4*", "chatgpt-*", "codex-*", "text-embedding-*", "omni-moderation-*", "ft:*"}},
	{Name: "anthropic", Provider: "anthropic", KeyEnv: "ANTHROPIC_API_KEY", BaseURL: "https://api.anthropic.com/v1", Dialect: "anthropic",
		KeyHeader: "x-api-key", Models: []string{"claude-*"}},
	{Name: "google", Provider: "google", KeyEnv: "GEMINI_API_KEY", BaseURL: "https://generativelanguage.googleapis.com", Dialect: "gemini",
		KeyHeader: "x-goog-api-key", Models: []string{"gemini-*"}},
	{Name: "mistral", Provider: "mistral", KeyEnv: "MISTRAL_API_KEY", BaseURL: "https://api.mistral.ai/v1", CapField: "max_tokens", Silent: true,
		Models: []string{"mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*", "open-mistral-*", "open-mixtral-*"}},
	{Name: "deepseek", Provider: "deepseek", KeyEnv: "DEEPSEEK_API_KEY", BaseURL: "https://api.deepseek.com/v1", CapField: "max_tokens",
		Models: []string{"deepseek-*"}},
	{Name: "xai", Provider: "x-ai", KeyEnv: "XAI_API_KEY", BaseURL: "https://api.x.ai/v1", CapField: "max_completion_tokens",
		Models: []string{"grok-*"}},
	{Name: "moonshot", Provider: "moonshotai", KeyEnv: "MOONSHOT_API_KEY", BaseURL: "https://api.moonshot.ai/v1", CapField: "max_tokens",
		Models: []string{"kimi-*", "moonshot-*"}},
	{Name: "fireworks", Provider: "fireworks", KeyEnv: "FIREWORKS_API_KEY", BaseURL: "https://api.fireworks.ai/inference/v1", CapField: "max_tokens",
		Models: []string{"accounts/fireworks/*"}},
	{Name: "groq", Provider: "groq", KeyEnv: "GROQ_API_KEY", BaseURL: "https://api.groq.com/openai/v1", CapField: "max_completion_tokens",
		Models: []string{"llama-*", "gemma*", "qwen-*"}},
	{Name: "cerebras", Provider: "cerebras", KeyEnv: "CEREBRAS_API_KEY", BaseURL: "https://api.cerebras.ai/v1", CapField: "max_completion_tokens",
		Models: []string{"llama*", "qwen-*", "gpt-oss-*"}},
	{Name: "openrouter", Provider: "openrouter", KeyEnv: "OPENROUTER_API_KEY", BaseURL: "https://openrouter.ai/api/v1", CapField: "max_tokens",
		Models: []string{"*/*"}},
	{Name: "together", Provider: "together", KeyEnv: "TOGETHER_API_KEY", BaseURL: "https://api.together.xyz/v1", CapField: "max_tokens",
		Models: []string{"*/*"}},
	{Name: "ollama", Provider: "ollama", BaseURL: "http://localhost:11434/v1", CapField: "max_tokens", Models: []string{"*"}, Local: true},
	{Name: "lmstudio", Provider: "lmstudio", BaseURL: "http://localhost:1234/v1", CapField: "max_tokens", Models: []string{"*"}, Local: true},
	{Name: "llamacpp", Provider: "llamacpp", BaseURL: "http://localhost:8080/v1", CapField: "max_tokens", Models: []string{"*"}, Local: true},
	{Name: "vllm", Provider: "vllm", BaseURL: "http://localhost:8000/v1", CapField: "max_completion_tokens", Models: []string{"*"}, Local: true},
}

// Speaks is the dialect that it speaks.
func (v *Vendor) Speaks() string {
	if v.Dialect == "" {
		return defaultDialect
	}
	return v.Dialect
}

// Vendors are the APIs that a starter policy can name.
func Vendors() []Vendor { return slices.Clone(vendors) }
