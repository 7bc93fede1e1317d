package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// Files in the data directory.
const (
	signingKeyFile = "signing-key" // the private key, mode 0600
	keysFile       = "keys.json"   // what verifies receipts
	receiptsDir    = "receipts"    // the log
	ledgerDir      = "ledger"      // the embedded ledger
	outboxDir      = "outbox"      // endings that the ledger has not acknowledged
)

func newInit() *cobra.Command {
	var policyPath, dataDir, tenant, alg string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first policy, a tenant key and a signing key",
		Long: `Init writes a policy for the providers whose keys are in the environment (for
OpenAI and Anthropic if there are none), a tenant's key and a signing key. serve
reads the providers' keys from the same variables. A policy that is there stays: a
second data directory gets a signing key alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := wantNoKey(dataDir); err != nil {
				return adviseData(err, dataDir)
			}
			if _, err := os.Stat(policyPath); !errors.Is(err, fs.ErrNotExist) {
				return addData(cmd, policyPath, dataDir, alg)
			}
			secret, err := initialise(policyPath, dataDir, tenant, alg)
			if err != nil {
				return adviseData(err, dataDir)
			}
			fmt.Fprintf(cmd.OutOrStdout(), initText, policyPath, dataDir, tenant, secret, policyPath, dataDir, secret, secret, secret)
			return nil
		},
	}
	cmd.Flags().StringVar(&policyPath, "policy", "policy.yaml", "policy file to write")
	cmd.Flags().StringVar(&dataDir, "data", "aegis-data", "directory for ledger, receipts and signing key")
	cmd.Flags().StringVar(&tenant, "tenant", "default", "name of the first tenant")
	cmd.Flags().StringVar(&alg, "alg", audit.AlgEd25519, "how receipts are signed: ed25519 (anyone can verify) or hmac-sha256")
	return cmd
}

const initText = `Wrote %s and the signing key in %s.

The key of tenant %q, shown this once; the policy keeps only its SHA-256:

  %s

Next, with the providers' keys in the environment:
  aegis-proxy serve --policy %s --data %s
and in the application:
  OPENAI_BASE_URL=http://localhost:8080/v1
  OPENAI_API_KEY=%s
or, for Anthropic's API:
  ANTHROPIC_BASE_URL=http://localhost:8080
  ANTHROPIC_AUTH_TOKEN=%s
or, for Claude Code, Codex and other agents:
  AEGIS_PROXY_KEY=%s aegis-proxy run --proxy http://localhost:8080 -- claude
`

// wantNoKey refuses a data directory that has a signing key: it would be overwritten.
func wantNoKey(dataDir string) error {
	path := filepath.Join(dataDir, signingKeyFile)
	_, err := os.Stat(path)
	if err == nil {
		return fmt.Errorf("%s is there already, and init overwrites nothing: aegis-proxy serve can start with it; for a second data directory name another one with --data", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

const addDataText = `%s is there already and stays. Wrote the signing key in %s, where limits begin with
nothing spent: the ledger is a part of the data directory, unless it is shared.

Next, with the providers' keys in the environment:
  aegis-proxy serve --policy %s --data %s
`

// addData writes what serve needs beside a policy that is there.
func addData(cmd *cobra.Command, policyPath, dataDir, alg string) error {
	if cmd.Flags().Changed("tenant") {
		return fmt.Errorf("--tenant: %s is there already, and init overwrites nothing: write the tenant into it with a key that aegis-proxy keys new makes, or name another file with --policy", policyPath)
	}
	if _, err := loadPolicy(policyPath); err != nil {
		return err
	}
	if err := writeSigner(dataDir, alg); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), addDataText, policyPath, dataDir, policyPath, dataDir)
	return nil
}

// initialise writes everything that serve needs where there is nothing of it.
func initialise(policyPath, dataDir, tenant, alg string) (secret string, err error) {
	secret, hash := policy.NewSecret()
	text := firstPolicy(tenant, hash).Bytes()
	if _, err := policy.Parse(policyPath, text); err != nil {
		return "", err
	}
	if err := writeSigner(dataDir, alg); err != nil {
		return "", err
	}
	return secret, os.WriteFile(policyPath, text, 0o644)
}

// firstPolicy is a policy for the providers whose keys are in the environment; without
// any, for the two whose keys most people set first.
func firstPolicy(tenant string, hash [32]byte) *policy.Starter {
	vendors := keyedVendors()
	if len(vendors) == 0 {
		vendors = policy.Vendors()[:2]
	}
	return &policy.Starter{
		Generation: 1, Tenant: tenant, KeyID: "key-1", Hash: hash, Vendors: vendors,
		Budgets: []policy.StarterBudget{
			{Why: "A hard stop: what may cost more than is left is denied.", Name: "daily", Window: "day", Limit: 10e9},
			{Why: "A warning on the response, before that.", Name: "early", Window: "day", Limit: 8e9, Soft: true},
			{Why: "What one run of an agent may spend, if it names itself in x-aegis-run.", Name: "run", Scope: "run", Window: "forever", Limit: 2e9},
		},
	}
}

// writeSigner makes a signing key and the list of keys that verifiers trust.
func writeSigner(dataDir, alg string) error {
	signer, err := audit.NewSigner(alg)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	if err := audit.SaveSigner(filepath.Join(dataDir, signingKeyFile), signer); err != nil {
		return err
	}
	keys := audit.NewKeys(signer.Key())
	return os.WriteFile(filepath.Join(dataDir, keysFile), keys.Encode(), 0o644)
}
