// Command library asks a model a question under a budget, in the program itself:
// without the proxy, through package gate.
//
//	OPENAI_API_KEY=sk-... go run ./examples/library "What is a lease?"
//
// It keeps ledger, receipts and keys where aegis-proxy serve would, so the
// receipts can be checked and recomputed at once:
//
//	aegis-proxy verify aegis-data
//	aegis-proxy replay aegis-data --policy examples/library/policy.yaml
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("library", flag.ContinueOnError)
	policyPath := flags.String("policy", "examples/library/policy.yaml", "who may spend what")
	data := flags.String("data", "aegis-data", "directory for ledger, receipts and signing key")
	tenant := flags.String("tenant", "me", "whose budgets")
	model := flags.String("model", "gpt-4o-mini", "model to ask")
	stream := flags.Bool("stream", false, "print the answer as it comes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	source, err := policy.Watch(ctx, *policyPath, nil, func(err error) { slog.Error("policy", "err", err) })
	if err != nil {
		return err
	}
	defer source.Close()
	g, err := openGate(ctx, source, *data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	question := question{model: *model, text: flags.Arg(0), stream: *stream}
	return ask(ctx, g, out, *tenant, question)
}

// openGate builds a gate on files in a directory.
func openGate(ctx context.Context, source gate.Policies, dir string) (*gate.Gate, error) {
	signer, err := loadSigner(dir)
	if err != nil {
		return nil, err
	}
	ledger, err := embedded.Open(embedded.Config{Dir: filepath.Join(dir, "ledger")})
	if err != nil {
		return nil, err
	}
	log, err := audit.Open(audit.Config{Dir: filepath.Join(dir, "receipts"), Signer: signer})
	if err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	outbox, err := gate.OpenOutbox(filepath.Join(dir, "outbox"), slog.Default())
	if err != nil {
		return nil, errors.Join(err, log.Close(), ledger.Close())
	}
	return gate.Open(ctx, gate.Config{Policy: source, Ledger: ledger, Log: log, Outbox: outbox})
}

// loadSigner reads the directory's signing key, or makes one, and sees to it
// that the keys file is there.
func loadSigner(dir string) (audit.Signer, error) {
	path := filepath.Join(dir, "signing-key")
	signer, err := audit.LoadSigner(path)
	if errors.Is(err, fs.ErrNotExist) {
		signer, err = newSigner(path)
	}
	if err != nil {
		return nil, err
	}
	return signer, publishKey(filepath.Join(dir, "keys.json"), signer.Key())
}

func newSigner(path string) (audit.Signer, error) {
	signer, err := audit.NewSigner(audit.AlgEd25519)
	if err != nil {
		return nil, err
	}
	return signer, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), audit.SaveSigner(path, signer))
}

// publishKey writes what others verify the receipts with, unless it is there.
func publishKey(path string, key audit.Key) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, audit.NewKeys(key).Encode(), 0o644)
}

// ask puts a question under a tenant's budgets and prints the answer with what
// it cost and what is left.
func ask(ctx context.Context, g *gate.Gate, out io.Writer, tenant string, q question) error {
	tokens, err := q.inputTokens()
	if err != nil {
		return err
	}
	result, err := gate.Call(ctx, g, gate.Request{
		Tenant: tenant, Model: q.model, Stream: q.stream,
		Input: gate.Input{Tokens: tokens, How: "bytes"},
	}, func(ctx context.Context, grant *gate.Grant) (string, gate.Outcome, error) {
		return q.send(ctx, grant, out)
	})
	if err != nil {
		return err // a *gate.Refusal says which budget, and when it resets
	}
	fmt.Fprintln(out, result.Value)
	fmt.Fprintf(out, "cost %s, receipt %s\n", policy.USD(result.Charge), result.Receipt)
	for _, r := range result.Remaining {
		fmt.Fprintf(out, "budget %q has %s of %s left\n", r.Budget, policy.USD(r.Left), policy.USD(r.Limit))
	}
	return nil
}
