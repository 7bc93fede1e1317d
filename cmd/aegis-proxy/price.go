package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// priceConfig is what the flags of price say.
type priceConfig struct {
	Provider string
	Policy   string
	In, Out  int64
}

func newPrice() *cobra.Command {
	var c priceConfig
	cmd := &cobra.Command{
		Use:   "price MODEL",
		Short: "Price a request: its worst case, and its cost without cached input",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printPrice(cmd, c, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Provider, "provider", "openai", "whose prices")
	f.StringVar(&c.Policy, "policy", "", "policy file whose own prices go first")
	f.Int64Var(&c.In, "in", 0, "input tokens")
	f.Int64Var(&c.Out, "out", 0, "output tokens")
	return cmd
}

func printPrice(cmd *cobra.Command, c priceConfig, model string) error {
	table, err := c.table()
	if err != nil {
		return err
	}
	price, err := table.Lookup(c.Provider, model, time.Now())
	if err != nil {
		return err
	}
	worst, err := price.Worst(pricing.Bound{Input: c.In, Output: c.Out, CacheWrite: true})
	if err != nil {
		return err
	}
	cost, err := price.Cost(pricing.Usage{Input: c.In, Output: c.Out})
	if err != nil {
		return err
	}
	limits := table.Limits(c.Provider, model)
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "entry       %s\n", price.Entry())
	fmt.Fprintf(out, "cost        %s\n", policy.USD(cost))
	fmt.Fprintf(out, "worst case  %s\n", policy.USD(worst))
	fmt.Fprintf(out, "context     %s\n", tokens(limits.ContextTokens))
	fmt.Fprintf(out, "max output  %s\n", tokens(limits.MaxOutputTokens))
	fmt.Fprintf(out, "table       %s\n", table.Version())
	return nil
}

func (c priceConfig) table() (*pricing.Table, error) {
	if c.Policy == "" {
		return pricing.Builtin(), nil
	}
	p, err := loadPolicy(c.Policy)
	if err != nil {
		return nil, err
	}
	rules, err := gate.NewRules(p)
	if err != nil {
		return nil, err
	}
	return rules.Prices, nil
}

func tokens(n int64) string {
	if n == 0 {
		return "not known"
	}
	return fmt.Sprintf("%d tokens", n)
}
