package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const (
	// demoOnTerminal is how long the demo takes where somebody watches.
	demoOnTerminal = 12 * time.Second
	// demoElsewhere is how long it takes in a script.
	demoElsewhere = 2 * time.Second
	// demoLimit bounds the demo: a promise that is not kept may also hang.
	demoLimit = 2 * time.Minute
	// restLimit bounds the wait until nothing is held any more.
	restLimit = 10 * time.Second
)

func newDemo() *cobra.Command {
	var length time.Duration
	var dir string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the hard stop on a simulated provider, without a key",
		Long: `Demo runs a simulated provider, the real proxy with the embedded ledger, and
three tenants that spend until their budgets stop them. Then it checks every
promise: it exits 0 only if all were kept. It listens on loopback alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			if length == 0 {
				length = demoElsewhere
				if isTerminal(out) {
					length = demoOnTerminal
				}
			}
			return demo(cmd.Context(), out, dir, length)
		},
	}
	cmd.Flags().DurationVar(&length, "length", 0, "about how long the tenants spend (default: 12s on a terminal, else 2s)")
	cmd.Flags().StringVar(&dir, "keep", "", "new directory to leave policy, ledger and receipts in (default: a temporary one, removed)")
	return cmd
}

// demo is the whole story: tenants spend until they are stopped, everything
// comes to rest, and the receipts are held against what really happened.
func demo(ctx context.Context, out io.Writer, dir string, length time.Duration) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	dir, remove, err := demoDir(dir)
	if err != nil {
		return err
	}
	defer remove()
	stage, err := openStage(ctx, dir, length)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, demoOpening, stage.upstream.url, stage.front.url)
	played := stage.play(ctx, newScreen(out))
	standings, rested := stage.rest(ctx)
	if err := errors.Join(played, rested, stage.close()); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	proof, err := prove(ctx, out, stage, standings)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return proof.print(out)
}

const demoOpening = `
aegis-proxy demo: a simulated provider on %s,
the real proxy on %s, and three tenants:

  customer   buys with 4 users at once; requests that are held wait in line
  batch      8 workers, a provider that sends 429s, a budget for half of the job
  agent      loops in run "refactor", its context growing, then does run "changelog"

`

// demoDir makes the directory of the demo's files.
func demoDir(keep string) (dir string, remove func(), err error) {
	if keep != "" {
		if err := os.Mkdir(keep, 0o700); err != nil {
			return "", nil, fmt.Errorf("--keep wants a directory that is not there yet: %w", err)
		}
		return keep, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "aegis-demo")
	return dir, func() { os.RemoveAll(dir) }, err
}

// rest waits until no lease is open, and returns where every budget stands.
func (s *stage) rest(ctx context.Context) ([]standing, error) {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		standings, open, err := s.standings(ctx)
		if err != nil || open == 0 {
			return standings, err
		}
		select {
		case <-ctx.Done():
			return standings, nil // held at rest: the summary says so
		case <-tick.C:
		}
	}
}
