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
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret, err := initialise(policyPath, dataDir, tenant, alg)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), initText, policyPath, dataDir, tenant, secret, policyPath, dataDir, secret)
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

Next:
  OPENAI_API_KEY=... aegis-proxy serve --policy %s --data %s
and in the application:
  OPENAI_BASE_URL=http://localhost:8080/v1
  OPENAI_API_KEY=%s
`

// initialise writes everything that serve needs, and overwrites nothing.
func initialise(policyPath, dataDir, tenant, alg string) (secret string, err error) {
	for _, path := range []string{policyPath, filepath.Join(dataDir, signingKeyFile)} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s is there already: remove it, or name other places with --policy and --data", path)
		}
	}
	secret, hash := policy.NewSecret()
	text := policy.Starter(tenant, hash)
	if _, err := policy.Parse(policyPath, text); err != nil {
		return "", err
	}
	if err := writeSigner(dataDir, alg); err != nil {
		return "", err
	}
	return secret, os.WriteFile(policyPath, text, 0o644)
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
