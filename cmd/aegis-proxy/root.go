package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// errReported ends the program with exit code 1 after its finding was printed.
var errReported = errors.New("")

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if err != errReported && err.Error() != "" {
		fmt.Fprintln(stderr, "aegis-proxy:", err)
	}
	if coded, ok := errors.AsType[*exitCode](err); ok {
		return coded.code
	}
	return 1
}

func newRoot() *cobra.Command {
	root := newGroup("aegis-proxy", "A transparent proxy for LLM APIs that puts a hard stop on spend",
		newServe(), newRun(), newDay(), newInit(), newDemo(), newVerify(), newReplay(), newReport(), newExport(), newAuthorization(), newCheckpoint(), newProve(), newArchive(),
		newPolicy(), newKeys(), newPrice(), newPrices(), newBudgets(), newKill(), newLedger(), newHealthcheck(), newVersion(),
	)
	root.Long = `aegis-proxy stands between an application and an LLM API. It bounds what each
request may cost, reserves that in every budget that concerns it, forwards or
denies, settles the real cost and writes signed receipts.

Every flag can be set by a variable: --admin-listen is AEGIS_ADMIN_LISTEN.`
	root.Version = versionLine()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return flagsFromEnv(cmd.Flags()) }
	root.SetFlagErrorFunc(refuseFlag)
	explainArgs(root)
	return root
}

// newGroup returns a command that only holds others.
func newGroup(use, short string, members ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(members...)
	return cmd
}

// explainArgs has every command say how it is used where its arguments are
// wrong.
func explainArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return wrongArgs(cmd, args, err)
			}
			return nil
		}
	}
	for _, member := range cmd.Commands() {
		explainArgs(member)
	}
}

// wrongArgs says what was given and how the command is used. What cobra says of a command
// without members takes any argument for a command.
func wrongArgs(cmd *cobra.Command, args []string, err error) error {
	if _, coded := errors.AsType[*exitCode](err); coded || cmd.HasSubCommands() {
		return fmt.Errorf("%w; %s%s", err, howToUse(cmd), didYouMean(cmd, args))
	}
	given := "no argument was given"
	if len(args) > 0 {
		given = fmt.Sprintf("%s given: %q", counted(len(args), "argument"), args)
	}
	return fmt.Errorf("%s; %s", given, howToUse(cmd))
}

// didYouMean names the member of a group that its first argument may be a slip of.
func didYouMean(cmd *cobra.Command, args []string) string {
	if !cmd.HasSubCommands() || len(args) == 0 {
		return ""
	}
	var known []string
	for _, member := range cmd.Commands() {
		known = append(known, member.Name())
	}
	return perhaps("", names.Nearest(args[0], known))
}

// perhaps asks whether a name was meant; "" where there is none.
func perhaps(before, name string) string {
	if name == "" {
		return ""
	}
	return "; did you mean " + before + name + "?"
}

func howToUse(cmd *cobra.Command) string {
	if cmd.HasSubCommands() {
		return "see " + cmd.CommandPath() + " --help"
	}
	return "usage: " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
}
