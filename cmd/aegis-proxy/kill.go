package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/admin"
)

// killLimit is a little more than the proxy takes for an order at most.
const killLimit = 150 * time.Second

// killConfig is what the flags of kill say.
type killConfig struct {
	Address string
	Token   string
	Global  bool
	Order   admin.SwitchOrder
}

func newKill() *cobra.Command {
	cmd := newSwitchOrder("kill", "Stop requests at once: all, or those of a tenant, key or run", admin.Throw)
	cmd.Long = `Kill throws a switch at a running proxy. From the next request on, every replica
that shares its ledger denies what the switch stops, until it is lifted, also
after a restart. Requests in flight finish or are cut, as on_kill of the policy says.`
	cmd.AddCommand(
		newSwitchOrder("lift", "Take a kill switch back", admin.Lift),
		newSwitchList(),
	)
	return cmd
}

// newSwitchOrder returns a command that throws or lifts a switch.
func newSwitchOrder(use, short, action string) *cobra.Command {
	c := killConfig{Order: admin.SwitchOrder{Action: action}}
	cmd := &cobra.Command{
		Use:   use + " {--global | --tenant T [--key ID | --run NAME]}",
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := refuseEmpty(cmd, "tenant", "key", "run"); err != nil {
				return err
			}
			scope, err := c.scope()
			if err != nil {
				return err
			}
			c.Order.Scope = scope
			return c.send(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	c.addressFlags(cmd)
	f.BoolVar(&c.Global, "global", false, "every tenant, also those to come")
	f.StringVar(&c.Order.Tenant, "tenant", "", "this tenant")
	f.StringVar(&c.Order.Key, "key", "", "only this key of the tenant, by its id in the policy")
	f.StringVar(&c.Order.Run, "run", "", "only this run of the tenant, as the client names it")
	f.StringVar(&c.Order.Reason, "reason", "", "why, for the proxy's log")
	return cmd
}

func (c *killConfig) addressFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.Address, "admin", "http://127.0.0.1:8081", "the admin address of any replica")
	cmd.Flags().StringVar(&c.Token, "admin-token", "", "the proxy's admin token, if it has one")
}

// scope is what the flags name together.
func (c *killConfig) scope() (string, error) {
	o := c.Order
	switch {
	case c.Global && o.Tenant+o.Key+o.Run == "":
		return admin.ScopeGlobal, nil
	case c.Global, o.Tenant == "":
		return "", errors.New("say what to stop: --global, or --tenant T and perhaps one of --key ID and --run NAME")
	case o.Key != "" && o.Run != "":
		return "", errors.New("--key and --run are two switches; give one")
	case o.Key != "":
		return admin.ScopeKey, nil
	case o.Run != "":
		return admin.ScopeRun, nil
	}
	return admin.ScopeTenant, nil
}

func (c *killConfig) send(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	order, err := json.Marshal(c.Order)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(), bytes.NewReader(order))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	status, body, err := askProxy(req)
	if err != nil {
		return err
	}
	var result admin.SwitchResult
	if json.Unmarshal(body, &result) != nil {
		return refusedBy(status, body)
	}
	return printResult(w, &result)
}

func (c *killConfig) url() string { return adminAt(c.Address) + "/admin/v1/switches" }

// printResult fails unless every tenant is as it was ordered.
func printResult(w io.Writer, r *admin.SwitchResult) error {
	for _, f := range r.Failed {
		fmt.Fprintf(w, "failed: tenant %s: %s\n", f.Tenant, f.Error)
	}
	if !r.Done {
		return fmt.Errorf("not done: %d tenants are as ordered, %d failed; repeat the command", r.Tenants, r.Failing)
	}
	what := map[string]string{admin.Throw: "thrown at", admin.Lift: "lifted from"}[r.Action]
	fmt.Fprintf(w, "ok: switch %s is %s %s\n", r.Switch, what, counted(r.Tenants, "tenant"))
	return nil
}

func newSwitchList() *cobra.Command {
	var c killConfig
	var tenant string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List a tenant's thrown kill switches",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tenant == "" {
				return errors.New("say whose switches to list, with --tenant")
			}
			return c.list(cmd.Context(), cmd.OutOrStdout(), tenant)
		},
	}
	c.addressFlags(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", "", "whose; '*' for what holds for tenants to come")
	return cmd
}

func (c *killConfig) list(ctx context.Context, w io.Writer, tenant string) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url()+"?"+url.Values{"tenant": {tenant}}.Encode(), nil)
	if err != nil {
		return err
	}
	status, body, err := askProxy(req)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return refusedBy(status, body)
	}
	var thrown admin.Switches
	if err := json.Unmarshal(body, &thrown); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SWITCH\tEVENT\tTHROWN AT")
	for _, t := range thrown.Switches {
		fmt.Fprintf(table, "%s\t%d\t%s\n", t.Switch, t.Event, t.At)
	}
	return table.Flush()
}
