package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func newPolicy() *cobra.Command {
	return newGroup("policy", "Check a policy file, or explain what it says of a request", newPolicyCheck(), newPolicyExplain())
}

// loadPolicy reads a policy file that a flag or argument names.
func loadPolicy(path string) (*policy.Policy, error) {
	p, err := policy.Load(path)
	return p, explainMissing(err)
}

// explainMissing says what to do where there is no policy file.
func explainMissing(err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: write one with aegis-proxy init, or name another", err)
}

func newPolicyCheck() *cobra.Command {
	var prices string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Report everything that is wrong with a policy file",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := loadPolicy(args[0])
			if err == nil {
				err = checkPrices(p, args[0], prices)
			}
			if err != nil {
				return tellProblems(cmd, args[0], err)
			}
			keys := 0
			for _, t := range p.Tenants {
				keys += len(t.Keys)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "ok: generation %d, %s, %s, %s, %s\n", p.Version.Generation,
				counted(len(p.Upstreams), "upstream"), counted(len(p.Models), "model"), counted(len(p.Tenants), "tenant"), counted(keys, "key"))
			for _, note := range p.NoFallbacks() {
				fmt.Fprintln(cmd.OutOrStdout(), "note:", note)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&prices, "prices", "", "price table file, as serve --prices names it (default: the built-in table)")
	return cmd
}

// tellProblems tells what is wrong in a file in lines that all begin with its name, as editors read
// them: the program's own does not stand before the first.
func tellProblems(cmd *cobra.Command, path string, err error) error {
	if !strings.HasPrefix(err.Error(), path+":") {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), err)
	return errReported
}

// checkPrices combines a policy with a price table, and tells where that leaves an upstream
// at which everything would be denied.
func checkPrices(p *policy.Policy, path, prices string) error {
	table, err := pricesAt(prices)
	if err != nil {
		return err
	}
	rules, err := gate.RulesOn(table, p)
	if err != nil {
		return err
	}
	problems := append(rules.Unpriced(), rules.Unpaid(time.Now())...)
	for i, err := range problems {
		problems[i] = fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(problems...)
}
