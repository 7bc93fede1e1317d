package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

func newArchive() *cobra.Command {
	var to string
	var keep int
	cmd := &cobra.Command{
		Use:   "archive DIR",
		Short: "Compress closed files of receipts, check the copies and move them; a proxy may be writing",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := receiptPaths(args)[0]
			if to == "" {
				to = dir
			}
			moved, err := audit.Archive(cmd.Context(), dir, to, keep)
			for _, one := range moved {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes in %d\n", one.File, one.Bytes, one.Packed)
			}
			if err == nil && len(moved) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing to archive: no more closed files than to be kept")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "directory to move them to (default: they stay in DIR, compressed)")
	cmd.Flags().IntVar(&keep, "keep", 4, fmt.Sprintf("closed files to leave as they are, the newest; at least %d", audit.MinKeep))
	return cmd
}
