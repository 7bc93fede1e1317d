package agents

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// client is a program that speaks to a model on somebody's behalf.
type client struct {
	Name    string // in the case marks, tenants and runs: lower case, no spaces
	Title   string
	Package string // what is installed
	Set     string // whose lock file pins it: node, go, or a file of python
	CI      bool   // one of those that every test run has

	// command is the program that runs a case, and its arguments.
	command func(c client, j job) []string
	// environment is what it needs beside PATH and HOME.
	environment func(c client, j job) []string
	// tools are calls that make the file "marker"; of these the model makes the first one that is offered.
	tools []simulator.ToolCall
	look  *simulator.ToolCall // how it is asked to look at an image that is not in its prompt
	lacks []string            // cases that it has nothing for
	final bool                // it is told not to retry while the ledger is down
	once  bool                // it never sends a call again by itself
	mute  bool                // its errors read as the status alone; the message stands in a field of theirs
}

// job is one run of a client.
type job struct {
	Case  string
	Base  string // URL with the run, without the version
	Key   string
	Dir   string // where it works
	Image string // file
}

// call is the first of the client's calls whose tool is offered.
func (c client) call(offered []string) (simulator.ToolCall, bool) {
	for _, call := range c.tools {
		if slices.Contains(offered, call.Name) {
			return call, true
		}
	}
	return simulator.ToolCall{}, false
}

func (c client) has(name string) bool { return !slices.Contains(c.lacks, name) }

func clientNamed(name string) client {
	if at := slices.IndexFunc(clients, func(c client) bool { return c.Name == name }); at >= 0 {
		return clients[at]
	}
	return client{}
}

// prompt is what a person would ask, with the mark of the case.
func (j job) prompt(c client) string {
	return "Say how the ledger is, in one sentence. aegis-case:" + j.Case + ":" + c.Name + " aegis-image:" + j.Image
}

// installed is the directory of the clients.
func installed(parts ...string) string {
	here, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return filepath.Join(append([]string{here, "..", "..", ".tools", "agents"}, parts...)...)
}

// clients are all of them.
var clients = []client{
	{
		Name: "claude-code", Title: "Claude Code", Package: "@anthropic-ai/claude-code", Set: "node", CI: true, final: true,
		command: claudeCode,
		environment: func(_ client, j job) []string {
			return []string{"ANTHROPIC_BASE_URL=" + j.Base, "ANTHROPIC_AUTH_TOKEN=" + j.Key,
				"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1", "DISABLE_AUTOUPDATER=1"}
		},
		tools: []simulator.ToolCall{{Name: "Bash", Arguments: `{"command":"touch marker","description":"Make a file"}`}},
		look:  &simulator.ToolCall{Name: "Read", Arguments: `{"file_path":"$IMAGE"}`},
	},
	{
		Name: "codex", Title: "Codex CLI", Package: "@openai/codex", Set: "node", CI: true,
		command:     codex,
		environment: func(_ client, j job) []string { return []string{"AEGIS_KEY=" + j.Key} },
		tools: []simulator.ToolCall{
			{Name: "exec_command", Arguments: `{"cmd":"touch marker"}`},
			{Name: "shell_command", Arguments: `{"command":"touch marker"}`},
			{Name: "shell", Arguments: `{"command":["touch","marker"]}`},
		},
	},
	{
		Name: "gemini-cli", Title: "Gemini CLI", Package: "@google/gemini-cli", Set: "node", CI: true, final: true,
		command: geminiCLI,
		environment: func(_ client, j job) []string {
			return []string{"GOOGLE_GEMINI_BASE_URL=" + j.Base, "GEMINI_API_KEY=" + j.Key, "GEMINI_CLI_TRUST_WORKSPACE=true", "GEMINI_TELEMETRY_ENABLED=false"}
		},
		tools: []simulator.ToolCall{{Name: "run_shell_command", Arguments: `{"command":"touch marker","description":"Make a file"}`}},
		lacks: []string{"structured", "killed-tool"}, // a call of a tool comes whole
	},
	{
		Name: "aider", Title: "aider", Package: "aider-chat", Set: "aider", CI: true,
		command: aider,
		environment: func(_ client, j job) []string {
			return []string{"OPENAI_API_BASE=" + j.Base + "/v1", "OPENAI_API_KEY=" + j.Key, "AIDER_ANALYTICS=false", "AIDER_CHECK_UPDATE=false", "LITELLM_LOCAL_MODEL_COST_MAP=True"}
		},
		lacks: []string{"structured", "killed-tool"},
	},
	python("openai-python", "OpenAI for Python, Responses", "openai", "sdks"),
	python("openai-python-chat", "OpenAI for Python, chat", "openai", "sdks"),
	node("openai-node", "OpenAI for Node, Responses", "openai"),
	golang("openai-go", "OpenAI for Go, Responses", "github.com/openai/openai-go/v3").thatIsMute(),
	python("anthropic-python", "Anthropic for Python", "anthropic", "sdks"),
	node("anthropic-node", "Anthropic for Node", "@anthropic-ai/sdk"),
	golang("anthropic-go", "Anthropic for Go", "github.com/anthropics/anthropic-sdk-go"),
	python("openai-agents-python", "OpenAI Agents SDK for Python", "openai-agents", "sdks").inCI(),
	node("openai-agents-node", "OpenAI Agents SDK for Node", "@openai/agents"),
	node("vercel-openai", "Vercel AI SDK, OpenAI", "ai").inCI(),
	node("vercel-anthropic", "Vercel AI SDK, Anthropic", "ai"),
	python("langchain-openai", "LangChain, OpenAI", "langchain-openai", "sdks"),
	python("langchain-anthropic", "LangChain, Anthropic", "langchain-anthropic", "sdks"),
	python("pydantic-ai-openai", "Pydantic AI, OpenAI", "pydantic-ai-slim", "sdks").inCI(),
	python("pydantic-ai-anthropic", "Pydantic AI, Anthropic", "pydantic-ai-slim", "sdks"),
	python("litellm-openai", "LiteLLM as a client, OpenAI", "litellm", "sdks"),
	python("litellm-anthropic", "LiteLLM as a client, Anthropic", "litellm", "sdks").thatGivesUp(),
	python("llama-index-openai", "LlamaIndex, OpenAI", "llama-index-llms-openai", "llamaindex"),
	python("llama-index-anthropic", "LlamaIndex, Anthropic", "llama-index-llms-anthropic", "llamaindex"),
}

// touch is the tool of the programs.
var touch = []simulator.ToolCall{{Name: "touch", Arguments: "{}"}}

// program is a client that is a library: a program of ours uses it.
func program(name, title, pack, set string, line ...string) client {
	return client{
		Name: name, Title: title, Package: pack, Set: set, tools: touch,
		command: func(_ client, j job) []string { return append(line[:len(line):len(line)], name, j.Case) },
		environment: func(c client, j job) []string {
			return []string{"AEGIS_BASE=" + j.Base, "AEGIS_KEY=" + j.Key, "AEGIS_PROMPT=" + j.prompt(c), "AEGIS_IMAGE=" + j.Image,
				"AEGIS_MODULES=" + installed("node"), "LITELLM_LOCAL_MODEL_COST_MAP=True"}
		},
	}
}

func python(name, title, pack, set string) client {
	return program(name, title, pack, set, installed(set, "bin", "python"), source("python", "sdks.py"))
}

func node(name, title, pack string) client {
	return program(name, title, pack, "node", installed("node/node_modules/.bin/node"), source("node", "sdks.mjs"))
}

func golang(name, title, pack string) client {
	return program(name, title, pack, "go", installed("go"))
}

func (c client) inCI() client {
	c.CI = true
	return c
}

func (c client) thatGivesUp() client {
	c.once = true
	return c
}

func (c client) thatIsMute() client {
	c.mute = true
	return c
}

// source is a file of this directory.
func source(parts ...string) string {
	here, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return filepath.Join(append([]string{here}, parts...)...)
}

func claudeCode(c client, j job) []string {
	line := []string{installed("node/node_modules/.bin/claude"), "-p", j.prompt(c), "--model", "claude-opus-5", "--allowedTools", "Bash(touch:*),Read"}
	switch j.Case {
	case "stream":
		line = append(line, "--output-format", "stream-json", "--verbose", "--include-partial-messages")
	case "structured":
		line = append(line, "--output-format", "json", "--json-schema", schema)
	}
	return line
}

// codex has a provider of its own for the proxy, as its documentation says to do.
func codex(c client, j job) []string {
	line := []string{installed("node/node_modules/.bin/codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
		"-c", "model_provider=aegis", "-c", "model=gpt-5", "-c", "model_providers.aegis.name=aegis", "-c", "model_providers.aegis.wire_api=responses",
		"-c", "model_providers.aegis.env_key=AEGIS_KEY", "-c", "model_providers.aegis.base_url=" + j.Base + "/v1"}
	switch j.Case {
	case "structured":
		line = append(line, "--output-schema", j.schemaFile())
	case "image":
		line = append(line, "-i", j.Image)
	case "stream":
		line = append(line, "--json")
	}
	return append(line, "--", j.prompt(c))
}

// chooseKey writes what Gemini CLI keeps once somebody has chosen to bring a key: without that it takes the key for one of
// a gateway where it has another base URL, and refuses to run without its dialogs.
func (j job) chooseKey() {
	dir := filepath.Join(filepath.Dir(j.Dir), "home", ".gemini")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		panic(err)
	}
	settings := []byte(`{"security":{"auth":{"selectedType":"gemini-api-key"}},"privacy":{"usageStatisticsEnabled":false}}`)
	if err := os.WriteFile(filepath.Join(dir, "settings.json"), settings, 0o600); err != nil {
		panic(err)
	}
}

// geminiCLI streams every answer, and takes an image as a file that its prompt names behind an @.
func geminiCLI(c client, j job) []string {
	j.chooseKey()
	prompt := j.prompt(c)
	line := []string{installed("node/node_modules/.bin/node"), installed("node/node_modules/@google/gemini-cli/bundle/gemini.js"),
		"--model", "gemini-2.5-flash", "--approval-mode", "yolo"}
	if j.Case == "image" {
		prompt += " @pixel.png"
	}
	return append(line, "--prompt", prompt)
}

func aider(c client, j job) []string {
	// Not its script, whose first line is where it was installed.
	line := []string{installed("aider", "bin", "python"), "-m", "aider", "--model", "openai/gpt-5", "--no-git", "--yes-always", "--no-check-update", "--no-show-release-notes",
		"--no-show-model-warnings", "--analytics-disable", "--no-detect-urls", "--no-suggest-shell-commands", "--map-tokens", "0", "--message", j.prompt(c)}
	switch j.Case {
	case "plain":
		line = append(line, "--no-stream")
	case "image":
		line = append(line, j.Image)
	case "tool":
		line = append(line, "marker")
	}
	return line
}

// schemaFile writes the schema to a file.
func (j job) schemaFile() string {
	path := filepath.Join(j.Dir, "schema.json")
	if err := os.WriteFile(path, []byte(schema), 0o600); err != nil {
		panic(err)
	}
	return path
}

// schema is that of structured, as JSON Schema.
const schema = `{"type":"object","properties":{"city":{"type":"string"},"people":{"type":"integer"}},"required":["city","people"],"additionalProperties":false}`
