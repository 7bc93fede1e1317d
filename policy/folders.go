package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLinks bounds how many symlinks are followed to a policy file.
const maxLinks = 32

// foldersOf returns the folders in which a change can put another file at
// path: the file's own, and that of each symlink on the way to it.
func foldersOf(path string) []string {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	var folders []string
	for range maxLinks {
		link, target := firstLink(path)
		if link == "" {
			break
		}
		folders = append(folders, filepath.Dir(link))
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = target + strings.TrimPrefix(path, link)
	}
	folders = append(folders, filepath.Dir(path))
	slices.Sort(folders)
	return slices.Compact(folders)
}

// firstLink returns the first part of an absolute path that is a symlink, and
// what it points to; "" if none is.
func firstLink(path string) (link, target string) {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != filepath.Separator {
			continue
		}
		if target, err := os.Readlink(path[:i]); err == nil {
			return path[:i], target
		}
	}
	return "", ""
}
