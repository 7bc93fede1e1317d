package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
)

// exampleLimit bounds how long a client of examples/actions runs.
const exampleLimit = time.Minute

// actionsPolicy gives one dollar to the key "aegis-script-test-key".
const actionsPolicy = `generation: 1
upstreams:
  - {name: none, base_url: "http://127.0.0.1:1/v1", provider: openai, cap_field: max_completion_tokens}
models:
  - {match: "*", upstreams: [none]}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "d09623623d80eedc090c10e98d38736eb4efa3e6a00063ccfd6cc257c884c63c"}]
    budgets: [{name: total, window: forever, limit_usd: "1"}]
`

// actionsHouse is a whole proxy on a listener, which can be closed and opened again.
type actionsHouse struct {
	t      *testing.T
	config stackConfig
	stack  *stack
	url    string
	close  func()
}

func openActions(t *testing.T, ledgerURL string) *actionsHouse {
	t.Helper()
	return openUnder(t, ledgerURL, actionsPolicy)
}

// openUnder opens a whole proxy under a policy.
func openUnder(t *testing.T, ledgerURL, policy string) *actionsHouse {
	t.Helper()
	dir := t.TempDir()
	h := &actionsHouse{t: t, config: stackConfig{
		PolicyPath: filepath.Join(dir, "policy.yaml"), DataDir: dir, LedgerURL: ledgerURL,
		AcceptWeak: true, Logger: slog.New(slog.DiscardHandler),
	}}
	if err := os.WriteFile(h.config.PolicyPath, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeSigner(dir, audit.AlgEd25519); err != nil {
		t.Fatal(err)
	}
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

func (h *actionsHouse) open() {
	h.t.Helper()
	var err error
	if h.stack, err = openStack(h.t.Context(), h.config); err != nil {
		h.t.Fatal(err)
	}
	if h.config.LedgerURL != "" {
		if err := h.stack.ledger.Provision(h.t.Context(), "acme"); err != nil {
			h.t.Fatal(err)
		}
	}
	front, err := openHouse(h.stack.front())
	if err != nil {
		h.t.Fatal(err)
	}
	h.url = front.url
	h.close = func() {
		front.close()
		if err := h.stack.close(); err != nil {
			h.t.Error(err)
		}
	}
}

// example runs a client and returns what it prints.
func (h *actionsHouse) example(program string, args ...string) (string, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), exampleLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = filepath.Join(root, "examples", "actions")
	cmd.Env = append(os.Environ(), "AEGIS_URL="+h.url, "TENANT_KEY=aegis-script-test-key", "PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=*")
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// TestExamplesOfActions runs the clients of examples/actions against a whole
// proxy with each ledger.
func TestExamplesOfActions(t *testing.T) {
	for name, url := range map[string]string{"embedded": "", "redis": redistest.Start(t).URL()} {
		t.Run(name, func(t *testing.T) {
			h := openActions(t, url)
			output, err := h.example("python3", "aegis_actions.py")
			for _, want := range []string{
				"authorization act-", "of aegis-proxy for actions/payment", "total has 0.75 left", `"outcome": "settle", "charged_usd": "0.21"`, `"outcome": "release", "charged_usd": "0.00"`,
				"denied: 402 insufficient_quota: aegis: ",
			} {
				if err != nil || !strings.Contains(output, want) {
					t.Fatalf("%v: no %q in\n%s", err, want, output)
				}
			}
			output, err = h.example("./pay.sh", "invoice-1", "0.25", "echo", "0.30")
			if err != nil || !strings.Contains(output, `"charged_usd":"0.30","held_usd":"0.25","overrun_usd":"0.05"`) {
				t.Fatalf("%v\n%s", err, output)
			}
			for id, want := range map[string]string{"invoice-1": "replayed_request", "invoice-2": "insufficient_quota"} {
				output, err = h.example("./pay.sh", id, "0.9", "touch", filepath.Join(t.TempDir(), "paid"))
				if err == nil || !strings.Contains(output, "denied: ") || !strings.Contains(output, want) {
					t.Errorf("%s: %v\n%s", id, err, output)
				}
			}
		})
	}
}

// TestActionsSurviveARestart: a lease of the process before is answered alike,
// and settled, by the next one.
func TestActionsSurviveARestart(t *testing.T) {
	for name, url := range map[string]string{"embedded": "", "redis": redistest.Start(t).URL()} {
		t.Run(name, func(t *testing.T) {
			h := openActions(t, url)
			const client = `
import os, sys
from aegis_actions import Actions
leave = Actions(os.environ["AEGIS_URL"], os.environ["TENANT_KEY"]).authorize("a", "tool", "0.4")
print(leave.lease, leave.settle("0.3")["charged_usd"] if len(sys.argv) > 1 else "")
`
			before, err := h.example("python3", "-c", client)
			if err != nil {
				t.Fatal(before)
			}
			h.close()
			h.open()
			after, err := h.example("python3", "-c", client, "settle")
			if err != nil || after != strings.TrimSpace(before)+" 0.30\n" {
				t.Fatalf("%v: %q after %q", err, after, before)
			}
		})
	}
}
