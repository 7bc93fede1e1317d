package gate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/tokenizer"
)

// examplePolicy gives acme one cent. The model's prices are made up, so that the
// examples stay true.
const examplePolicy = `
generation: 1
upstreams:
  - {name: openai, base_url: "https://api.openai.com/v1", provider: openai, cap_field: max_completion_tokens}
models:
  - match: "gpt-*"
    upstreams: [openai]
    price: {input_usd_per_million: "1", output_usd_per_million: "10"}
tenants:
  - name: acme
    budgets: [{name: prepaid, window: forever, limit_usd: "0.01"}]
`

// openExample opens a gate on a directory of its own. In a program the errors
// are looked at.
func openExample() (g *gate.Gate, remove func()) {
	dir, _ := os.MkdirTemp("", "gate")
	who, err := policy.Parse("policy.yaml", []byte(examplePolicy))
	if err != nil {
		log.Fatal(err)
	}
	signer, _ := audit.NewSigner(audit.AlgEd25519)
	ledger, _ := embedded.Open(embedded.Config{Dir: filepath.Join(dir, "ledger")})
	receipts, _ := audit.Open(audit.Config{Dir: filepath.Join(dir, "receipts"), Signer: signer})
	g, err = gate.Open(context.Background(), gate.Config{Policy: who, Ledger: ledger, Log: receipts})
	if err != nil {
		log.Fatal(err)
	}
	return g, func() { g.Close(); os.RemoveAll(dir) }
}

// complete stands for a provider's client.
func complete(_ context.Context, prompt string, cap int64) (string, call.Usage, error) {
	return "A hold that ends by itself.", call.Usage{call.Input: 12, call.Output: min(cap, 8)}, nil
}

func ExampleCall() {
	g, remove := openExample()
	defer remove()

	const prompt = "What is a lease?"
	result, err := gate.Call(context.Background(), g, gate.Request{
		Tenant: "acme",
		Facts: call.Facts{
			Model:       "gpt-4o-mini",
			InputTokens: tokenizer.UpperBound(prompt) + 16, // what the API puts around it
			OutputCap:   500,
		},
	}, func(ctx context.Context, grant *gate.Grant) (string, gate.Outcome, error) {
		text, usage, err := complete(ctx, prompt, grant.OutputCap)
		return text, gate.Used(usage), err
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Value)
	fmt.Println("cost", policy.USD(result.Charge))
	for _, r := range result.Remaining {
		fmt.Println(policy.USD(r.Left), "left of", r.Budget)
	}
	// Output:
	// A hold that ends by itself.
	// cost 0.000092 USD
	// 0.009908 USD left of prepaid
}

func ExampleCall_denied() {
	g, remove := openExample()
	defer remove()

	_, err := gate.Call(context.Background(), g, gate.Request{
		Tenant: "acme", Facts: call.Facts{Model: "gpt-4o-mini", InputTokens: 1000, OutputCap: 5000},
	}, func(context.Context, *gate.Grant) (string, gate.Outcome, error) {
		panic("this does not run")
	})
	if refusal, ok := errors.AsType[*call.Denial](err); ok {
		fmt.Println(refusal.Reason, refusal.Budget)
		fmt.Println("needed", policy.USD(refusal.Needed), "of", policy.USD(refusal.Limit))
		fmt.Println("would have fit with a cap of", refusal.LargestCap)
	}
	// Output:
	// budget_exhausted prepaid
	// needed 0.051 USD of 0.01 USD
	// would have fit with a cap of 900
}

// A function may take as long as its stream does. It reports the usage of the
// stream's end; of one that breaks off the cost is not known.
func ExampleCall_stream() {
	g, remove := openExample()
	defer remove()
	events := []string{"A hold", " that ends", " by itself."}

	ask := func(cut bool) (gate.Result[int], error) {
		return gate.Call(context.Background(), g, gate.Request{
			Tenant: "acme", Facts: call.Facts{Model: "gpt-4o-mini", Stream: true, InputTokens: 100, OutputCap: 90},
		}, func(_ context.Context, grant *gate.Grant) (int, gate.Outcome, error) {
			for i, text := range events {
				if cut && i == 1 {
					return i, gate.Outcome{}, errors.New("connection reset")
				}
				fmt.Print(text)
			}
			return len(events), gate.Used(call.Usage{call.Input: 12, call.Output: 8}), nil
		})
	}
	for _, cut := range []bool{false, true} {
		result, err := ask(cut)
		fmt.Printf("\n%d events, charged %s (%s), error: %v\n", result.Value, policy.USD(result.Charge), result.Basis, err)
	}
	// Output:
	// A hold that ends by itself.
	// 3 events, charged 0.000092 USD (reported), error: <nil>
	// A hold
	// 1 events, charged 0.001 USD (unknown), error: connection reset
}

// Receipts go to any io.Writer, here to memory and mostly to os.Stdout, sealed
// with an HMAC key: whoever has it can check them.
func ExampleOpen() {
	var receipts bytes.Buffer
	signer := audit.NewHMACSigner([]byte("32 random bytes, from a safe place"))
	sink, err := audit.Open(audit.Config{Writer: &receipts, Signer: signer})
	if err != nil {
		log.Fatal(err)
	}
	dir, _ := os.MkdirTemp("", "gate")
	defer os.RemoveAll(dir)
	ledger, err := embedded.Open(embedded.Config{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	who, err := policy.Parse("policy.yaml", []byte(examplePolicy))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	g, err := gate.Open(ctx, gate.Config{Policy: who, Ledger: ledger, Log: sink})
	if err != nil {
		log.Fatal(err)
	}
	gate.Call(ctx, g, gate.Request{
		Tenant: "acme", Facts: call.Facts{Model: "gpt-4o-mini", InputTokens: 100, OutputCap: 90},
	}, func(ctx context.Context, grant *gate.Grant) (string, gate.Outcome, error) {
		text, usage, err := complete(ctx, "What is a lease?", grant.OutputCap)
		return text, gate.Used(usage), err
	})
	if err := g.Close(); err != nil { // settles, writes, closes ledger and log
		log.Fatal(err)
	}

	lines := receipts.Bytes()
	report, _ := audit.Verify(ctx, []audit.Source{audit.Stream("receipts", bytes.NewReader(lines))},
		audit.VerifyOptions{Keys: audit.NewKeys(signer.Key())})
	fmt.Println("sound:", report.OK())
	for r := range audit.Read(audit.Stream("receipts", bytes.NewReader(lines))) {
		switch body := r.Body.(type) {
		case audit.Decision:
			fmt.Println(body.Verdict, body.Facts.Model, "holding", policy.USD(body.Facts.Cost))
		case audit.Settlement:
			fmt.Println(body.Outcome, body.Basis, "at", policy.USD(body.Charge))
		}
	}
	// Output:
	// sound: true
	// allow gpt-4o-mini holding 0.001 USD
	// settle reported at 0.000092 USD
}

// What is no LLM call asks leave with an amount, and says later what it cost.
// Each id is used once.
func ExampleGate_Authorize() {
	g, remove := openExample()
	defer remove()

	ctx, rules := context.Background(), g.Rules()
	key := rules.Policy.Tenant("acme").KeyOf("")
	leave, err := g.Authorize(ctx, gate.Action{
		Rules: rules, Key: key, ID: "invoice-7", Kind: "payment",
		Amount: 5_000_000, TTL: gate.MaxActionTTL, // 0.005 USD
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("holding", policy.USD(leave.Hold))
	ended, err := g.Settle(ctx, gate.LeaseCall{Rules: rules, Key: key, Lease: leave.Lease}, 4_000_000)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("charged", policy.USD(ended.Charge))
	// Output:
	// holding 0.005 USD
	// charged 0.004 USD
}
