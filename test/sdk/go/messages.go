package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// messages are the scenarios of Anthropic's SDK.
var messages = map[string]func(context.Context, anthropic.Client, *seen) error{
	"messages":        message,
	"messages-stream": messageStream,
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
