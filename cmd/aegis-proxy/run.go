package main

import (
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
	Budget    string // USD
	DataDir   string
	Upstreams []string // NAME=URL
	limit     int64    // Budget in nano-USD
}

func newRun() *cobra.Command {
	var c runConfig
	cmd := &cobra.Command{
		Use:   "run --budget USD -- COMMAND [ARGUMENT...]",
		Short: "Run a coding agent, or any program, under a budget",
		Long: `Run starts a proxy on loopback and a program that goes through it: Claude Code,
Codex, aider, or whatever reads OPENAI_BASE_URL or ANTHROPIC_BASE_URL. Providers'
keys are taken from the environment and never reach the program. All that it
starts has one budget together. When it ends, run says what it spent, and exits
with its exit code.

    aegis-proxy run --budget 5 -- claude
    aegis-proxy run --budget 5 -- codex
    aegis-proxy run --budget 5 -- python app.py`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.check(); err != nil {
				return &exitCode{exitFailed, err}
			}
			code, err := c.run(cmd, args)
			if err == nil && code == 0 {
				return nil
			}
			if _, coded := errors.AsType[*exitCode](err); coded {
				return err
			}
			return &exitCode{cmpCode(code), err}
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&c.Budget, "budget", "", "the most that the program and all that it starts may spend, in USD, as 5 or 0.50")
	f.StringVar(&c.DataDir, "data", "", "directory for ledger and receipts (default: aegis-proxy in XDG_STATE_HOME)")
	f.StringSliceVar(&c.Upstreams, "upstream", nil, "an API elsewhere, as NAME=URL: openai=http://localhost:8000/v1, ollama=http://localhost:11434/v1")
	return cmd
}

// cmpCode is the exit code of a run that failed itself where its program has none.
func cmpCode(code int) int {
	if code == 0 {
		return exitFailed
	}
	return code
}

// check reads what was given as text.
func (c *runConfig) check() (err error) {
	if c.Budget == "" {
		return errors.New("say how much may be spent, as in --budget 5")
	}
	if c.limit, err = policy.ParseUSD(c.Budget); err != nil {
		return fmt.Errorf("--budget: %w", err)
	}
	if c.DataDir == "" {
		c.DataDir, err = stateDir()
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
	path, err := findProgram(args[0])
	if err != nil {
		return 0, err
	}
	a := agentOf(args[0])
	vendors, err := c.vendors(a)
	if err != nil {
		return 0, err
	}
	ctx := context.WithoutCancel(cmd.Context())
	name := runName(a.name, time.Now())
	s, err := openSession(ctx, filepath.Join(c.DataDir, "runs", name), name, vendors, c.limit)
	if err != nil {
		return 0, err
	}
	code, err = runProgram(a.command(path, args, s.door))
	st, failed := s.end(ctx)
	if st != nil {
		failed = errors.Join(failed, st.print(cmd.ErrOrStderr()))
	}
	return code, errors.Join(err, failed)
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
