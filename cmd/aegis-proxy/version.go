package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is set by the release build.
var version = "dev"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and its date, and the Go that built it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "aegis-proxy", versionLine())
			return err
		},
	}
}

// shortCommit is how much of a commit's hash is told: enough to find it.
const shortCommit = 12

// versionLine is as 1.2.0 (4bd90af12c33, 2026-12-01T10:00:00Z, go1.26.8); what is not known is left out, and a tree
// with changes that are in no commit says so.
func versionLine() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Sprintf("%s (%s)", version, runtime.Version())
	}
	told := map[string]string{}
	for _, s := range info.Settings {
		told[s.Key] = s.Value
	}
	var known []string
	if commit := told["vcs.revision"]; commit != "" {
		if commit = commit[:min(len(commit), shortCommit)]; told["vcs.modified"] == "true" {
			commit += " with changes"
		}
		known = append(known, commit)
	}
	if at := told["vcs.time"]; at != "" {
		known = append(known, at)
	}
	known = append(known, runtime.Version())
	return fmt.Sprintf("%s (%s)", version, strings.Join(known, ", "))
}
