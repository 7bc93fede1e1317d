package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// runConfig is what the flags of run say.
type runConfig struct {
	Budget    string // USD; "": none
	Daily     string // the same
	DataDir   string
	Upstreams []string // NAME=URL
	Proxy     string   // URL; "": the providers
	KeyFile   string
	Prices    string // file; "": the built-in table

	limit, daily int64 // Budget and Daily in nano-USD
}

func newRun() *cobra.Command {
	var c runConfig
	cmd := &cobra.Command{
		Use:   "run [--budget USD] [--daily USD] [--proxy URL] -- COMMAND [ARGUMENT...]",
		Short: "Run a coding agent, or any program, under a budget",
		Long: `Run starts a proxy on loopback and a program that goes through it: Claude Code,
Codex, Gemini CLI, aider, or whatever reads OPENAI_BASE_URL, ANTHROPIC_BASE_URL or
GOOGLE_GEMINI_BASE_URL. Providers' keys are taken from the environment and never
reach the program. All that it starts has one budget together. When it ends, run
says what it spent, and exits with its exit code.

    aegis-proxy run --budget 5 -- claude
    aegis-proxy run --budget 5 -- codex -m gpt-5.4
    aegis-proxy run --budget 5 -- gemini
    aegis-proxy run --budget 5 -- python app.py`,
		Args: func(cmd *cobra.Command, args []string) error { return notBegun(cobra.MinimumNArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.check(); err != nil {
				return notBegun(err)
			}
			code, err := c.run(cmd, args)
			if err == nil && code == 0 {
				return nil
			}
			if _, coded := errors.AsType[*exitCode](err); coded {
				return err
			}
			return &exitCode{failedCode(code), err}
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return notBegun(refuseFlag(cmd, err)) })
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&c.Budget, "budget", "", "the most that the program and all that it starts may spend, in USD, as 5 or 0.50")
	f.StringVar(&c.Daily, "daily", "", "the most that all runs with this flag may spend in a day, in USD")
	f.StringVar(&c.Proxy, "proxy", "", "URL of a proxy to go through, as a team's; its key stands in AEGIS_PROXY_KEY, or in --key-file")
	f.StringVar(&c.KeyFile, "key-file", "", "file with the key of --proxy")
	f.StringVar(&c.DataDir, "data", "", "directory for ledger and receipts (default: aegis-proxy in XDG_STATE_HOME)")
	f.StringVar(&c.Prices, "prices", "", "price table file, as prices update writes it, for models that the built-in table does not know")
	f.StringSliceVar(&c.Upstreams, "upstream", nil, "an API elsewhere, as NAME=URL: openai=http://localhost:8000/v1, ollama=http://localhost:11434/v1")
	return cmd
}

// notBegun gives what is wrong with the command line the code of a run whose program did
// not begin: 1 could be the program's own.
func notBegun(err error) error {
	if err == nil {
		return nil
	}
	return &exitCode{exitFailed, err}
}

// failedCode is the exit code of a run that failed itself: its program's, if that failed
// too.
func failedCode(code int) int { return cmp.Or(code, exitFailed) }

// check reads what was given as text.
func (c *runConfig) check() (err error) {
	switch {
	case c.Budget == "" && c.Daily == "" && c.Proxy == "":
		return errors.New("say how much may be spent, as in --budget 5 or --daily 20")
	case c.Proxy != "" && c.Daily != "":
		return errors.New("--proxy and --daily: what a day may cost there is for that proxy's policy to say; leave one out")
	case c.Proxy != "" && len(c.Upstreams) > 0:
		return errors.New("--proxy and --upstream: that proxy's policy says where requests go; leave one out")
	case c.Proxy == "" && c.KeyFile != "":
		return errors.New("--key-file is for --proxy; name that too, or leave it out")
	}
	for _, amount := range []struct {
		flag, text string
		into       *int64
	}{{"budget", c.Budget, &c.limit}, {"daily", c.Daily, &c.daily}} {
		if amount.text == "" {
			continue
		}
		if *amount.into, err = policy.ParseUSD(amount.text); err != nil {
			return fmt.Errorf("--%s: %w", amount.flag, err)
		}
		if *amount.into == 0 {
			return fmt.Errorf("--%s: 0 would deny every call; write what may be spent, as in 5 or 0.50", amount.flag)
		}
	}
	if c.Prices != "" {
		if c.Prices, err = filepath.Abs(c.Prices); err != nil {
			return err
		}
	}
	return c.place()
}

// place finds the directory of ledger and receipts. What PATH takes for two directories is
// refused: agents that another program starts would go past the proxy.
func (c *runConfig) place() (err error) {
	if c.DataDir == "" {
		c.DataDir, err = stateDir()
	} else {
		c.DataDir, err = filepath.Abs(c.DataDir) // the program may go elsewhere
	}
	if err == nil && strings.ContainsRune(c.DataDir, os.PathListSeparator) {
		return fmt.Errorf("the directory for ledger and receipts may have no %q in its path, since PATH has to name one in it: %s; give another with --data",
			os.PathListSeparator, c.DataDir)
	}
	return err
}

// stateDir is where a user's programs keep what outlives them.
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "aegis-proxy"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no directory for ledger and receipts: %w; name one with --data", err)
	}
	return filepath.Join(home, ".local", "state", "aegis-proxy"), nil
}

// run runs the program and says what it spent. The code is the program's.
func (c *runConfig) run(cmd *cobra.Command, args []string) (code int, err error) {
	a := agentOf(args[0])
	if err := a.refusal(); err != nil {
		return 0, notBegun(err)
	}
	path, err := findProgram(args[0])
	if err != nil {
		return 0, err
	}
	ctx := context.WithoutCancel(cmd.Context())
	name := runName(a.name, time.Now())
	if unencrypted(c.Proxy) {
		fmt.Fprintln(cmd.ErrOrStderr(), "aegis: --proxy begins with http:// and is not on this machine: whoever is on the way there can read the key and all that is asked; use https://")
	}
	g, err := c.governor(ctx, a, name)
	if err != nil {
		return 0, err
	}
	d := g.door()
	own := filepath.Join(c.DataDir, "runs", name)
	defer os.Remove(own) // where nothing else is in it
	defer os.RemoveAll(filepath.Join(own, wrapperDir))
	d.bin, err = writeWrappers(filepath.Join(own, wrapperDir), d)
	signals, unheard := hear()
	defer unheard()
	if err == nil {
		code, err = runProgram(a.command(path, args, d), signals)
	}
	ctx, cancel := impatient(ctx, signals)
	defer cancel()
	st, failed := g.end(ctx)
	if st != nil {
		failed = errors.Join(failed, st.print(cmd.ErrOrStderr()))
	}
	return code, errors.Join(err, failed)
}

// governor is what the program of a run goes through.
type governor interface {
	door() doorway
	// end ends it, once the calls have ended, or, where the context ends, at once. It
	// says what was spent; nil: that is not known.
	end(context.Context) (*statement, error)
}

// governor is the run's own proxy, behind which may be a shared one; or a team's alone,
// where the run has no budget of its own.
func (c *runConfig) governor(ctx context.Context, a agent, name string) (g governor, err error) {
	if c.Proxy != "" {
		team, err := openShared(ctx, c.Proxy, c.KeyFile)
		if err != nil {
			return nil, err
		}
		if c.Budget == "" {
			return &guest{team, name}, nil
		}
		vendors, err := team.through(keyVendors(), name)
		if err != nil {
			return nil, err
		}
		return c.session(ctx, name, vendors)
	}
	vendors, err := c.vendors(a)
	if err != nil {
		return nil, err
	}
	if c.Daily == "" {
		return c.session(ctx, name, vendors)
	}
	d, err := joinDay(ctx, dayConfig{filepath.Join(c.DataDir, dayDir), c.Prices}, vendors, c.daily)
	if err != nil {
		return nil, err
	}
	if vendors, err = d.through(vendors, name); err == nil {
		if g, err = c.session(ctx, name, vendors); err == nil {
			return &dayRun{g, d}, nil
		}
	}
	d.leave()
	return nil, err
}

// session opens the run's own proxy.
func (c *runConfig) session(ctx context.Context, name string, vendors []policy.Vendor) (governor, error) {
	var budgets []policy.StarterBudget
	if c.Budget != "" {
		budgets = append(budgets, policy.StarterBudget{Why: "What the run may spend.", Name: runBudget, Window: "forever", Limit: c.limit})
	}
	s, err := openSession(ctx, sessionConfig{
		Dir: filepath.Join(c.DataDir, "runs", name), Run: name, Prices: c.Prices, Vendors: vendors, Budgets: budgets,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// vendors are the APIs that the agent may call.
func (c *runConfig) vendors(a agent) ([]policy.Vendor, error) {
	vendors, err := reachedVendors(c.Upstreams)
	if err != nil {
		return nil, err
	}
	speaks := func(v policy.Vendor) bool { return a.dialect == "" || v.Speaks() == a.dialect }
	if !slices.ContainsFunc(vendors, speaks) {
		return nil, fmt.Errorf("%s calls an API like %s's, and there is no key for one in the environment: set %s_API_KEY, or name a server with --upstream",
			a.name, a.dialect, strings.ToUpper(a.dialect))
	}
	return vendors, nil
}

// command is the agent's command line, with the proxy in its environment.
func (a agent) command(path string, args []string, d doorway) *exec.Cmd {
	cmd := exec.Command(path)
	cmd.Args = args[:1:1]
	if a.args != nil {
		cmd.Args = append(cmd.Args, a.args(d)...)
	}
	cmd.Args = append(cmd.Args, args[1:]...)
	cmd.Env = a.environment(os.Environ(), d)
	return cmd
}

// runName names a run by its program and when it began, as no other one is named.
func runName(program string, now time.Time) string {
	var bits [3]byte
	rand.Read(bits[:]) // never fails
	plain := strings.Map(func(r rune) rune {
		if r < 0x80 && policy.IsName(string(r)) {
			return r
		}
		return '-'
	}, program)
	return plain[:min(len(plain), 24)] + now.Format("-20060102-150405-") + hex.EncodeToString(bits[:])
}
