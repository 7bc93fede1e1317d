package main

import (
	"context"
	"os"
	"syscall"
	"testing"
)

// TestImpatient: only what tells us to end ends the wait, and not what was for the program.
func TestImpatient(t *testing.T) {
	for _, row := range []struct {
		name          string
		before, after os.Signal
		ends          bool
	}{
		{"interrupted again", syscall.SIGINT, syscall.SIGINT, true},
		{"told to end", nil, syscall.SIGTERM, true},
		{"interrupted once", syscall.SIGINT, nil, false},
		{"resized", nil, syscall.SIGWINCH, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			signals := make(chan os.Signal, 4)
			if row.before != nil {
				signals <- row.before
			}
			ctx, cancel := impatient(t.Context(), signals)
			defer cancel()
			if row.after != nil {
				signals <- row.after
			}
			if row.ends {
				<-ctx.Done()
			}
			if ended := context.Cause(ctx) != nil; ended != row.ends {
				t.Errorf("ended: %v", ended)
			}
		})
	}
}
