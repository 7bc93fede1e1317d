package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

func newAuthorization() *cobra.Command {
	var keys verifyConfig
	cmd := &cobra.Command{
		Use:   "authorization RECEIPT-ID DIR|FILE ...",
		Short: "Print the signed authorization that follows from the receipt of an allowed request",
		Long: `Authorization verifies the receipts and signs what follows from one of them. With
the key that sealed the receipt it is the same, byte for byte, as an upstream
with attach_authorization got in X-Aegis-Authorization (there in base64), or an
agent from /aegis/v1/authorize. For an action that was asked for again, name the
receipts of every replica: the one that granted it is looked for.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			authorities, err := keys.authorities(args[1])
			if err != nil {
				return err
			}
			paths := receiptPaths(args[1:])
			if err := keys.feed(cmd, cmd.ErrOrStderr(), paths, func(audit.Receipt) {}); err != nil {
				return err
			}
			sources, err := audit.Files(paths...)
			if err != nil {
				return err
			}
			text, err := authorizationOf(args[0], sources, authorities)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&keys.KeysPath, "keys", "", "keys file (default: keys.json in DIR or beside it)")
	keys.signerFlag(cmd.Flags(), signersUsage)
	return cmd
}

// authorizationOf signs with the key that sealed the receipt. With another its
// authorization would be another one.
func authorizationOf(id string, sources []audit.Source, authorities []*gate.Authority) ([]byte, error) {
	decision, seal, err := findDecision(id, sources)
	if err != nil {
		return nil, err
	}
	if seal.Alg == audit.AlgHMAC {
		return nil, fmt.Errorf("receipt %s has no authorization: it is sealed with %s, and nobody without the secret could check one",
			id, audit.AlgHMAC)
	}
	i := slices.IndexFunc(authorities, func(a *gate.Authority) bool { return a.KeyID() == seal.Kid })
	if i < 0 {
		return nil, fmt.Errorf("receipt %s is sealed with key %s, not with %s: name that key with --signing-key", id, seal.Kid, authorities[0].KeyID())
	}
	auth, err := authorities[i].Authorize(id, decision)
	if err == nil && decision.Existing {
		err = checkGrant(decision, sources)
	}
	if err != nil {
		return nil, fmt.Errorf("receipt %s: %w", id, err)
	}
	return oxdeai.Canonical(auth)
}

// checkGrant finds the receipt that granted a repeated action's lease, and holds
// the repeat against that.
func checkGrant(again audit.Decision, sources []audit.Source) error {
	var copied *audit.Event
	for r, err := range audit.Read(sources...) {
		if err != nil {
			return err
		}
		switch b := r.Body.(type) {
		case audit.Decision:
			if b.Lease == again.Lease && b.Epoch == again.Epoch && b.Verdict == audit.Allow && !b.Existing {
				return gate.CheckRepeat(&b, &again)
			}
		case audit.Event:
			if b.Lease == again.Lease && b.Epoch == again.Epoch && b.Name == string(budget.Granted) {
				copied = &b
			}
		}
	}
	if copied == nil {
		return errors.New("it repeats an action whose grant is in none of these files; name the receipts of every replica")
	}
	return gate.CheckCopiedRepeat(copied, &again)
}

// findDecision reads up to the decision's receipt and the seal that covers it,
// and returns that too.
func findDecision(id string, sources []audit.Source) (d audit.Decision, seal audit.Seal, err error) {
	chain := ""
	for r, err := range audit.Read(sources...) {
		if err != nil {
			return d, seal, err
		}
		if seal, ok := r.Body.(audit.Seal); ok && r.Chain == chain {
			return d, seal, nil
		}
		if r.ID() != id {
			continue
		}
		decision, ok := r.Body.(audit.Decision)
		if !ok {
			return d, seal, fmt.Errorf("receipt %s is of no decision", id)
		}
		d, chain = decision, r.Chain
	}
	return d, seal, fmt.Errorf("no receipt %s is in these files", id)
}
