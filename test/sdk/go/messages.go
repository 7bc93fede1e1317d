package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// messages are the scenarios of Anthropic's SDK.
var messages = map[string]func(context.Context, anthropic.Client, *seen) error{
	"messages-chat":   message,
	"messages-stream": messageStream,
	"messages-tools":  messageTools,
	"messages-count":  messageCount,
	"messages-model":  messageModel,
	"messages-beta":   messageBeta,
}

// anthropicClient is Anthropic's SDK over an HTTP client; nil: its own.
func anthropicClient(governed *http.Client, response **http.Response) anthropic.Client {
	options := []option.RequestOption{option.WithResponseInto(response)}
	if governed != nil {
		options = append(options, option.WithHTTPClient(governed))
	}
	return anthropic.NewClient(options...)
}

func asked() anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model:     anthropic.Model(env("SDK_MODEL", "claude-haiku-4-5")),
		MaxTokens: maxTokens(),
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(env("SDK_PROMPT", "Say hello.")))},
	}
}

func message(ctx context.Context, client anthropic.Client, saw *seen) error {
	answer, err := client.Messages.New(ctx, asked())
	if err != nil {
		return err
	}
	saw.take(answer)
	return nil
}

func messageStream(ctx context.Context, client anthropic.Client, saw *seen) error {
	stream := client.Messages.NewStreaming(ctx, asked())
	defer stream.Close()
	var answer anthropic.Message
	for stream.Next() {
		saw.Chunks++
		if err := answer.Accumulate(stream.Current()); err != nil {
			return err
		}
	}
	if stream.Err() == nil {
		saw.take(&answer)
	}
	return stream.Err()
}

func messageTools(ctx context.Context, client anthropic.Client, saw *seen) error {
	params := asked()
	params.MaxTokens = max(params.MaxTokens, 64)
	city := map[string]any{"city": map[string]string{"type": "string"}}
	params.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
		Name: "weather", InputSchema: anthropic.ToolInputSchemaParam{Properties: city, Required: []string{"city"}},
	}}}
	answer, err := client.Messages.New(ctx, params)
	if err != nil {
		return err
	}
	saw.take(answer)
	var input bytes.Buffer
	if err := json.Compact(&input, answer.Content[0].Input); err != nil {
		return err
	}
	saw.Tool = &tool{Name: answer.Content[0].Name, Arguments: input.String()}
	return nil
}

func messageCount(ctx context.Context, client anthropic.Client, saw *seen) error {
	params := asked()
	count, err := client.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{Model: params.Model, Messages: params.Messages})
	if err != nil {
		return err
	}
	saw.Usage = &usage{Prompt: count.InputTokens}
	return nil
}

func messageModel(ctx context.Context, client anthropic.Client, saw *seen) error {
	var ids []string
	pages := client.Models.ListAutoPaging(ctx, anthropic.ModelListParams{})
	for pages.Next() {
		ids = append(ids, pages.Current().ID)
	}
	if err := pages.Err(); err != nil {
		return err
	}
	one, err := client.Models.Get(ctx, string(asked().Model), anthropic.ModelGetParams{})
	if err != nil {
		return err
	}
	saw.Model, saw.Content = one.ID, strings.Join(ids, " ")
	return nil
}

func messageBeta(ctx context.Context, client anthropic.Client, saw *seen) error {
	params := asked()
	answer, err := client.Beta.Messages.New(ctx, anthropic.BetaMessageNewParams{
		Model: params.Model, MaxTokens: params.MaxTokens,
		Messages: []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock(env("SDK_PROMPT", "Say hello.")))},
		Betas:    []anthropic.AnthropicBeta{"interleaved-thinking-2025-05-14", "cache-keepalive-2026-09-03"},
	})
	if err != nil {
		return err
	}
	saw.Content, saw.FinishReason, saw.Model = answer.Content[0].Text, string(answer.StopReason), string(answer.Model)
	saw.Usage = &usage{Prompt: answer.Usage.InputTokens, Completion: answer.Usage.OutputTokens}
	return nil
}

func (s *seen) take(answer *anthropic.Message) {
	s.Content, s.FinishReason, s.Model = answer.Content[0].Text, string(answer.StopReason), string(answer.Model)
	s.Usage = &usage{Prompt: answer.Usage.InputTokens, Completion: answer.Usage.OutputTokens}
}

// refusedMessage is an error of Anthropic's SDK; nil if it is none.
func refusedMessage(err error) *failure {
	var refused *anthropic.Error
	if !errors.As(err, &refused) {
		return nil
	}
	var body struct {
		Error struct {
			Message string
			Details struct {
				Code string `json:"error_code"`
			}
		}
	}
	_ = json.Unmarshal([]byte(refused.RawJSON()), &body) // what is not there stays empty
	return &failure{Class: fmt.Sprintf("%T", refused), Code: body.Error.Details.Code, Type: string(refused.Type()), Message: body.Error.Message}
}
