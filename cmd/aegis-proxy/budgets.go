package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/admin"
)

// askLimit bounds a question to a running proxy.
const askLimit = 10 * time.Second

func newBudgets() *cobra.Command {
	var address, key, run, user string
	cmd := &cobra.Command{
		Use:   "budgets TENANT",
		Short: "Show spent, held and limit of a tenant's budgets, from a running proxy",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return errors.New("TENANT is empty: give the name that the policy has")
			}
			query := url.Values{"tenant": args, "key": {key}, "run": {run}, "user": {user}}
			balances, err := askBudgets(cmd.Context(), address, query)
			if err != nil {
				return err
			}
			return printBudgets(cmd.OutOrStdout(), balances)
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "admin", "http://127.0.0.1:8081", "the proxy's admin address")
	f.StringVar(&key, "key", "", "only this key's budgets of scope key")
	f.StringVar(&run, "run", "", "show this run's budgets too")
	f.StringVar(&user, "user", "", "show this end user's budgets too")
	return cmd
}

func askBudgets(ctx context.Context, address string, query url.Values) (*admin.Balances, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	address = adminAt(address) + "/admin/v1/budgets?" + query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	status, body, err := askProxy(req)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refusedBy(status, body)
	}
	var balances admin.Balances
	return &balances, json.Unmarshal(body, &balances)
}

// adminAt is the URL of an admin address, which may be as --admin-listen has it.
func adminAt(address string) string {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return strings.TrimSuffix(address, "/")
}

// maxAnswer bounds a proxy's answer, in bytes.
const maxAnswer = 16 << 20

// askProxy sends a request to a running proxy's admin address.
func askProxy(req *http.Request) (status int, body []byte, err error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("no answer from the proxy; is it running, and is --admin its admin address? %w", err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// refusedBy is the error of an answer that is a refusal. Its text speaks of the
// question as it was asked over HTTP.
func refusedBy(status int, body []byte) error {
	advice := ""
	switch status {
	case http.StatusNotFound:
		advice = "; aegis-proxy keys list shows the tenants and keys of a policy"
	case http.StatusUnauthorized:
		advice = " (--admin-token, or AEGIS_ADMIN_TOKEN)"
	}
	return fmt.Errorf("the proxy says: %s%s", strings.TrimSpace(string(body)), advice)
}

func printBudgets(w io.Writer, b *admin.Balances) error {
	fmt.Fprintf(w, "tenant %s at %s, open leases %d\n", b.Tenant, b.At, b.Open)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BUDGET\tSCOPE\tKIND\tSPENT\tHELD\tLIMIT\tRESETS AT")
	for _, v := range b.Budgets {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s USD\t%s USD\t%s USD\t%s\n", v.Budget, v.Scope, v.Kind, v.Spent, v.Held, v.Limit, orDash(v.ResetsAt))
	}
	for _, v := range b.Counts {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", v.Rule, v.Scope, v.Unit, v.Spent, v.Held, v.Limit, orDash(v.ResetsAt))
	}
	return table.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
