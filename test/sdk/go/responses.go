package main

import (
	"context"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// responseScenarios are those of the Responses API.
var responseScenarios = map[string]func(context.Context, openai.Client, *seen) error{
	"responses-chat":    response,
	"responses-stream":  responseStream,
	"responses-tools":   responseTools,
	"responses-chain":   responseChain,
	"responses-count":   responseCount,
	"responses-compact": responseCompact,
}

// leastCap is the least output cap that the API takes.
const leastCap = 16

func askedResponse() responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model:           env("SDK_MODEL", "gpt-4o-mini"),
		MaxOutputTokens: openai.Int(max(leastCap, maxTokens())),
		Input:           responses.ResponseNewParamsInputUnion{OfString: openai.String(env("SDK_PROMPT", "Say hello."))},
	}
}

func (s *seen) takeResponse(r *responses.Response) {
	s.Content, s.FinishReason, s.Model = r.OutputText(), string(r.Status), r.Model
	s.Usage = &usage{Prompt: r.Usage.InputTokens, Completion: r.Usage.OutputTokens, Total: r.Usage.TotalTokens}
}

func response(ctx context.Context, client openai.Client, saw *seen) error {
	answer, err := client.Responses.New(ctx, askedResponse())
	if err != nil {
		return err
	}
	saw.takeResponse(answer)
	return nil
}

func responseStream(ctx context.Context, client openai.Client, saw *seen) error {
	stream := client.Responses.NewStreaming(ctx, askedResponse())
	defer stream.Close()
	content := ""
	for stream.Next() {
		saw.Chunks++
		switch event := stream.Current(); event.Type {
		case "response.output_text.delta":
			content += event.Delta
		case "response.completed", "response.incomplete":
			saw.takeResponse(&event.Response)
		}
	}
	saw.Content = content
	return stream.Err()
}

// responseTools is a round trip: the call of a tool, and an answer to its result.
func responseTools(ctx context.Context, client openai.Client, saw *seen) error {
	params := askedResponse()
	params.MaxOutputTokens = openai.Int(64)
	params.Tools = []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{
		Name: "weather", Strict: openai.Bool(false),
		Parameters: map[string]any{"type": "object", "properties": map[string]any{"city": map[string]string{"type": "string"}}, "required": []string{"city"}},
	}}}
	answer, err := client.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	call := answer.Output[0].AsFunctionCall()
	params.Tools, params.PreviousResponseID = nil, openai.String(answer.ID)
	result := responses.ResponseInputItemParamOfFunctionCallOutput("rain")
	result.OfFunctionCallOutput.CallID = openai.String(call.CallID)
	params.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{result}}
	after, err := client.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	saw.takeResponse(after)
	saw.FinishReason, saw.Tool = string(answer.Status), &tool{Name: call.Name, Arguments: call.Arguments}
	return nil
}

func responseChain(ctx context.Context, client openai.Client, saw *seen) error {
	first, err := client.Responses.New(ctx, askedResponse())
	if err != nil {
		return err
	}
	params := askedResponse()
	params.PreviousResponseID = openai.String(first.ID)
	answer, err := client.Responses.New(ctx, params)
	if err != nil {
		return err
	}
	saw.takeResponse(answer)
	return nil
}

func responseCount(ctx context.Context, client openai.Client, saw *seen) error {
	asked := askedResponse()
	count, err := client.Responses.InputTokens.Count(ctx, responses.InputTokenCountParams{
		Model: openai.String(asked.Model), Input: responses.InputTokenCountParamsInputUnion{OfString: asked.Input.OfString},
	})
	if err != nil {
		return err
	}
	saw.Usage = &usage{Prompt: count.InputTokens}
	return nil
}

func responseCompact(ctx context.Context, client openai.Client, saw *seen) error {
	asked := askedResponse()
	answer, err := client.Responses.Compact(ctx, responses.ResponseCompactParams{
		Model: responses.ResponseCompactParamsModel(asked.Model), Input: responses.ResponseCompactParamsInputUnion{OfString: asked.Input.OfString},
	})
	if err != nil {
		return err
	}
	saw.Usage, saw.FinishReason = &usage{Prompt: answer.Usage.InputTokens, Completion: answer.Usage.OutputTokens, Total: answer.Usage.TotalTokens}, string(answer.Object)
	return nil
}
