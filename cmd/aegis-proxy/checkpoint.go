package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

func newCheckpoint() *cobra.Command {
	var keyPath string
	cmd := &cobra.Command{
		Use:   "checkpoint DIR",
		Short: "Sign the receipts as they are now, for somebody else to keep; a proxy may be writing them",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tree, err := audit.OpenTree(receiptPaths(args)[0])
			if err != nil {
				return err
			}
			signed, err := signTree(tree, keyPath, args[0])
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(signed)
			return err
		},
	}
	addSigningKey(cmd, &keyPath)
	return cmd
}

func addSigningKey(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "signing-key", "", "key file (default: signing-key in DIR or beside it)")
}

// signTree signs a tree's checkpoint with the named key, or the one that
// belongs to the directory.
func signTree(tree *audit.Tree, keyPath, dir string) ([]byte, error) {
	path, err := findSigningKey(keyPath, dir)
	if err != nil {
		return nil, err
	}
	signer, err := audit.LoadSigner(path)
	if err != nil {
		return nil, err
	}
	return tree.SignCheckpoint(signer)
}

func findSigningKey(named, dir string) (string, error) {
	if named != "" {
		return named, nil
	}
	candidates := []string{filepath.Join(dir, signingKeyFile), filepath.Join(filepath.Dir(filepath.Clean(dir)), signingKeyFile)}
	for _, path := range candidates {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, err
		}
	}
	return "", fmt.Errorf("no signing key at %s: name it with --signing-key", strings.Join(candidates, " or "))
}
