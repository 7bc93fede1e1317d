package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// priceConfig is what the flags of price say.
type priceConfig struct {
	Provider string
	Policy   string
	Prices   string // path of the table; "": the built-in one
	In, Out  int64
	Uses     map[string]int64
	Key      call.Key
}

func newPrice() *cobra.Command {
	var c priceConfig
	cmd := &cobra.Command{
		Use:   "price MODEL",
		Short: "Price a request: its worst case, its cost without cached input, and the prices of each unit",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printPrice(cmd, c, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Provider, "provider", "openai", "whose prices")
	f.StringVar(&c.Policy, "policy", "", "policy file whose own prices go first")
	f.StringVar(&c.Prices, "prices", "", "price table file, as serve has it (default: the built-in table)")
	f.Int64Var(&c.In, "in", 0, "input tokens")
	f.Int64Var(&c.Out, "out", 0, "output tokens")
	f.StringToInt64Var(&c.Uses, "use", nil, "other units that it uses, as cached_input=1000,searches=2; time is in milliseconds")
	f.StringVar(&c.Key.Service, "service", "", "service tier, as priority (default: the standard one)")
	f.StringVar(&c.Key.Variant, "variant", "", "variant of the model, as 720p")
	f.StringVar(&c.Key.Region, "region", "", "region that it is processed in")
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
	if price, err = price.For(c.Key); err != nil {
		return err
	}
	usage, parts, err := c.usage()
	if err != nil {
		return err
	}
	worst, err := price.Worst(0, parts...)
	if err != nil {
		return err
	}
	cost, err := price.Cost(usage)
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
	printRates(out, price)
	return nil
}

// printRates lists what each unit costs that has a price of its own.
func printRates(out io.Writer, price pricing.Price) {
	for over, rates := range price.Tiers() {
		if over > 0 {
			fmt.Fprintf(out, "over %d input tokens\n", over)
		}
		for u := range call.Units {
			if rates[u] != pricing.NoRate && !follows(rates, u) {
				fmt.Fprintf(out, "  %-20s %s USD per %d\n", u, pricing.FormatPrice(u, rates[u]), call.Table[u].Per)
			}
		}
	}
}

// follows reports whether a unit costs what another does that it falls back to, or
// nothing because it has no price.
func follows(rates pricing.Rates, u call.Unit) bool {
	for _, other := range call.Table[u].Else {
		if rates[other] == rates[u] {
			return true
		}
	}
	return call.Table[u].Free && rates[u] == 0
}

// usage is what the flags say that a request uses, and parts of a bound that this is within.
func (c priceConfig) usage() (u call.Usage, parts []call.Part, err error) {
	u[call.Input], u[call.Output] = c.In, c.Out
	parts = []call.Part{
		{Fixed: c.In, Kinds: call.Of(call.Input, call.CachedInput, call.CacheWrite, call.CacheWrite1h, call.CacheWrite12h)},
		{Fixed: c.Out, Kinds: call.Of(call.Output, call.Reasoning)},
	}
	for name, n := range c.Uses {
		unit, ok := call.ByName(name)
		if !ok {
			return u, parts, fmt.Errorf("--use %s: there is no such unit; there is %s", name, strings.Join(unitNames(), ", "))
		}
		u[unit] += n
		parts = append(parts, call.Part{Fixed: n, Kinds: call.Of(unit)})
	}
	return u, parts, nil
}

func unitNames() []string {
	names := make([]string, call.Units)
	for u := range call.Units {
		names[u] = u.String()
	}
	return names
}

func (c priceConfig) table() (*pricing.Table, error) {
	table, err := pricesAt(c.Prices)
	if err != nil || c.Policy == "" {
		return table, err
	}
	p, err := loadPolicy(c.Policy)
	if err != nil {
		return nil, err
	}
	rules, err := gate.RulesOn(table, p)
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
