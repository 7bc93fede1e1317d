package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// exportConfig is what the flags of export say.
type exportConfig struct {
	Tenant string
	Policy string
	Keys   verifyConfig
	To     int64
}

// signersUsage is what the flag is for where something is signed from receipts.
const signersUsage = "key file to sign with (default: signing-key in DIR or beside it); repeat it for HMAC keys that sealed receipts"

func newExport() *cobra.Command {
	var c exportConfig
	cmd := &cobra.Command{
		Use:   "export --tenant T DIR|FILE ...",
		Short: "Print a signed envelope of the OxDeAI protocol: a tenant's decisions and state under one policy, from receipts",
		Long: `Export verifies the receipts of every replica, folds those of one tenant, and
prints a verification envelope that any verifier of the OxDeAI protocol takes.
A missing receipt is an error. docs/decision.md says what is in it.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return export(cmd, c, args) },
	}
	f := cmd.Flags()
	f.StringVar(&c.Tenant, "tenant", "", "tenant to export")
	f.StringVar(&c.Policy, "policy", "policy.yaml", "policy that was in force; the envelope ends where another one came into force")
	f.Int64Var(&c.To, "to", 0, "number of the tenant's last event to count (default: all)")
	f.StringVar(&c.Keys.KeysPath, "keys", "", "keys file (default: keys.json in DIR or beside it)")
	c.Keys.signerFlag(f, signersUsage)
	return cmd
}

func export(cmd *cobra.Command, c exportConfig, paths []string) error {
	if c.Tenant == "" {
		return errors.New("name the tenant with --tenant")
	}
	authority, err := c.Keys.oneAuthority(paths[0])
	if err != nil {
		return err
	}
	exporter, err := c.exporter(authority)
	if err != nil {
		return err
	}
	if err := c.Keys.feed(cmd, cmd.ErrOrStderr(), paths, exporter.Add); err != nil {
		return err
	}
	exported, err := exporter.Close()
	if err != nil {
		return err
	}
	note := cmd.ErrOrStderr()
	fmt.Fprintf(note, "tenant %s as of its event %d: %d events of the protocol\n", c.Tenant, exported.Event, exported.Events)
	if exported.Left > 0 {
		fmt.Fprintf(note, "note: the %d oldest receipts do not fit and are left out; export them with --to\n", exported.Left)
	}
	if exported.Counted > 0 {
		fmt.Fprintf(note, "note: %d denials more are told in the receipts as a count, for which the protocol has no event\n", exported.Counted)
	}
	_, err = cmd.OutOrStdout().Write(exported.Envelope)
	return err
}

func (c exportConfig) exporter(authority *gate.Authority) (*gate.Exporter, error) {
	p, err := loadPolicy(c.Policy)
	if err != nil {
		return nil, err
	}
	rules, err := gate.RulesOn(pricing.Builtin(), p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Policy, err)
	}
	exporter, err := gate.NewExporter(gate.ExportConfig{Tenant: c.Tenant, Rules: rules, Authority: authority, To: c.To})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Policy, err)
	}
	return exporter, nil
}
