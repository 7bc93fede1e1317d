package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

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
	cmd.Flags().StringVar(&c.LedgerURL, "ledger", "", "redis://, rediss://, redis+sentinel:// or unix:// URL of the shared ledger")
	c.LedgerTLS.flags(cmd.Flags())
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

// rebuildConfig is what the flags of rebuild say.
type rebuildConfig struct {
	stackConfig
	Keys    verifyConfig
	Tenants []string // none: all
	Replace bool     // what the ledger refuses of Tenants
}

func newRebuild() *cobra.Command {
	var c rebuildConfig
	cmd := &cobra.Command{
		Use:   "rebuild [RECEIPTS ...]",
		Short: "Restore balances that a ledger has lost, from the receipts of every replica",
		Long: `Rebuild folds receipts into balances and writes them to the ledger: the shared
one that --ledger names, else the embedded one in --data. Name the receipts of
every replica; the default is those in --data. Stop the replicas first.

Each tenant is restored whole or not at all. One whose receipts have a gap, or of
which the ledger knows more than they say, is refused, the others are restored, and
rebuild exits 1. --tenant restores it later, once its receipts are found.

A shared ledger that forgot some events of a tenant, as in a failover, and made others
of their numbers has two histories of it. The tenant is refused, and the receipts tell
both. --replace-refused restores the tenants named by --tenant nevertheless: what any
receipt tells counts, in place of what the ledger has. A tenant that the ledger serves
is never replaced.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseEmpty(cmd, "tenant"); err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{c.DataDir}
			}
			if c.Replace && (len(c.Tenants) == 0 || c.LedgerURL == "") {
				return errors.New("--replace-refused is for tenants of a shared ledger: name them with --tenant, and the ledger with --ledger")
			}
			return rebuild(cmd.Context(), cmd.OutOrStdout(), c, receiptPaths(args))
		},
	}
	cmd.Flags().StringVar(&c.DataDir, "data", "aegis-data", "directory of the embedded ledger and its receipts")
	cmd.Flags().StringVar(&c.Keys.KeysPath, "keys", "", "keys file (default: keys.json in the receipts' directory or beside it)")
	c.Keys.signerFlag(cmd.Flags(), "key file, to check HMAC seals, beside signing-key in the receipts' data directory; repeat it for each")
	cmd.Flags().StringSliceVar(&c.Tenants, "tenant", nil, "restore these tenants alone; may be repeated")
	cmd.Flags().BoolVar(&c.Replace, "replace-refused", false, "restore the tenants of --tenant over what the ledger refuses as lost, also from receipts of two histories")
	ledgerFlags(cmd, &c.stackConfig)
	return cmd
}

func rebuild(ctx context.Context, w io.Writer, c rebuildConfig, receipts []string) error {
	sources, err := audit.Files(receipts...)
	if err != nil {
		return fmt.Errorf("%w; name the receipts of every replica", err)
	}
	if err := sound(ctx, w, c.Keys, sources, receipts); err != nil {
		return err
	}
	rebuilt, err := gate.Rebuild(audit.Merge(sources...), c.Tenants...)
	if err == nil && c.Replace {
		rebuilt, err = joined(rebuilt, sources)
	}
	if err != nil {
		return err
	}
	l, err := emptyLedger(ctx, c.stackConfig)
	if err != nil {
		return err
	}
	write := l.Restore
	if over, ok := l.(replacer); ok && c.Replace {
		write = over.Replace
	}
	return errors.Join(restore(ctx, w, write, rebuilt), l.Close())
}

// replacer is a ledger that can be told to write over what it refuses.
type replacer interface {
	Replace(ctx context.Context, state *budget.State) error
}

// joined has tenants whose history has parted restored from all of it.
func joined(rebuilt gate.Rebuilt, sources []audit.Source) (gate.Rebuilt, error) {
	var parted []string
	rebuilt.Refused = slices.DeleteFunc(rebuilt.Refused, func(r gate.Refused) bool {
		if errors.Is(r.Err, gate.ErrParted) {
			parted = append(parted, r.Tenant)
			return true
		}
		return false
	})
	if len(parted) == 0 {
		return rebuilt, nil
	}
	both, err := gate.Join(audit.Merge(sources...), parted...)
	rebuilt.States = append(rebuilt.States, both.States...)
	rebuilt.Refused = append(rebuilt.Refused, both.Refused...)
	return rebuilt, err
}

// emptyLedger opens the ledger to restore, which need not be there yet.
func emptyLedger(ctx context.Context, c stackConfig) (gate.Ledger, error) {
	if c.LedgerURL == "" {
		if err := os.MkdirAll(filepath.Join(c.DataDir, ledgerDir), 0o700); err != nil {
			return nil, err
		}
	}
	l, err := openLedger(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := reachable(ctx, l); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// restore writes each tenant's balances, and says what became of each.
func restore(ctx context.Context, w io.Writer, write func(context.Context, *budget.State) error, rebuilt gate.Rebuilt) error {
	refused := rebuilt.Refused
	for i := range refused {
		refused[i].Err = explainRefused(refused[i].Err)
	}
	for _, state := range rebuilt.States {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := write(ctx, state); err != nil {
			refused = append(refused, gate.Refused{Tenant: state.Tenant, Err: explainRefused(err)})
			continue
		}
		fmt.Fprintf(w, "tenant %s: restored to event %d\n", state.Tenant, state.Number)
	}
	for _, r := range refused {
		fmt.Fprintf(w, "tenant %s: not restored: %v\n", r.Tenant, r.Err)
	}
	if len(refused) > 0 {
		return fmt.Errorf("%d of %d tenants were not restored; they are refused until they are",
			len(refused), len(rebuilt.States)+len(rebuilt.Refused))
	}
	return nil
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
	report, err := audit.Verify(ctx, sources, audit.VerifyOptions{Keys: keys, ChainsAlone: true})
	if err != nil {
		return err
	}
	if !report.OK() {
		verifyConfig{}.printReport(w, report)
		return errors.New("the receipts do not verify; nothing was restored")
	}
	return nil
}

// explainRefused says what to do where a ledger holds what receipts do not tell, or they
// tell two histories.
func explainRefused(err error) error {
	if errors.Is(err, gate.ErrParted) {
		return fmt.Errorf("%w; --tenant NAME --replace-refused restores it from both", err)
	}
	if !errors.Is(err, budget.ErrExists) {
		return err
	}
	return fmt.Errorf("%w; name the receipts of every replica, or, if the ledger refuses the tenant as lost, say --tenant NAME --replace-refused; if the tenant was provisioned anew after the loss, delete its keys from the ledger first", err)
}
