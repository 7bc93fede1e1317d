// Command go runs one client through one case: go CLIENT CASE. It is to Go what
// ../python/sdks.py is to Python, and a module of its own, so that the proxy does not
// depend on the SDKs.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

const (
	openaiModel = "gpt-5"
	claudeModel = "claude-sonnet-4-5"
	outputCap   = 1000
	turns       = 3
)

var (
	base, key, prompt = os.Getenv("AEGIS_BASE"), os.Getenv("AEGIS_KEY"), os.Getenv("AEGIS_PROMPT")
	scenario          = os.Args[2]
	streams           = slices.Contains([]string{"stream", "killed", "killed-tool"}, scenario)
	tools             = slices.Contains([]string{"tool", "killed-tool"}, scenario)

	nothing = map[string]any{"type": "object", "properties": map[string]any{}, "additionalProperties": false, "required": []string{}}
	city    = map[string]any{
		"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}, "people": map[string]any{"type": "integer"}},
		"additionalProperties": false, "required": []string{"city", "people"},
	}
)

func main() {
	said, err := map[string]func(context.Context) (string, error){"openai-go": openaiGo, "anthropic-go": anthropicGo}[os.Args[1]](context.Background())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(said)
}

// image is the file of the image, in base64.
func image() string {
	bytes, err := os.ReadFile(os.Getenv("AEGIS_IMAGE"))
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(bytes)
}

func touch() string {
	if err := os.WriteFile("marker", nil, 0o600); err != nil {
		panic(err)
	}
	return "made"
}

func openaiGo(ctx context.Context) (string, error) {
	client := openai.NewClient(option.WithBaseURL(base+"/v1"), option.WithAPIKey(key))
	content := responses.ResponseInputMessageContentListParam{responses.ResponseInputContentParamOfInputText(prompt)}
	params := responses.ResponseNewParams{Model: openaiModel}
	switch {
	case scenario == "image":
		content = append(content, responses.ResponseInputContentUnionParam{OfInputImage: &responses.ResponseInputImageParam{
			Detail: responses.ResponseInputImageDetailLow, ImageURL: openai.String("data:image/png;base64," + image()),
		}})
	case scenario == "structured":
		params.Text.Format = responses.ResponseFormatTextConfigParamOfJSONSchema("city", city)
	case tools:
		params.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("touch", nothing, true)}
	}
	items := responses.ResponseInputParam{responses.ResponseInputItemParamOfMessage(content, responses.EasyInputMessageRoleUser)}
	for range turns {
		params.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: items}
		answer, err := openaiAnswer(ctx, &client, params)
		if err != nil {
			return "", err
		}
		called := false
		for _, item := range answer.Output {
			if call := item.AsFunctionCall(); item.Type == "function_call" && item.Status == "completed" {
				items = append(items, responses.ResponseInputItemParamOfFunctionCall(call.Arguments, call.CallID, call.Name),
					responses.ResponseInputItemUnionParam{OfFunctionCallOutput: &responses.ResponseInputItemFunctionCallOutputParam{
						CallID: openai.String(call.CallID),
						Output: responses.ResponseInputItemFunctionCallOutputOutputUnionParam{OfString: openai.String(touch())},
					}})
				called = true
			}
		}
		if !called {
			return answer.OutputText(), nil
		}
	}
	return "", errors.New("the model calls tools without end")
}

func openaiAnswer(ctx context.Context, client *openai.Client, params responses.ResponseNewParams) (*responses.Response, error) {
	if !streams {
		return client.Responses.New(ctx, params)
	}
	stream := client.Responses.NewStreaming(ctx, params)
	var answer *responses.Response
	for stream.Next() {
		switch event := stream.Current(); event.Type {
		case "response.completed", "response.incomplete", "response.failed":
			answer = &event.Response
		}
	}
	switch {
	case stream.Err() != nil:
		return nil, stream.Err()
	case answer == nil:
		return nil, errors.New("the stream ended before its response")
	case answer.Status == "failed":
		return nil, errors.New(answer.Error.Message)
	}
	return answer, nil
}

func anthropicGo(ctx context.Context) (string, error) {
	client := anthropic.NewClient(anthropicoption.WithBaseURL(base), anthropicoption.WithAPIKey(key))
	content := []anthropic.ContentBlockParamUnion{anthropic.NewTextBlock(prompt)}
	params := anthropic.MessageNewParams{Model: claudeModel, MaxTokens: outputCap}
	switch {
	case scenario == "image":
		content = append(content, anthropic.NewImageBlockBase64("image/png", image()))
	case scenario == "structured":
		params.OutputConfig = anthropic.OutputConfigParam{Format: anthropic.JSONOutputFormatParam{Schema: city}}
	case tools:
		params.Tools = []anthropic.ToolUnionParam{anthropic.ToolUnionParamOfTool(anthropic.ToolInputSchemaParam{Properties: map[string]any{}}, "touch")}
	}
	params.Messages = []anthropic.MessageParam{anthropic.NewUserMessage(content...)}
	for range turns {
		answer, err := anthropicAnswer(ctx, &client, params)
		if err != nil {
			return "", err
		}
		var said strings.Builder
		var results []anthropic.ContentBlockParamUnion
		for _, block := range answer.Content {
			said.WriteString(block.Text)
			if block.Type == "tool_use" && json.Valid(block.Input) {
				results = append(results, anthropic.NewToolResultBlock(block.ID, touch(), false))
			}
		}
		if answer.StopReason != anthropic.StopReasonToolUse {
			return said.String(), nil
		}
		params.Messages = append(params.Messages, answer.ToParam(), anthropic.NewUserMessage(results...))
	}
	return "", errors.New("the model calls tools without end")
}

func anthropicAnswer(ctx context.Context, client *anthropic.Client, params anthropic.MessageNewParams) (*anthropic.Message, error) {
	if !streams {
		return client.Messages.New(ctx, params)
	}
	stream := client.Messages.NewStreaming(ctx, params)
	var answer anthropic.Message
	for stream.Next() {
		if err := answer.Accumulate(stream.Current()); err != nil {
			return nil, err
		}
	}
	return &answer, stream.Err()
}
