package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// verifyConfig is what the flags of verify say.
type verifyConfig struct {
	KeysPath       string
	SignerPaths    []string // key files that may have sealed the receipts
	CheckpointPath string
	SavePath       string
	ProofPath      string
	Complete       bool
	Artifact       artifactConfig

	signers []audit.Signer // of SignerPaths, once they were read
}

func newVerify() *cobra.Command {
	var c verifyConfig
	cmd := &cobra.Command{
		Use:   "verify DIR|FILE ...",
		Short: "Check receipts offline: nothing altered, missing, reordered, truncated or wrongly signed",
		Long: "Check receipts offline: nothing altered, missing, reordered, truncated or wrongly signed.\n\n" +
			"A DIR that holds no receipts, but data directories, has each of these checked by its own keys.\n" +
			"A single FILE may also be an authorization, an envelope, a snapshot or an audit log of the OxDeAI protocol.",
		Args: func(cmd *cobra.Command, args []string) error {
			if c.ProofPath != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.ProofPath != "" {
				return verifyProof(cmd.OutOrStdout(), c)
			}
			return verify(cmd, c, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.KeysPath, "keys", "", "keys file (default: keys.json in DIR or beside it)")
	c.signerFlag(f, "key file, to check HMAC seals; repeat it where they are by several")
	f.StringVar(&c.CheckpointPath, "checkpoint", "", "file of checkpoints, one after the other, that the logs must extend: finds a cut-off tail and a rewritten history")
	f.BoolVar(&c.Complete, "complete", false, "these are the receipts of every replica: a gap in a tenant's events is an error too")
	f.StringVar(&c.SavePath, "save-checkpoint", "", "file to write checkpoints of the chains to, not signed, if all is well")
	c.Artifact.flags(f)
	f.StringVar(&c.ProofPath, "proof", "", "check this file from prove, and nothing else, by --keys or keys.json in the working directory; one from prove --from needs --checkpoint too")
	return cmd
}

func verify(cmd *cobra.Command, c verifyConfig, paths []string) error {
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w; name a data directory, a directory of receipts or a file of them", err)
		}
	}
	if a, err := readArtifact(paths[0]); err != nil || a != nil && len(paths) == 1 {
		if err != nil {
			return err
		}
		return verifyArtifact(cmd, c.Artifact, paths[0], a)
	}
	if dirs := dataDirsIn(paths); len(dirs) > 0 {
		return verifyEach(cmd, c, dirs)
	}
	return verifyLogs(cmd, c, paths)
}

func verifyLogs(cmd *cobra.Command, c verifyConfig, paths []string) error {
	paths = receiptPaths(paths)
	keys, err := c.allKeys(paths)
	if err != nil {
		return adviseKeys(err)
	}
	checkpoints, unproven, err := readCheckpointsToVerify(c.CheckpointPath, keys)
	if err != nil {
		return err
	}
	sources, err := audit.Files(paths...)
	if err != nil {
		return err
	}
	bar := newProgress(cmd.ErrOrStderr(), totalBytes(paths))
	report, err := audit.Verify(cmd.Context(), sources, audit.VerifyOptions{
		Keys: keys, Checkpoints: checkpoints, Unproven: unproven, Prefixes: openPrefixes(paths), Progress: bar.show,
	})
	bar.clear()
	if err != nil {
		return err
	}
	sound := c.printReport(cmd.OutOrStdout(), report)
	for _, cp := range report.Unproven {
		return fmt.Errorf("%s: checkpoint of chain %s: no signature by a key that was given, or that the chain announces", c.CheckpointPath, cp.Chain)
	}
	if !sound {
		return errReported
	}
	return saveCheckpoints(c.SavePath, report)
}

// receiptPaths lets a data directory stand for the receipts in it.
func receiptPaths(paths []string) []string {
	var out []string
	for _, path := range paths {
		inside := filepath.Join(path, receiptsDir)
		if info, err := os.Stat(inside); err == nil && info.IsDir() {
			path = inside
		}
		out = append(out, path)
	}
	return out
}

// errNoKeys is wrapped with the places that were looked at. What to do about it
// depends on the command.
var errNoKeys = errors.New("no keys file")

// readKeys reads the named keys file, or that of receipts.
func readKeys(named, receipts string) (audit.Keys, error) {
	if named != "" {
		return readKeysAt(named)
	}
	return readKeysAt(filepath.Join(receipts, keysFile), filepath.Join(filepath.Dir(filepath.Clean(receipts)), keysFile))
}

// readKeysAt reads the first of the files that is there.
func readKeysAt(candidates ...string) (audit.Keys, error) {
	for _, path := range candidates {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseKeys(path, text)
	}
	return nil, fmt.Errorf("%w at %s", errNoKeys, strings.Join(candidates, " or "))
}

func parseKeys(path string, text []byte) (audit.Keys, error) {
	keys, err := audit.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// adviseKeys says where a command with --keys gets them.
func adviseKeys(err error) error {
	if !errors.Is(err, errNoKeys) {
		return err
	}
	return fmt.Errorf("%w: name one with --keys; it is the %s that init wrote for whoever signed", err, keysFile)
}

// openPrefixes are the hashes of what the directories held before.
func openPrefixes(paths []string) []*audit.Prefix {
	var list []*audit.Prefix
	for _, path := range paths {
		list = append(list, audit.OpenPrefix(path))
	}
	return list
}

func readCheckpoints(path string, keys audit.Keys) ([]audit.Checkpoint, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := audit.ParseCheckpoints(text, keys)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// readCheckpointsToVerify leaves signatures by other keys to the logs, which may
// announce those.
func readCheckpointsToVerify(path string, keys audit.Keys) ([]audit.Checkpoint, []audit.SignedCheckpoint, error) {
	if path == "" {
		return nil, nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	list, unproven, err := audit.ParseCheckpointsToVerify(text, keys)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, unproven, nil
}

func saveCheckpoints(path string, report audit.Report) error {
	if path == "" {
		return nil
	}
	var text strings.Builder
	for _, chain := range report.Chains {
		text.WriteString(chain.Checkpoint().String())
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

func totalBytes(paths []string) int64 {
	var total int64
	for _, path := range paths {
		filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return nil
			}
			if info, err := entry.Info(); err == nil {
				total += info.Size()
			}
			return nil
		})
	}
	return total
}

// printReport reports whether all is in order, too.
func (c verifyConfig) printReport(w io.Writer, r audit.Report) bool {
	for _, chain := range r.Chains {
		fmt.Fprintf(w, "chain %s: lines %d to %d, %d receipts, %d of them sealed\n",
			chain.Chain, chain.First, chain.Last, chain.Receipts, chain.Sealed)
		if chain.Unseen > 0 {
			fmt.Fprintf(w, "note: chain %s: lines 1 to %d are not here, so they were not looked at; only their hashes were\n",
				chain.Chain, chain.Unseen)
		}
	}
	for _, gap := range r.Gaps {
		fmt.Fprintf(w, c.gapLine(), gap.Tenant, eventsOf(gap))
	}
	for _, finding := range r.Findings {
		fmt.Fprintln(w, finding)
	}
	if !r.OK() || c.Complete && r.GapCount > 0 {
		fmt.Fprintln(w, "NOT OK")
		return false
	}
	fmt.Fprintln(w, "ok: nothing altered, missing, reordered, duplicated, truncated or wrongly signed")
	return true
}

// gapLine tells of events that no receipt has: a fault only where those of
// every replica are there.
func (c verifyConfig) gapLine() string {
	if c.Complete {
		return "missing: tenant %s: %s in no receipt\n"
	}
	return "note: tenant %s: %s not in these receipts; another replica may have them\n"
}

// eventsOf names the events of a gap, with the verb.
func eventsOf(gap audit.Gap) string {
	if gap.From == gap.To {
		return fmt.Sprintf("event %d is", gap.From)
	}
	return fmt.Sprintf("events %d to %d are", gap.From, gap.To)
}

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	w     io.Writer
	total int64
}

func newProgress(w io.Writer, total int64) *progress {
	if !isTerminal(w) || total == 0 {
		return &progress{}
	}
	return &progress{w, total}
}

// barCells is the width of the bar.
const barCells = 40

func (p *progress) show(done audit.Progress) {
	if p.w == nil {
		return
	}
	filled := int(min(done.Bytes, p.total) * barCells / p.total)
	fmt.Fprintf(p.w, "\r[%s%s] %d receipts", strings.Repeat("#", filled), strings.Repeat(" ", barCells-filled), done.Lines)
}

func (p *progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// verifyDir checks a directory of receipts with keys at hand.
func verifyDir(ctx context.Context, dir string, keys audit.Keys) (audit.Report, error) {
	sources, err := audit.Files(dir)
	if err != nil {
		return audit.Report{}, err
	}
	return audit.Verify(ctx, sources, audit.VerifyOptions{Keys: keys})
}
