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
	"github.com/aegis-proxy/aegis-proxy/policy"
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
		return "", errors.New("say what to stop or to list: --global, or --tenant T and perhaps one of --key ID and --run NAME")
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
	cmd := &cobra.Command{
		Use:   "list {--global | --tenant T [--key ID | --run NAME]}",
		Short: "List a tenant's thrown kill switches, or that of a key or run if it is thrown",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := refuseEmpty(cmd, "tenant", "key", "run"); err != nil {
				return err
			}
			want, err := c.listed()
			if err != nil {
				return err
			}
			return c.list(cmd.Context(), cmd.OutOrStdout(), want)
		},
	}
	c.addressFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&c.Global, "global", false, "what is thrown for every tenant, also those to come; the same as --tenant '*'")
	f.StringVar(&c.Order.Tenant, "tenant", "", "whose")
	f.StringVar(&c.Order.Key, "key", "", "only that of this key, by its id in the policy")
	f.StringVar(&c.Order.Run, "run", "", "only that of this run, as the client names it")
	return cmd
}

// everyTenant is whose record has what holds for tenants to come.
const everyTenant = "*"

// listed is the tenant whose switches to list, and the one of them that is asked for, "" for all.
type listed struct{ tenant, name string }

// listed reads the flags of list.
func (c *killConfig) listed() (listed, error) {
	if c.Order.Tenant == "" && !c.Global {
		return listed{}, errors.New("say whose switches to list, with --tenant T, or --global")
	}
	if c.Order.Tenant == everyTenant && c.Order.Key+c.Order.Run == "" {
		return listed{tenant: everyTenant}, nil
	}
	scope, err := c.scope()
	if err != nil {
		return listed{}, err
	}
	switch scope {
	case admin.ScopeGlobal:
		return listed{tenant: everyTenant}, nil
	case admin.ScopeKey:
		return listed{c.Order.Tenant, policy.KeySwitch(c.Order.Key)}, nil
	case admin.ScopeRun:
		return listed{c.Order.Tenant, policy.RunSwitch(c.Order.Run)}, nil
	}
	return listed{tenant: c.Order.Tenant}, nil
}

func (c *killConfig) list(ctx context.Context, w io.Writer, want listed) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url()+"?"+url.Values{"tenant": {want.tenant}}.Encode(), nil)
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
		if want.name != "" && t.Switch != want.name {
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", t.Switch, t.Event, t.At)
	}
	return table.Flush()
}
