package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/proxy"
)

// explainConfig is what the flags of policy explain say.
type explainConfig struct {
	Policy      string
	Tenant, Key string
	Run, Path   string
	Headers     []string
	Admin       string // "": no proxy is asked
}

func newPolicyExplain() *cobra.Command {
	var c explainConfig
	cmd := &cobra.Command{
		Use:   "explain REQUEST.json",
		Short: "Tell every rule's verdict on a request body, and what it would claim",
		Long: `Explain applies every rule of a tenant to a request body and tells all that they
say, where a proxy stops at the first denial; of what leaves the cost without a
bound it tells the first. It sends nothing and holds nothing. With --admin it asks a running proxy for the very counters of its claims
and for the thrown kill switches: what is left of each limit, and whether the
request's nonce is spent. It exits with 1 if the request would be denied.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.explain(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Policy, "policy", "policy.yaml", "policy file")
	f.StringVar(&c.Tenant, "tenant", "", "whose request it is; the tenant's first key makes it")
	f.StringVar(&c.Key, "key", "", "id of the key that makes it")
	f.StringVar(&c.Run, "run", "", "the run that it belongs to")
	f.StringVar(&c.Path, "path", "/v1/chat/completions", "the path that it is sent to: /v1/messages for Anthropic's API")
	f.StringArrayVar(&c.Headers, "header", nil, `a header of it, as in "X-Aegis-Depth: 2"; may be given again`)
	f.StringVar(&c.Admin, "admin", "", "a running proxy's admin address, to tell what is left")
	return cmd
}

func (c explainConfig) explain(ctx context.Context, w io.Writer, path string) error {
	p, err := loadPolicy(c.Policy)
	if err != nil {
		return err
	}
	rules, err := gate.NewRules(p)
	if err != nil {
		return err
	}
	key, err := c.caller(p)
	if err != nil {
		return err
	}
	now, err := c.now(ctx, key.Tenant)
	if err != nil {
		return err
	}
	e, err := c.assess(rules, key, path, now)
	if err != nil {
		return err
	}
	seen, err := c.ask(ctx, key.Tenant, e.Plan.Claims)
	if err != nil {
		return err
	}
	denied := printExplanation(w, key, e, seen)
	printPayer(w, p, &e.Facts)
	if denied {
		return errReported
	}
	return nil
}

// printPayer says what a request has to bring where its client pays, which explain takes for given.
func printPayer(w io.Writer, p *policy.Policy, f *call.Facts) {
	if u := p.Upstreams[f.Upstream]; u != nil && u.ClientPays {
		fmt.Fprintf(w, "\nthe client pays: upstream %s takes the credential that the request brings, beside the tenant's key in X-Aegis-Key or as /key/KEY in the base URL\n", u.Name)
	}
}

// caller returns the key that makes the request. A tenant without keys has one
// made up, which no key's limits concern.
func (c explainConfig) caller(p *policy.Policy) (*policy.Key, error) {
	if (c.Tenant == "") == (c.Key == "") {
		return nil, errors.New("name either --tenant or --key")
	}
	for _, t := range p.Tenants {
		for _, k := range t.Keys {
			if k.ID == c.Key || t.Name == c.Tenant {
				return k, nil
			}
		}
		if t.Name == c.Tenant {
			return &policy.Key{Tenant: t}, nil
		}
	}
	if c.Key != "" {
		// It is not shown: who takes it for the key itself has given a secret.
		return nil, fmt.Errorf("--key (or AEGIS_KEY): %s has no key of that id; aegis-proxy keys list shows them", c.Policy)
	}
	return nil, fmt.Errorf("--tenant %q: %s has no such tenant", c.Tenant, c.Policy)
}

// assess reads the request as the proxy would at that instant.
func (c explainConfig) assess(rules *gate.Rules, key *policy.Key, path string, now time.Time) (gate.Explanation, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return gate.Explanation{}, err
	}
	r, err := http.NewRequest(http.MethodPost, c.Path, bytes.NewReader(body))
	if err != nil {
		return gate.Explanation{}, fmt.Errorf("--path: %w", err)
	}
	for _, header := range c.Headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return gate.Explanation{}, fmt.Errorf("--header %q: write it as \"Name: value\"", header)
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if c.Run != "" {
		r.Header.Set("X-Aegis-Run", c.Run)
	}
	call, unbounded, err := proxy.Assess(dialects.All(), rules, key, r, body)
	if err != nil {
		return gate.Explanation{}, err
	}
	e := gate.Explain(call, now)
	if unbounded != nil {
		e.Unpriced = unbounded
	}
	return e, nil
}

// printBeside says what is in that cost beside the request's own input and output.
func printBeside(w io.Writer, f *call.Facts) {
	if f.InputRereads > 0 {
		fmt.Fprintf(w, "  %d tokens in are read in up to %d rounds\n", f.InputTokens, 1+f.InputRereads)
	}
	for i := range f.Beside {
		who := "tools at the provider"
		if model := f.Beside[i].Model; model != "" {
			who = "model " + strconv.QuoteToASCII(model)
		}
		fmt.Fprintf(w, "  %s: up to %s\n", who, f.Beside[i].Usage)
	}
}

// printExplanation reports whether the request would be denied. Under observe only a kill
// switch denies, and a cost that nobody knows.
func printExplanation(w io.Writer, key *policy.Key, e gate.Explanation, seen *ledgerView) (denied bool) {
	fmt.Fprintf(w, "tenant %s, key %s, mode %s\n", key.Tenant.Name, orDash(key.ID), key.Tenant.Mode)
	if e.Unpriced != nil {
		fmt.Fprintf(w, "model %s: denied, %s: %s\n", strconv.QuoteToASCII(e.Facts.Model), e.Unpriced.Reason, e.Unpriced.Message)
		printUnpriced(w, e.Unpriced.Reason)
	} else {
		input, _ := e.Facts.MostInput()
		fmt.Fprintf(w, "model %s at %s: at most %d tokens in, %d out, %s\n",
			strconv.QuoteToASCII(e.Facts.Model), e.Facts.Upstream, input, e.Facts.OutputTokens, policy.USD(e.Facts.Cost))
		printBeside(w, &e.Facts)
	}
	stops := seen.stops(e.Switches)
	verdicts, claims := printVerdicts(w, e, killVerdict(seen, stops)), printClaims(w, e, seen)
	return len(stops) > 0 || e.Unpriced != nil || (verdicts || claims) && key.Tenant.Mode == policy.Enforce
}

// printUnpriced adds what the denial leaves open.
func printUnpriced(w io.Writer, reason call.Reason) {
	if reason == policy.NoRoute {
		fmt.Fprintln(w, "  --path says which API is called: /v1/messages is Anthropic's")
	}
}

// printVerdicts begins with what the kill switches say, which go before all
// rules, and with where the request could go.
func printVerdicts(w io.Writer, e gate.Explanation, kill string) (denied bool) {
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODULE\tVERDICT\tWHY")
	fmt.Fprintf(table, "kill_switch\t%s\n", kill)
	fmt.Fprintf(table, "upstreams\t%s\n", routeVerdict(e))
	for _, v := range e.Verdicts {
		denied = denied || v.Denial != nil
		fmt.Fprintf(table, "%s\t%s\n", v.Module, moduleVerdict(e, v))
	}
	table.Flush()
	return denied
}

// ofBound are the rules that look at the bound of the cost, and at its calls of tools.
var ofBound = []string{"hosted_tools", "per_request_usd"}

// moduleVerdict is what a rule says. Without a bound those that look at it were not asked, and
// allow nothing.
func moduleVerdict(e gate.Explanation, v policy.Verdict) string {
	if e.Unpriced != nil && v.Denial == nil && slices.Contains(ofBound, v.Module) {
		return "-\tnot asked: the denial above comes first"
	}
	return verdictOf(v.Denial)
}

// routeVerdict is what the tenant's list of upstreams says, and with it that of
// providers, since each upstream has one.
func routeVerdict(e gate.Explanation) string {
	if e.Unpriced != nil && (e.Unpriced.Reason == policy.NoRoute || e.Unpriced.Reason == policy.UpstreamNotAllowed) {
		return verdictOf(e.Unpriced)
	}
	return allowed
}

// What a table says of a rule that allows, and of one of which nobody was asked.
const (
	allowed  = "allow\t-"
	notAsked = "-\t-"
)

func verdictOf(d *call.Denial) string {
	if d == nil {
		return allowed
	}
	return fmt.Sprintf("deny\t%s: %s", d.Reason, d.Message)
}

func printClaims(w io.Writer, e gate.Explanation, seen *ledgerView) (denied bool) {
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CLAIM\tCOUNTER\tAMOUNT\tLIMIT\tLEFT\tVERDICT\tWHY")
	for i, c := range e.Plan.Claims {
		need, left, verdict := e.Plan.AtMost(i), "-", notAsked
		if seen != nil {
			o := seen.Read[i].Observed()
			need = e.Plan.Needs(i, o)
			left = amountOf(e.Plan, i, max(0, e.Plan.Limit(i)-o.Spent-o.Held))
			d := e.Plan.Preview(i, o, seen.At)
			denied, verdict = denied || d != nil, verdictOf(d)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Plan.Rule(i), c.Key, needOf(e, i, need), amountOf(e.Plan, i, e.Plan.Limit(i)), left, verdict)
	}
	table.Flush()
	return denied
}

// needOf writes what a claim asks for.
func needOf(e gate.Explanation, i int, need int64) string {
	c := e.Plan.Claims[i]
	if e.Unpriced != nil && c.AtEnd == budget.Adjust {
		return "not known"
	}
	return e.Plan.Amount(i, need)
}

// amountOf writes an amount of a claim with a limit.
func amountOf(p policy.Plan, i int, n int64) string {
	if p.Limit(i) == budget.NoLimit {
		return "-" // soft budgets alone
	}
	return p.Amount(i, n)
}
