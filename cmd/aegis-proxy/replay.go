package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// replayConfig is what the flags of replay say.
type replayConfig struct {
	Policies []string
	Prices   []string
	Keys     verifyConfig
	Partial  bool
	Balances bool
}

func newReplay() *cobra.Command {
	var c replayConfig
	cmd := &cobra.Command{
		Use:   "replay DIR|FILE ...",
		Short: "Recompute every verdict, cost, charge and balance from receipts, policies and price tables alone",
		Long: `Replay verifies receipts and then makes every decision and charge in them again,
offline and without a clock. Name the receipts of every replica, and every
policy that was in force. Files may be pipes, those of one log in their order,
with --keys. It exits 1 and names the receipts that do not follow,
the first one first.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return replay(cmd, c, args)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.Policies, "policy", nil, "policy file that was in force; repeat it for each version")
	f.StringArrayVar(&c.Prices, "prices", nil, "price table that was in force: a file, or the directory with the table/ and limits.json of another release's pricing")
	f.StringVar(&c.Keys.KeysPath, "keys", "", "keys file (default: keys.json in DIR or beside it)")
	c.Keys.signerFlag(f, "key file, to check HMAC seals; repeat it where they are by several")
	f.BoolVar(&c.Partial, "partial", false, "receipts that cannot be checked, for want of a policy, are no failure")
	f.BoolVar(&c.Balances, "balances", false, "print the balances that the receipts add up to, as JSON, and the rest on standard error")
	return cmd
}

// replayGC has the collector run less often: a replay allocates for every
// receipt and keeps few.
const replayGC = 400

func replay(cmd *cobra.Command, c replayConfig, paths []string) error {
	rules, err := c.rules()
	if err != nil {
		return err
	}
	debug.SetGCPercent(replayGC)
	replayer := gate.NewReplayer(rules...)
	if err := c.Keys.feed(cmd, cmd.OutOrStdout(), paths, replayer.Add); err != nil {
		return err
	}
	report := replayer.Close()
	out := cmd.OutOrStdout()
	if c.Balances {
		if err := printBalances(out, report); err != nil {
			return err
		}
		out = cmd.ErrOrStderr()
	}
	printReplay(out, report)
	c.printMissing(out, report, rules)
	if report.Faults > 0 || (len(report.Unchecked) > 0 && !c.Partial) {
		fmt.Fprintln(out, "NOT OK")
		return errReported
	}
	fmt.Fprintln(out, "ok: every receipt that could be recomputed follows")
	return nil
}

// rules are every policy on every price table.
func (c replayConfig) rules() ([]*gate.Rules, error) {
	if len(c.Policies) == 0 {
		return nil, errors.New("name the policies that were in force with --policy")
	}
	tables := []*pricing.Table{pricing.Builtin()}
	for _, dir := range c.Prices {
		table, err := readPrices(dir)
		if err != nil {
			return nil, fmt.Errorf("--prices %s: %w", dir, err)
		}
		tables = append(tables, table)
	}
	var list []*gate.Rules
	for _, path := range c.Policies {
		p, err := loadPolicy(path)
		if err != nil {
			return nil, err
		}
		for _, table := range tables {
			rules, err := gate.RulesOn(table, p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			list = append(list, rules)
		}
	}
	return list, nil
}

// readPrices is the table of a file, or of a release's directory.
func readPrices(path string) (*pricing.Table, error) {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return pricing.ReadFile(path)
	}
	return pricing.Read(os.DirFS(path))
}

// feed hands every receipt to take while it is verified. What is wrong with
// them goes to report. If it fails, what take has made of them is worth nothing:
// somebody may have changed them.
func (c verifyConfig) feed(cmd *cobra.Command, report io.Writer, paths []string, take func(audit.Receipt)) error {
	paths = receiptPaths(paths)
	sources, err := audit.Files(paths...)
	if err != nil {
		return fmt.Errorf("%w; name the receipts of every replica", err)
	}
	keys, err := c.allKeys(paths)
	if err != nil {
		return adviseKeys(err)
	}
	bar := newProgress(cmd.ErrOrStderr(), totalBytes(paths))
	found, err := audit.VerifyEach(cmd.Context(), sources, audit.VerifyOptions{Keys: keys, Progress: bar.show}, take)
	bar.clear()
	if err != nil {
		return err
	}
	if found.Lines == 0 {
		return fmt.Errorf("%s: no receipts are there", strings.Join(paths, ", "))
	}
	if !found.OK() {
		verifyConfig{}.printReport(report, found)
		return errReported
	}
	return nil
}

func printReplay(w io.Writer, r gate.ReplayReport) {
	for _, finding := range r.Findings {
		fmt.Fprintln(w, finding)
	}
	if more := r.Faults - int64(len(r.Findings)); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	for _, why := range slices.Sorted(maps.Keys(r.Unchecked)) {
		fmt.Fprintf(w, "not checkable: %d receipts: %s\n", r.Unchecked[why], why)
	}
	if r.Told > 0 {
		fmt.Fprintf(w, "note: %d receipts are taken as told: an outage, a bound nobody knows, or a copy of a lost receipt\n", r.Told)
	}
	if r.Counted > 0 {
		fmt.Fprintf(w, "note: %d denials are told as a count beside the first of their kind, and taken as told\n", r.Counted)
	}
	fmt.Fprintf(w, "receipts %d, tenants %d\n", r.Receipts, len(r.Tenants))
	fmt.Fprintf(w, "allowed %d\n", r.Allowed)
	for _, reason := range slices.Sorted(maps.Keys(r.Denied)) {
		fmt.Fprintf(w, "denied %d: %s\n", r.Denied[reason], reason)
	}
	for i, t := range r.Tenants {
		if i > 0 && r.Tenants[i-1].Tenant == t.Tenant {
			fmt.Fprintf(w, "note: tenant %s: its ledger was provisioned more than once: epochs %s and %s\n", t.Tenant, r.Tenants[i-1].Epoch, t.Epoch)
		}
		fmt.Fprintf(w, "tenant %s: %d events, spent %s\n", t.Tenant, t.Events, policy.USD(t.Spent))
		if t.Open > 0 {
			fmt.Fprintf(w, "note: tenant %s: %d leases have not ended; the oldest is %s, of event %d at %s\n",
				t.Tenant, t.Open, t.Oldest.Lease, t.Oldest.Event, time.UnixMilli(t.Oldest.At).UTC().Format(time.RFC3339))
		}
	}
}

// printMissing says which policies and prices to give, and which were given. A
// policy is known by the SHA-256 of its file.
func (c replayConfig) printMissing(w io.Writer, r gate.ReplayReport, given []*gate.Rules) {
	if len(r.MissingPolicies)+len(r.MissingPrices) == 0 {
		return
	}
	byGeneration := func(a, b budget.PolicyVersion) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Hash, b.Hash))
	}
	for _, v := range slices.SortedFunc(maps.Keys(r.MissingPolicies), byGeneration) {
		fmt.Fprintf(w, "missing: policy of generation %d, sha256 %s (%d receipts): name the file with that SHA-256 with --policy\n",
			v.Generation, v.Hash, r.MissingPolicies[v])
	}
	for _, v := range slices.Sorted(maps.Keys(r.MissingPrices)) {
		fmt.Fprintf(w, "missing: price table %s (%d receipts): name the pricing directory of the release that ran then with --prices\n",
			v, r.MissingPrices[v])
	}
	tables := len(given) / len(c.Policies) // each policy is on every table
	for i, rules := range given {
		v := rules.Policy.Version
		fmt.Fprintf(w, "given: %s of generation %d, sha256 %s, on price table %s\n",
			c.Policies[i/tables], v.Generation, v.Hash, rules.Prices.Version())
	}
}

// tenantBalances is one tenant of --balances. Money is nano-USD, in decimal
// text as in receipts; instants are milliseconds.
type tenantBalances struct {
	Tenant   string           `json:"tenant"`
	Epoch    string           `json:"epoch"`
	Event    int64            `json:"event"`
	At       int64            `json:"at"`
	Open     int64            `json:"open_leases"`
	Counters []counterBalance `json:"counters"`
}

type counterBalance struct {
	Key    string `json:"key"`
	Window string `json:"window"`
	Start  int64  `json:"start,omitempty"`
	End    int64  `json:"end,omitempty"`
	Spent  int64  `json:"spent,string"`
	Held   int64  `json:"held,string"`
}

func printBalances(w io.Writer, r gate.ReplayReport) error {
	list := []tenantBalances{}
	for _, t := range r.Tenants {
		list = append(list, balancesOf(t.State))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(list)
}

func balancesOf(state *budget.State) tenantBalances {
	s := state.Snapshot()
	b := tenantBalances{Tenant: s.Tenant, Epoch: s.Epoch, Event: s.Number, At: s.At, Counters: []counterBalance{}}
	for _, l := range s.Leases {
		if l.End == "" {
			b.Open++
		}
	}
	for _, c := range s.Counters {
		b.Counters = append(b.Counters, counterBalance{
			Key: c.Key, Window: string(c.Kind), Start: c.Span.Start, End: c.Span.End,
			Spent: c.SpentAt(s.At), Held: c.Held,
		})
	}
	return b
}
