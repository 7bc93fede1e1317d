package main

import (
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

func newKeys() *cobra.Command {
	return newGroup("keys", "Make a tenant key, or list those in a policy", newKeysNew(), newKeysList())
}

func newKeysNew() *cobra.Command {
	return &cobra.Command{
		Use:   "new ID",
		Short: "Make a key, and print it once with its line for the policy",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, hash := policy.NewSecret()
			fmt.Fprintf(cmd.OutOrStdout(), "key, shown this once:\n  %s\nfor the tenant's keys in the policy:\n  - {id: %s, sha256: \"%s\"}\n",
				secret, args[0], hex.EncodeToString(hash[:]))
			return nil
		},
	}
}

func newKeysList() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys of a policy by tenant",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := loadPolicy(path)
			if err != nil {
				return err
			}
			for _, t := range p.Tenants {
				for _, k := range t.Keys {
					fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\n", t.Name, k.ID, hex.EncodeToString(k.Hash[:]))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "policy", "policy.yaml", "policy file")
	return cmd
}
