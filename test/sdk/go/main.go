// Command client runs one scenario with the official Go SDK; see ../README.md.
// It is a module of its own, so that the proxy does not depend on the SDK.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/client"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// seen is what the application saw; see ../README.md.
type seen struct {
	SDK          string            `json:"sdk"`
	Scenario     string            `json:"scenario"`
	OK           bool              `json:"ok"`
	Attempts     int64             `json:"attempts"`
	Status       int               `json:"status,omitempty"`
	Headers      map[string]string `json:"headers,omitempty"`
	Content      string            `json:"content"`
	FinishReason string            `json:"finish_reason,omitempty"`
	Model        string            `json:"model,omitempty"`
	Chunks       int               `json:"chunks,omitempty"`
	UsageChunks  int               `json:"usage_chunks"`
	Tool         *tool             `json:"tool,omitempty"`
	Embeddings   []int             `json:"embeddings,omitempty"`
	Usage        *usage            `json:"usage,omitempty"`
	Error        *failure          `json:"error,omitempty"`
}

type tool struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type usage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
}

type failure struct {
	Class   string `json:"class"`
	Code    string `json:"code"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

var scenarios = map[string]func(context.Context, openai.Client, *seen) error{
	"chat":         chat,
	"stream":       stream,
	"stream-usage": streamUsage,
	"tools":        tools,
	"embeddings":   embeddings,
}

func init() { maps.Copy(scenarios, responseScenarios) }

func main() {
	if len(os.Args) != 2 || scenarios[os.Args[1]] == nil && messages[os.Args[1]] == nil {
		log.Fatal("give one scenario: chat, stream, stream-usage, tools, embeddings, messages- and chat, stream, tools, count, model or beta, or responses- and chat, stream, tools, chain, count or compact")
	}
	saw := seen{SDK: "go " + sdkVersion(), Scenario: os.Args[1]}
	var attempts atomic.Int64
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { attempts.Add(1) },
	})
	var response *http.Response
	var governed *http.Client
	if dir := os.Getenv("SDK_GOVERNED"); dir != "" {
		g := open(dir)
		defer g.Close()
		governed = &http.Client{Transport: &client.Transport{Gate: g, Tenant: "default"}}
	}
	var err error
	if run := messages[saw.Scenario]; run != nil {
		err = run(ctx, anthropicClient(governed, &response), &saw)
	} else {
		err = scenarios[saw.Scenario](ctx, openaiClient(governed, &response), &saw)
	}
	if err != nil {
		saw.Error = describe(err)
	}
	saw.OK = saw.Error == nil
	saw.Attempts = attempts.Load()
	if response != nil {
		saw.Status, saw.Headers = response.StatusCode, headers(response.Header)
	}
	if err := json.NewEncoder(os.Stdout).Encode(saw); err != nil {
		log.Fatal(err)
	}
}

// openaiClient is OpenAI's SDK over an HTTP client; nil: its own.
func openaiClient(governed *http.Client, response **http.Response) openai.Client {
	options := []option.RequestOption{option.WithResponseInto(response)}
	if governed != nil {
		options = append(options, option.WithHTTPClient(governed))
	}
	return openai.NewClient(options...)
}

// open opens a gate on the files that aegis-proxy init has made in a directory.
func open(dir string) *gate.Gate {
	text, err := os.ReadFile(filepath.Join(dir, "policy.yaml"))
	check(err)
	rules, err := policy.Parse("policy.yaml", text)
	check(err)
	signer, err := audit.LoadSigner(filepath.Join(dir, "aegis-data/signing-key"))
	check(err)
	ledger, err := embedded.Open(embedded.Config{Dir: filepath.Join(dir, "aegis-data/ledger")})
	check(err)
	receipts, err := audit.Open(audit.Config{Dir: filepath.Join(dir, "aegis-data/receipts"), Signer: signer})
	check(err)
	g, err := gate.Open(context.Background(), gate.Config{Policy: rules, Ledger: ledger, Log: receipts})
	check(err)
	return g
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func request() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:               env("SDK_MODEL", "gpt-4o-mini"),
		MaxCompletionTokens: openai.Int(maxTokens()),
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.UserMessage(env("SDK_PROMPT", "Say hello.")),
		},
	}
}

func chat(ctx context.Context, client openai.Client, saw *seen) error {
	answer, err := client.Chat.Completions.New(ctx, request())
	if err != nil {
		return err
	}
	saw.Content = answer.Choices[0].Message.Content
	saw.FinishReason = answer.Choices[0].FinishReason
	saw.Model = answer.Model
	saw.Usage = chatUsage(answer.Usage)
	return nil
}

func tools(ctx context.Context, client openai.Client, saw *seen) error {
	params := request()
	params.MaxCompletionTokens = openai.Int(max(64, maxTokens()))
	params.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
			Name: "weather",
			Parameters: openai.FunctionParameters{
				"type":       "object",
				"properties": map[string]any{"city": map[string]any{"type": "string"}},
				"required":   []string{"city"},
			},
		}),
	}
	answer, err := client.Chat.Completions.New(ctx, params)
	if err != nil {
		return err
	}
	call := answer.Choices[0].Message.ToolCalls[0].Function
	saw.Tool = &tool{Name: call.Name, Arguments: call.Arguments}
	saw.FinishReason = answer.Choices[0].FinishReason
	saw.Model = answer.Model
	saw.Usage = chatUsage(answer.Usage)
	return nil
}

func stream(ctx context.Context, client openai.Client, saw *seen) error {
	return readStream(ctx, client, request(), saw)
}

func streamUsage(ctx context.Context, client openai.Client, saw *seen) error {
	params := request()
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	return readStream(ctx, client, params, saw)
}

func readStream(ctx context.Context, client openai.Client, params openai.ChatCompletionNewParams, saw *seen) error {
	answer := client.Chat.Completions.NewStreaming(ctx, params)
	defer answer.Close()
	for answer.Next() {
		chunk := answer.Current()
		saw.Chunks++
		saw.Model = chunk.Model
		if chunk.Usage.TotalTokens > 0 {
			saw.UsageChunks++
			saw.Usage = chatUsage(chunk.Usage)
		}
		for _, choice := range chunk.Choices {
			saw.Content += choice.Delta.Content
			saw.FinishReason += choice.FinishReason
		}
	}
	return answer.Err()
}

func embeddings(ctx context.Context, client openai.Client, saw *seen) error {
	answer, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: env("SDK_EMBEDDING_MODEL", "text-embedding-3-small"),
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"Say hello.", "Say goodbye."}},
	})
	if err != nil {
		return err
	}
	for _, one := range answer.Data {
		saw.Embeddings = append(saw.Embeddings, len(one.Embedding))
	}
	saw.Model = answer.Model
	saw.Usage = &usage{Prompt: answer.Usage.PromptTokens, Total: answer.Usage.TotalTokens}
	return nil
}

func chatUsage(u openai.CompletionUsage) *usage {
	return &usage{Prompt: u.PromptTokens, Completion: u.CompletionTokens, Total: u.TotalTokens}
}

func describe(err error) *failure {
	if f := refusedMessage(err); f != nil {
		return f
	}
	var refused *openai.Error
	if !errors.As(err, &refused) {
		return &failure{Class: fmt.Sprintf("%T", err), Message: err.Error()}
	}
	return &failure{
		Class:   fmt.Sprintf("%T", refused),
		Code:    refused.Code,
		Type:    refused.Type,
		Message: refused.Message,
	}
}

func headers(h http.Header) map[string]string {
	kept := map[string]string{}
	for name := range h {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-") || lower == "retry-after" || lower == "content-type" {
			kept[lower] = h.Get(name)
		}
	}
	return kept
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func maxTokens() int64 {
	n, err := strconv.ParseInt(env("SDK_MAX_TOKENS", "8"), 10, 64)
	if err != nil {
		log.Fatalf("SDK_MAX_TOKENS: %v", err)
	}
	return n
}

func sdkVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/openai/openai-go/v3" {
			return module.Version
		}
	}
	return "of unknown version"
}
