// Package sdk runs the client programs of this directory, as an application
// would be run, and reads what they saw. README.md says what each of them does.
package sdk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// runTimeout bounds one run of a program: two retries on a busy machine.
const runTimeout = time.Minute

// Client is one of the programs.
type Client struct {
	Name    string
	Retries bool // answers that may be retried are, twice
	Tools   bool // knows the scenarios tools and embeddings
	Free    bool // knows the scenarios model and moderation

	files   []string // that must exist, relative to the repository
	command []string // relative to the repository where it holds a slash
	env     []string
	vendor  string // in the names of the variables with base URL and key; "": OPENAI
	prefix  string // of its scenarios' names
}

// Messages is the program of Anthropic's SDK for Python. Its base URL has no version, and
// its scenarios are chat, stream, tools, count, model and beta, as those of the next two.
var Messages = Client{
	Name: "anthropic", Retries: true, Tools: true, vendor: "ANTHROPIC",
	files:   []string{".tools/python/installed.txt"},
	command: []string{".tools/python/bin/python", "test/sdk/python/messages.py"},
}

// NodeMessages is the program of Anthropic's SDK for Node.
var NodeMessages = Client{
	Name: "anthropic-node", Retries: true, Tools: true, vendor: "ANTHROPIC",
	files:   []string{".tools/node/installed.json", ".tools/node/node_modules/@anthropic-ai/sdk/package.json"},
	command: []string{"node", "test/sdk/node/messages.cjs"},
	env:     []string{"NODE_PATH=.tools/node/node_modules"},
}

// GoMessages is the program of Anthropic's SDK for Go, in that of OpenAI's.
var GoMessages = Client{
	Name: "anthropic-go", Retries: true, Tools: true, vendor: "ANTHROPIC", prefix: "messages-",
	files:   []string{".tools/go/client"},
	command: []string{".tools/go/client"},
}

// Anthropic are the programs of Anthropic's SDKs.
var Anthropic = []Client{Messages, NodeMessages, GoMessages}

// Google are the programs of Google's SDKs. Their base URL has no version, and their scenarios are chat, stream,
// tools, count and model.
var Google = []Client{
	{
		Name: "google", Tools: true, vendor: "GEMINI",
		files:   []string{".tools/python/installed.txt"},
		command: []string{".tools/python/bin/python", "test/sdk/python/gemini.py"},
	},
	{
		Name: "google-node", Tools: true, vendor: "GEMINI",
		files:   []string{".tools/node/installed.json", ".tools/node/node_modules/@google/genai/package.json"},
		command: []string{"node", "test/sdk/node/gemini.cjs"},
		env:     []string{"NODE_PATH=.tools/node/node_modules"},
	},
}

// Responses are the programs of OpenAI's SDKs for the Responses API. Their scenarios are
// chat, stream, tools (with an answer to its result), chain, count and compact, and
// Python's parse.
var Responses = []Client{
	{
		Name: "python", Retries: true, Tools: true,
		files:   []string{".tools/python/installed.txt"},
		command: []string{".tools/python/bin/python", "test/sdk/python/responses.py"},
	},
	{
		Name: "node", Retries: true, Tools: true,
		files:   []string{".tools/node/installed.json"},
		command: []string{"node", "test/sdk/node/responses.cjs"},
		env:     []string{"NODE_PATH=.tools/node/node_modules"},
	},
	{
		Name: "go", Retries: true, Tools: true, prefix: "responses-",
		files:   []string{".tools/go/client"},
		command: []string{".tools/go/client"},
	},
}

// Clients are all the programs of OpenAI's SDKs, and Java's.
var Clients = []Client{
	{
		Name: "python", Retries: true, Tools: true, Free: true,
		files:   []string{".tools/python/installed.txt"},
		command: []string{".tools/python/bin/python", "test/sdk/python/client.py"},
	},
	{
		Name: "node", Retries: true, Tools: true, Free: true,
		files:   []string{".tools/node/installed.json"},
		command: []string{"node", "test/sdk/node/client.cjs"},
		env:     []string{"NODE_PATH=.tools/node/node_modules"},
	},
	{
		Name: "go", Retries: true, Tools: true,
		files:   []string{".tools/go/client"},
		command: []string{".tools/go/client"},
	},
	{
		Name:    "java",
		files:   []string{".tools/java/Client.class"},
		command: []string{"java", "-cp", ".tools/java", "Client"},
	},
}

// Seen is what a program saw.
type Seen struct {
	SDK          string            `json:"sdk"`
	Scenario     string            `json:"scenario"`
	OK           bool              `json:"ok"`
	Attempts     int               `json:"attempts"`
	Status       int               `json:"status"`
	Version      string            `json:"version"` // of HTTP, Java only
	Headers      map[string]string `json:"headers"` // names in lower case
	Content      string            `json:"content"`
	FinishReason string            `json:"finish_reason"`
	Model        string            `json:"model"`
	Chunks       int               `json:"chunks"`
	UsageChunks  int               `json:"usage_chunks"`
	Tool         struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"tool"`
	Embeddings []int `json:"embeddings"`
	Usage      struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Total      int64 `json:"total_tokens"`
	} `json:"usage"`
	Error struct {
		Class   string `json:"class"`
		Code    string `json:"code"`
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
	Body string `json:"body"` // Java only
}

// Under is the program as another one starts it: its command line follows this one.
func (c Client) Under(command ...string) Client {
	c.command = append(command, c.command...)
	return c
}

// Need fails the test where the client is not installed.
func (c Client) Need(t testing.TB) {
	t.Helper()
	for _, file := range c.files {
		if _, err := os.Stat(filepath.Join(root(), file)); err != nil {
			t.Fatalf("the %s client is not installed (%v); run make tools", c.Name, err)
		}
	}
}

// Run runs one scenario against an API and returns what the program printed.
// Settings are more variables of its environment, as NAME=value. It ends the
// test if the program fails.
func (c Client) Run(t testing.TB, baseURL, key, scenario string, settings ...string) Seen {
	t.Helper()
	seen, err := c.run(t, baseURL, key, scenario, settings)
	if err != nil {
		t.Fatalf("%s client, scenario %s: %v", c.Name, scenario, err)
	}
	return seen
}

func (c Client) run(t testing.TB, baseURL, key, scenario string, settings []string) (seen Seen, err error) {
	arguments := append(c.command[1:len(c.command):len(c.command)], c.prefix+scenario)
	program := c.command[0]
	if filepath.Base(program) != program && !filepath.IsAbs(program) {
		program = filepath.Join(root(), program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, program, arguments...)
	command.WaitDelay = time.Second // for output that a killed program's children hold open
	command.Dir = root()
	vendor := cmp.Or(c.vendor, "OPENAI")
	command.Env = append(os.Environ(), vendor+"_BASE_URL="+baseURL, vendor+"_API_KEY="+key)
	command.Env = append(append(command.Env, c.env...), settings...)
	out, err := command.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return seen, errors.New(err.Error() + "\n" + string(exit.Stderr))
	}
	if err != nil {
		return seen, err
	}
	return seen, json.Unmarshal(out, &seen)
}

// root is the repository's directory.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
