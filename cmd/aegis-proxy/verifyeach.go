package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// dataDirsIn are the data directories in the one path that was named, where that is
// none itself and holds no receipts: the directory of a day, or of several runs.
func dataDirsIn(paths []string) []string {
	if len(paths) != 1 || receiptPaths(paths)[0] != paths[0] {
		return nil
	}
	if _, err := audit.Files(paths[0]); err == nil {
		return nil
	}
	inside, _ := filepath.Glob(filepath.Join(paths[0], "*", receiptsDir)) // the pattern is ours, but for a name that Glob cannot read
	var dirs []string
	for _, path := range inside {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return dirs
}

// verifyEach checks the receipts of several proxies, each by its own keys. All are
// looked at, whatever is wrong with one.
func verifyEach(cmd *cobra.Command, c verifyConfig, dirs []string) error {
	if c.CheckpointPath != "" || c.SavePath != "" || c.Complete {
		return fmt.Errorf("%s holds data directories, as %s; with --checkpoint, --save-checkpoint or --complete name one, or all that belong together",
			filepath.Dir(dirs[0]), dirs[0])
	}
	var failed error
	for _, dir := range dirs {
		fmt.Fprintf(cmd.OutOrStdout(), "%s:\n", dir)
		err := verifyLogs(cmd, c, []string{dir})
		if err != nil && !errors.Is(err, errReported) {
			fmt.Fprintf(cmd.OutOrStdout(), "%v\nNOT OK\n", err)
		}
		if err != nil {
			failed = errReported
		}
	}
	return failed
}
