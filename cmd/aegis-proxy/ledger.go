package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

func newLedger() *cobra.Command {
	return newGroup("ledger", "Provision a shared ledger, or rebuild one from receipts", newProvision(), newRebuild())
}

func newProvision() *cobra.Command {
	var c stackConfig
	cmd := &cobra.Command{
		Use:   "provision",
		Short: "Make the policy's tenants exist in a shared ledger; those that exist stay as they are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.LedgerURL == "" {
				return errors.New("name the shared ledger with --ledger; the embedded one is provisioned by serve")
			}
			return provision(cmd.Context(), cmd.OutOrStdout(), c)
		},
	}
	cmd.Flags().StringVar(&c.PolicyPath, "policy", "policy.yaml", "policy file")
	ledgerFlags(cmd, &c)
	return cmd
}

func ledgerFlags(cmd *cobra.Command, c *stackConfig) {
	cmd.Flags().StringVar(&c.LedgerURL, "ledger", "", "redis://, rediss:// or unix:// URL of the shared ledger")
	cmd.Flags().BoolVar(&c.AcceptWeak, "accept-weak-durability", false, "go on although Redis is not configured to keep what it acknowledges")
}

func provision(ctx context.Context, w io.Writer, c stackConfig) error {
	p, err := loadPolicy(c.PolicyPath)
	if err != nil {
		return err
	}
	l, err := openLedger(ctx, c)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := reachable(ctx, l); err != nil {
		return err
	}
	names := make([]string, len(p.Tenants))
	for i, t := range p.Tenants {
		names[i] = t.Name
	}
	if err := l.Provision(ctx, names...); err != nil {
		return err
	}
	fmt.Fprintf(w, "ok: %d tenants exist in the ledger\n", len(names))
	return nil
}

func newRebuild() *cobra.Command {
	var c stackConfig
	var keys verifyConfig
	cmd := &cobra.Command{
		Use:   "rebuild [RECEIPTS ...]",
		Short: "Restore balances that a ledger has lost, from the receipts of every replica",
		Long: `Rebuild folds receipts into balances and writes them to the ledger: the shared
one that --ledger names, else the embedded one in --data. Name the receipts of
every replica; the default is those in --data. It refuses receipts with gaps,
and a ledger that knows more than they say. Stop the replicas first.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{c.DataDir}
			}
			return rebuild(cmd.Context(), cmd.OutOrStdout(), c, keys, receiptPaths(args))
		},
	}
	cmd.Flags().StringVar(&c.DataDir, "data", "aegis-data", "directory of the embedded ledger and its receipts")
	cmd.Flags().StringVar(&keys.KeysPath, "keys", "", "keys file (default: keys.json in the receipts' directory or beside it)")
	keys.signerFlag(cmd.Flags(), "key file, to check HMAC seals, beside signing-key in the receipts' data directory; repeat it for each")
	ledgerFlags(cmd, &c)
	return cmd
}

func rebuild(ctx context.Context, w io.Writer, c stackConfig, keys verifyConfig, receipts []string) error {
	sources, err := audit.Files(receipts...)
	if err != nil {
		return fmt.Errorf("%w; name the receipts of every replica", err)
	}
	if err := sound(ctx, w, keys, sources, receipts); err != nil {
		return err
	}
	states, err := gate.Rebuild(audit.Read(sources...))
	if err != nil {
		return err
	}
	if c.LedgerURL == "" {
		if err := os.MkdirAll(filepath.Join(c.DataDir, ledgerDir), 0o700); err != nil {
			return err
		}
	}
	l, err := openLedger(ctx, c)
	if err != nil {
		return err
	}
	if err := reachable(ctx, l); err != nil {
		return errors.Join(err, l.Close())
	}
	for _, state := range states {
		if err := l.Restore(ctx, state); err != nil {
			return errors.Join(fmt.Errorf("tenant %s: %w", state.Tenant, explainExists(err)), l.Close())
		}
		fmt.Fprintf(w, "tenant %s: restored to event %d\n", state.Tenant, state.Number)
	}
	return l.Close()
}

// sound refuses receipts that do not verify: balances are not restored from
// what somebody may have altered.
func sound(ctx context.Context, w io.Writer, c verifyConfig, sources []audit.Source, receipts []string) error {
	keys, err := c.allKeys(receipts)
	if errors.Is(err, errNoKeys) {
		return fmt.Errorf("%w: put the one there that init wrote for whoever signed these receipts", err)
	}
	if err != nil {
		return err
	}
	for _, path := range receipts {
		signer, err := audit.LoadSigner(filepath.Join(filepath.Dir(filepath.Clean(path)), signingKeyFile))
		if err == nil { // an HMAC key checks only with its secret
			keys[signer.Key().ID] = signer.Key()
		}
	}
	report, err := audit.Verify(ctx, sources, audit.VerifyOptions{Keys: keys})
	if err != nil {
		return err
	}
	if !report.OK() {
		verifyConfig{}.printReport(w, report)
		return errors.New("the receipts do not verify; nothing was restored")
	}
	return nil
}

// explainExists says what to do where a ledger holds what receipts do not tell.
func explainExists(err error) error {
	if !errors.Is(err, budget.ErrExists) {
		return err
	}
	return fmt.Errorf("%w; name the receipts of every replica, or, if the tenant was provisioned anew after the loss, delete its keys from the ledger first", err)
}
