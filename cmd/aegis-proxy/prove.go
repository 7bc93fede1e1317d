package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// proveConfig is what the flags of prove say.
type proveConfig struct {
	DataDir  string
	Archives []string
	From     string
	KeyPath  string
}

func newProve() *cobra.Command {
	var c proveConfig
	cmd := &cobra.Command{
		Use:   "prove RECEIPT-ID | prove --from CHECKPOINT",
		Short: "Print a proof that a receipt is in the log, or that the log extends an earlier checkpoint",
		Args: func(cmd *cobra.Command, args []string) error {
			if c.From != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			proof, err := proveFromLog(c, args)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(proof)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.DataDir, "data", "aegis-data", "data directory, or a directory of receipts")
	f.StringArrayVar(&c.Archives, "archive", nil, "directory that old segments were moved to; may be given again")
	f.StringVar(&c.From, "from", "", "file of the earlier checkpoint")
	addSigningKey(cmd, &c.KeyPath)
	return cmd
}

// proveFromLog signs a checkpoint and leads to it, from a receipt or from an
// earlier checkpoint.
func proveFromLog(c proveConfig, args []string) ([]byte, error) {
	tree, err := audit.OpenTree(receiptPaths([]string{c.DataDir})[0])
	if err != nil {
		return nil, err
	}
	now, err := tree.Checkpoint()
	if err != nil {
		return nil, err
	}
	if c.From != "" {
		return proveFrom(tree, now, c)
	}
	n, err := lineOf(args[0], tree, now.Chain, c.Archives)
	if err != nil {
		return nil, err
	}
	signed, err := signTree(tree, c.KeyPath, c.DataDir)
	if err != nil {
		return nil, err
	}
	proof, err := tree.Prove(n, signed, c.Archives...)
	return proof.Encode(), err
}

// lineOf is the number in a receipt's id, or of the receipt that has it.
func lineOf(id string, tree *audit.Tree, chain string, archives []string) (int64, error) {
	if audit.IsDenialsID(id) {
		return tree.FindDenials(id, archives...)
	}
	of, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not the id of a receipt, as the header x-aegis-receipt has it", id)
	}
	if of != chain {
		return 0, fmt.Errorf("receipt %s is of another replica's log; this one is %s", id, chain)
	}
	return n, nil
}

func proveFrom(tree *audit.Tree, now audit.Checkpoint, c proveConfig) ([]byte, error) {
	old, err := readOldCheckpoint(c.From, now.Chain)
	if err != nil {
		return nil, err
	}
	if err := tree.Extends(old); err != nil {
		return nil, err
	}
	signed, err := signTree(tree, c.KeyPath, c.DataDir)
	if err != nil {
		return nil, err
	}
	proof, err := tree.ProveFrom(old, signed)
	return proof.Encode(), err
}

// readOldCheckpoint reads the one checkpoint of a chain in a file. Nobody's
// signature is looked at: the proof is for whoever kept it.
func readOldCheckpoint(path, chain string) (audit.Checkpoint, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	list, err := audit.ParseCheckpointTexts(text)
	if err != nil {
		return audit.Checkpoint{}, fmt.Errorf("%s: %w", path, err)
	}
	return oneOf(list, chain, path)
}

// oneOf picks the checkpoint of a chain.
func oneOf(list []audit.Checkpoint, chain, path string) (audit.Checkpoint, error) {
	var found []audit.Checkpoint
	for _, c := range list {
		if c.Chain == chain {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		return audit.Checkpoint{}, fmt.Errorf("%s has %d checkpoints of chain %s, want one", path, len(found), chain)
	}
	return found[0], nil
}

// verifyProof checks a proof file with nothing else but keys, and for a proof
// of consistency the earlier checkpoint.
func verifyProof(w io.Writer, c verifyConfig) error {
	data, err := readAtMost(c.ProofPath, audit.MaxProofBytes)
	if err != nil {
		return fmt.Errorf("--proof: %w; name a file that aegis-proxy prove printed", err)
	}
	keys, err := readKeysAt(cmp.Or(c.KeysPath, keysFile))
	if err != nil {
		return fmt.Errorf("%s: its signature needs a key: %w", c.ProofPath, adviseKeys(err))
	}
	if audit.IsConsistency(data) {
		return verifyConsistency(w, c, data, keys)
	}
	proof, err := audit.ParseProof(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.ProofPath, err)
	}
	receipt, checkpoint, err := proof.Verify(keys)
	if err != nil {
		return fmt.Errorf("%s: %w", c.ProofPath, err)
	}
	fmt.Fprintf(w, "%s\nok: receipt %s is in the log, as it was signed with %d lines\n", proof.Line, receipt.ID(), checkpoint.N)
	return nil
}

func verifyConsistency(w io.Writer, c verifyConfig, data []byte, keys audit.Keys) error {
	if c.CheckpointPath == "" {
		return errors.New("the proof is of consistency: name the earlier checkpoint with --checkpoint")
	}
	proof, err := audit.ParseConsistency(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.ProofPath, err)
	}
	list, err := readCheckpoints(c.CheckpointPath, keys)
	if err != nil {
		return err
	}
	now, err := audit.OpenCheckpoint(proof.Checkpoint, keys)
	if err != nil {
		return fmt.Errorf("%s: %w", c.ProofPath, err)
	}
	if kept := slices.DeleteFunc(slices.Clone(list), func(cp audit.Checkpoint) bool { return cp.N != proof.Old }); len(kept) > 0 {
		list = kept // it says which
	}
	old, err := oneOf(list, now.Chain, c.CheckpointPath)
	if err != nil {
		return err
	}
	if _, err := proof.Verify(old, keys); err != nil {
		return fmt.Errorf("%s: %w", c.ProofPath, err)
	}
	fmt.Fprintf(w, "ok: the log of %d lines is the one of %d lines with lines added\n", now.N, old.N)
	return nil
}

// readAtMost reads a small file.
func readAtMost(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
