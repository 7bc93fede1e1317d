package main

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestSharedKeyIsNoFlag: the variable that has a tenant's key sets no flag. A command whose
// flag took it would take the key for an id, and tell it to whom it asks.
func TestSharedKeyIsNoFlag(t *testing.T) {
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if variableOf(f) == sharedKeyEnv {
				t.Errorf("%s --%s is set by %s", cmd.CommandPath(), f.Name, sharedKeyEnv)
			}
		})
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newRoot())
}
