package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/report"
)

// reportConfig is what the flags of report say.
type reportConfig struct {
	From, To  string
	By        []string
	Timezone  string
	WouldDeny bool
	Format    string
	Focus     bool
	Keys      verifyConfig
}

func newReport() *cobra.Command {
	var c reportConfig
	cmd := &cobra.Command{
		Use:   "report DIR|FILE ...",
		Short: "Add up what was spent, by tenant, key, model, upstream, run and more, from receipts",
		Long: `Report verifies the receipts of every replica and adds up what was spent. A charge
belongs to the instant at which its request was decided, as in a ledger's
windows, so that the sum of a window is the ledger's. What expired is charged
its hold, until a correction replaces that. Runs and users are the hashes that
receipts have of them.`,
		Example: "  aegis-proxy report --from 2026-11-01 --to 2026-12-01 --by tenant,model aegis-data\n" +
			"  aegis-proxy report --would-deny --by tenant aegis-data",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return reportOn(cmd, c, args) },
	}
	f := cmd.Flags()
	f.StringVar(&c.From, "from", "", "first instant, as 2026-11-01 or 2026-11-01T12:00:00Z (default: the first receipt's)")
	f.StringVar(&c.To, "to", "", "end, exclusive (default: the last receipt's)")
	f.StringSliceVar(&c.By, "by", []string{"tenant", "model"}, "what rows are told by, of "+strings.Join(report.Dimensions(), ", "))
	f.StringVar(&c.Timezone, "timezone", "UTC", "where days and months begin, as Europe/Berlin")
	f.BoolVar(&c.WouldDeny, "would-deny", false, "only what a tenant in mode observe was let pass, by its reason")
	f.StringVar(&c.Format, "format", "table", "table, csv or json")
	f.BoolVar(&c.Focus, "focus", false, "CSV with the columns of FOCUS 1.2, a row a day, tenant, upstream and model, and what --by names beside")
	f.StringVar(&c.Keys.KeysPath, "keys", "", "keys file (default: keys.json in DIR or beside it)")
	c.Keys.signerFlag(f, "key file, to check HMAC seals; repeat it where they are by several")
	return cmd
}

func reportOn(cmd *cobra.Command, c reportConfig, paths []string) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	write, err := c.writer()
	if err != nil {
		return err
	}
	reporter, err := report.Of(q)
	if err != nil {
		return err
	}
	if err := c.Keys.feed(cmd, cmd.ErrOrStderr(), paths, reporter.Add); err != nil {
		return err
	}
	found, err := reporter.Close()
	if err != nil {
		return err
	}
	noteGaps(cmd.ErrOrStderr(), found)
	return write(cmd.OutOrStdout(), found)
}

// query is what the flags ask for.
func (c *reportConfig) query() (q report.Query, err error) {
	if q.Zone, err = time.LoadLocation(c.Timezone); err != nil || c.Timezone == "" || c.Timezone == "Local" {
		return q, fmt.Errorf("--timezone %q is no time zone; write a name of the IANA database, as UTC or Europe/Berlin", c.Timezone)
	}
	if q.From, err = instant("--from", c.From, q.Zone); err != nil {
		return q, err
	}
	if q.To, err = instant("--to", c.To, q.Zone); err != nil {
		return q, err
	}
	q.By, q.WouldDeny = c.By, c.WouldDeny
	if c.Focus {
		if c.WouldDeny {
			return q, fmt.Errorf("--focus is of what was spent; leave out --would-deny")
		}
		q.By = focusBy(c.By)
	}
	return q, nil
}

// instant reads a day, in a zone, or an instant; the zero time for none.
func instant(flag, text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := beginning(text, zone); err == nil {
		return at, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%s %q is no day and no instant; write 2026-11-01 or 2026-11-01T12:00:00Z", flag, text)
	}
	return at, nil
}

// beginning is when a day begins in a zone: at midnight, or where clocks leap over that, at the first instant that is
// of the day.
func beginning(day string, zone *time.Location) (time.Time, error) {
	at, err := time.ParseInLocation(time.DateOnly, day, zone)
	for i := 0; i < 4 && err == nil && at.Format(time.DateOnly) != day; i++ {
		at = at.Add(30 * time.Minute) // no zone leaps by less
	}
	return at, err
}

// writer is how the report is printed.
func (c *reportConfig) writer() (func(io.Writer, *report.Report) error, error) {
	if c.Focus {
		return focusWriter(c.Timezone)
	}
	write := map[string]func(io.Writer, *report.Report) error{"table": reportTable, "csv": reportCSV, "json": reportJSON}[c.Format]
	if write == nil {
		return nil, fmt.Errorf("--format %q is none; take table, csv or json", c.Format)
	}
	return write, nil
}

// noteGaps says what the receipts lack, for which a sum may be too low.
func noteGaps(w io.Writer, r *report.Report) {
	for _, tenant := range slices.Sorted(maps.Keys(r.Missing)) {
		fmt.Fprintf(w, "note: tenant %s: no receipt tells of %s of its ledger, so that the sums may be too low; name the receipts of every replica\n",
			tenant, counted(int(r.Missing[tenant]), "event"))
	}
	if r.Lost > 0 {
		fmt.Fprintf(w, "note: the decisions of %d calls are in no receipt: they have their tenant alone\n", r.Lost)
	}
}
