package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// adviseData says which flag names another data directory, where the system does not let
// this one, or what is in it, be written or read.
func adviseData(err error, dir string) error {
	at, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(at, fs.ErrPermission) && !errors.Is(at, syscall.EROFS) && !errors.Is(at, syscall.ENOTDIR) {
		return err
	}
	path, dir := filepath.Clean(at.Path), filepath.Clean(dir)
	if !strings.HasPrefix(path, dir) && !strings.HasPrefix(dir, path) { // mkdir names a parent
		return err
	}
	return fmt.Errorf("%w; the data directory is %s: let this user write there, or name another with --data", err, dir)
}
