package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// pricesConfig is what the flags of prices say.
type pricesConfig struct {
	Path     string // of the table in force; "": the built-in one
	Provider string
	Factor   int64
	Confirm  bool
}

func newPrices() *cobra.Command {
	return newGroup("prices", "Show the price table, compare it with a file, or bring it up to date by one",
		newPricesShow(), newPricesDiff(), newPricesUpdate(), newPricesConfirm())
}

// formsOfPrices says what files are taken.
const formsOfPrices = `FILE is a price table in the form of genai-prices (v2 JSON), of litellm, or in our own.
Those two are kept at github.com/pydantic/genai-prices, and at github.com/BerriAI/litellm
as model_prices_and_context_window.json.`

func newPricesShow() *cobra.Command {
	var c pricesConfig
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the table's version and providers, or a provider's models with their prices",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showPrices(cmd.OutOrStdout(), c)
		},
	}
	c.tableFlag(cmd)
	cmd.Flags().StringVar(&c.Provider, "provider", "", "whose models to list")
	return cmd
}

func newPricesDiff() *cobra.Command {
	var c pricesConfig
	cmd := &cobra.Command{
		Use:   "diff FILE",
		Short: "Show which prices an update by a file would change",
		Long:  formsOfPrices,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			old, err := pricesAt(c.Path)
			if err != nil {
				return err
			}
			updated, err := updateBy(old, args[0])
			if err != nil {
				return err
			}
			printChanges(cmd.OutOrStdout(), old.Changes(updated))
			fmt.Fprintf(cmd.OutOrStdout(), "table %s becomes %s\n", old.Version(), updated.Version())
			return nil
		},
	}
	c.tableFlag(cmd)
	return cmd
}

func newPricesUpdate() *cobra.Command {
	var c pricesConfig
	cmd := &cobra.Command{
		Use:   "update FILE",
		Short: "Write a price table with a newer one over it, for serve --prices",
		Long: formsOfPrices + `

What FILE prices wins, unit by unit; what it does not have stays. The table in
--prices, or else the built-in one, is brought up to date and written to
--prices. A proxy that serves with that file takes it within a second.

A price that becomes more than --factor times as much, or as little, or that is
gone, is refused until --confirm says that it is meant.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return updatePrices(cmd.OutOrStdout(), c, args[0])
		},
	}
	c.tableFlag(cmd)
	cmd.Flags().Int64Var(&c.Factor, "factor", pricing.DefaultFactor, "how many times a price may be another's without --confirm")
	cmd.Flags().BoolVar(&c.Confirm, "confirm", false, "change prices by more than --factor too")
	return cmd
}

func newPricesConfirm() *cobra.Command {
	var c pricesConfig
	cmd := &cobra.Command{
		Use:   "confirm VERSION",
		Short: "Confirm a price table that a running proxy refused, because prices leap",
		Long: `A proxy that serves with --prices keeps its table where a file that was put in the
place of the old one has a price that leaps. Its log names the prices, and the
VERSION of the file's table. This writes that version to a file beside the prices,
by the name with .confirmed at its end, and the proxy takes the table within a second.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return confirmVersion(cmd.OutOrStdout(), c.Path, args[0])
		},
	}
	c.tableFlag(cmd)
	return cmd
}

func (c *pricesConfig) tableFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.Path, "prices", "", "price table file that is in force (default: the built-in table)")
}

// pricesAt is the table of a file that --prices names; "": the built-in one.
func pricesAt(path string) (*pricing.Table, error) {
	if path == "" {
		return pricing.Builtin(), nil
	}
	table, err := pricing.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--prices: %w: aegis-proxy prices update writes it", err)
	}
	return table, err
}

// updateBy is what a file makes of a table.
func updateBy(old *pricing.Table, path string) (*pricing.Table, error) {
	newer, err := pricing.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return old.Update(newer, time.Now())
}

func showPrices(out io.Writer, c pricesConfig) error {
	table, err := pricesAt(c.Path)
	if err != nil {
		return err
	}
	if c.Provider == "" {
		fmt.Fprintf(out, "table %s\n", table.Version())
		if c.Path == "" {
			fmt.Fprintf(out, "prices of %s\n", pricing.AsOf)
		}
		for _, provider := range table.Providers() {
			fmt.Fprintf(out, "%-28s %s\n", provider, counted(len(table.Models(provider)), "name"))
		}
		return nil
	}
	if err := table.Sells(c.Provider); err != nil {
		return err
	}
	for _, model := range table.Models(c.Provider) {
		price, err := table.Lookup(c.Provider, model, time.Now())
		if err != nil {
			continue // it has none today
		}
		fmt.Fprintln(out, model)
		printRates(out, price)
	}
	return nil
}

func printChanges(out io.Writer, changes []pricing.Change) {
	for _, c := range changes {
		fmt.Fprintln(out, c)
	}
	fmt.Fprintln(out, changing(len(changes)))
}

// changing says how many prices change.
func changing(n int) string {
	if n == 1 {
		return "1 price changes"
	}
	return fmt.Sprintf("%d prices change", n)
}

func updatePrices(out io.Writer, c pricesConfig, path string) error {
	if c.Path == "" {
		return errors.New("say with --prices which file to write, the one that serve --prices names")
	}
	if c.Factor < 1 {
		return errors.New("--factor: want a whole number of at least 1")
	}
	old, err := pricesAt(c.Path)
	if errors.Is(err, fs.ErrNotExist) { // it will be made of the built-in one
		old, err = pricing.Builtin(), nil
	}
	if err != nil {
		return err
	}
	updated, err := updateBy(old, path)
	if err != nil {
		return err
	}
	changes := old.Changes(updated)
	if leaps := old.Leaps(updated, c.Factor); len(leaps) > 0 && !c.Confirm {
		printChanges(out, leaps)
		return fmt.Errorf("%s by more than a factor of %d, and nothing was written: look, and say --confirm if that is meant", changing(len(leaps)), c.Factor)
	}
	data, err := updated.Bytes()
	if err != nil {
		return err
	}
	if len(old.Leaps(updated, pricing.DefaultFactor)) > 0 { // these were meant; said before the prices, which a proxy else refuses
		if err := confirmPrices(c.Path, updated); err != nil {
			return err
		}
	}
	if err := replaceFile(c.Path, data); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\ntable %s is in %s\n", changing(len(changes)), updated.Version(), c.Path)
	return nil
}

// confirmVersion confirms the table at path if it is the one that was looked at.
func confirmVersion(out io.Writer, path, version string) error {
	if path == "" {
		return errors.New("say with --prices which file to confirm, the one that serve --prices names")
	}
	table, err := pricesAt(path)
	if err != nil {
		return err
	}
	if table.Version() != version {
		return fmt.Errorf("%s has the table %s, and not %s: nothing was confirmed", path, table.Version(), version)
	}
	if err := confirmPrices(path, table); err != nil {
		return err
	}
	fmt.Fprintf(out, "table %s is confirmed in %s\n", version, pricing.Confirmation(path))
	return nil
}

// confirmPrices says that the prices of a table that is at path, or will be, may leap.
func confirmPrices(path string, table *pricing.Table) error {
	return replaceFile(pricing.Confirmation(path), []byte(table.Version()+"\n"))
}

// replaceFile writes a file so that a reader sees the old or the new one, whole.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
