package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

func newAuthorization() *cobra.Command {
	var keyPath string
	var keys verifyConfig
	cmd := &cobra.Command{
		Use:   "authorization RECEIPT-ID DIR|FILE ...",
		Short: "Print the signed authorization that follows from the receipt of an allowed request",
		Long: `Authorization verifies the receipts and signs what follows from one of them. With
the key that sealed the receipt it is the same, byte for byte, as an upstream
with attach_authorization got in X-Aegis-Authorization (there in base64), or an
agent from /aegis/v1/authorize.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			paths := receiptPaths(args[1:])
			if err := keys.feed(cmd, cmd.ErrOrStderr(), paths, func(audit.Receipt) {}); err != nil {
				return err
			}
			sources, err := audit.Files(paths...)
			if err != nil {
				return err
			}
			text, err := authorizationOf(args[0], sources, keyPath, args[1])
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&keys.KeysPath, "keys", "", "keys file (default: keys.json in DIR or beside it)")
	addSigningKey(cmd, &keyPath)
	return cmd
}

// authorizationOf signs with the named key, or with the one that belongs to
// the directory. It refuses a key that did not seal the receipt: its
// authorization would be another one.
func authorizationOf(id string, sources []audit.Source, keyPath, dir string) ([]byte, error) {
	decision, kid, err := findDecision(id, sources)
	if err != nil {
		return nil, err
	}
	authority, err := findAuthority(keyPath, dir)
	if err != nil {
		return nil, err
	}
	if authority.KeyID() != kid {
		return nil, fmt.Errorf("receipt %s is sealed with key %s, not with %s: name that key with --signing-key", id, kid, authority.KeyID())
	}
	auth, err := authority.Authorize(id, decision)
	if err != nil {
		return nil, fmt.Errorf("receipt %s: %w", id, err)
	}
	return oxdeai.Canonical(auth)
}

// findDecision reads up to the decision's receipt and the seal that covers it,
// and returns the id of the seal's key.
func findDecision(id string, sources []audit.Source) (d audit.Decision, kid string, err error) {
	chain := ""
	for r, err := range audit.Read(sources...) {
		if err != nil {
			return d, "", err
		}
		if seal, ok := r.Body.(audit.Seal); ok && r.Chain == chain {
			return d, seal.Kid, nil
		}
		if r.ID() != id {
			continue
		}
		decision, ok := r.Body.(audit.Decision)
		if !ok {
			return d, "", fmt.Errorf("receipt %s is of no decision", id)
		}
		d, chain = decision, r.Chain
	}
	return d, "", fmt.Errorf("no receipt %s is in these files", id)
}
