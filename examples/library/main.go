// Command library asks a model a question under a budget, with OpenAI's official SDK and
// without the proxy. Ledger, receipts and keys are where the proxy would have them.
//
//	aegis-proxy init
//	OPENAI_API_KEY=sk-... go run . "What is a lease?"
//	aegis-proxy verify aegis-data
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/client"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal(`usage: library "QUESTION"`)
	}
	ctx := context.Background()
	source := must(policy.Watch(ctx, "policy.yaml", nil, func(err error) { log.Print(err) }))
	signer := must(audit.LoadSigner("aegis-data/signing-key"))
	ledger := must(embedded.Open(embedded.Config{Dir: "aegis-data/ledger"}))
	receipts := must(audit.Open(audit.Config{Dir: "aegis-data/receipts", Signer: signer}))
	g := must(gate.Open(ctx, gate.Config{Policy: source, Ledger: ledger, Log: receipts}))
	governed := &http.Client{Transport: &client.Transport{Gate: g, Tenant: "default"}}
	ai := openai.NewClient(option.WithHTTPClient(governed))
	answer := ai.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
		Model:    "gpt-4o-mini",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(os.Args[1])},
	})
	for answer.Next() {
		for _, choice := range answer.Current().Choices {
			fmt.Print(choice.Delta.Content)
		}
	}
	must(g, errors.Join(answer.Err(), answer.Close(), g.Close()))
}

// must ends the program where something went wrong. Of a response with an error the reason is its message.
func must[T any](v T, err error) T {
	if refused, ok := errors.AsType[*openai.Error](err); ok {
		log.Fatalf("%v: %s", err, refused.Message)
	}
	if err != nil {
		log.Fatal(err)
	}
	return v
}
