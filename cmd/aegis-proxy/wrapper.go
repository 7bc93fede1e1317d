package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// wrapperDir is the directory of the wrappers, in that of their run.
const wrapperDir = "bin"

// writeWrappers puts a script for each agent that is installed into a directory, which goes
// before all others in PATH: an agent that is started by a shell, a Makefile or another agent is
// led to the proxy as one that run itself starts. On Windows there are none. The directory is ""
// where none is needed.
func writeWrappers(dir string, d doorway) (string, error) {
	if runtime.GOOS == "windows" {
		return "", nil
	}
	written := ""
	for _, a := range agents {
		path, err := exec.LookPath(a.name)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			return "", err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("a wrapper for %s: %w", a.name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, a.name), []byte(a.wrapper(path, d)), 0o700); err != nil {
			return "", fmt.Errorf("a wrapper for %s: %w", a.name, err)
		}
		written = dir
	}
	return written, nil
}

// wrapper is a script that starts the agent at a path. It holds no key.
func (a agent) wrapper(path string, d doorway) string {
	var script strings.Builder
	script.WriteString("#!/bin/sh\n# Made by aegis-proxy run, and removed when it ends.\n")
	if err := a.refusal(); err != nil {
		fmt.Fprintf(&script, "echo %s >&2\nexit %d\n", quoted("aegis-proxy: "+err.Error()), exitNotRun)
		return script.String()
	}
	for _, name := range a.drop {
		fmt.Fprintf(&script, "unset %s\n", name)
	}
	script.WriteString("exec " + quoted(path))
	if a.args != nil {
		for _, arg := range a.args(d) {
			script.WriteString(" " + quoted(arg))
		}
	}
	script.WriteString(" \"$@\"\n")
	return script.String()
}

// quoted is a text as a shell reads it as one word.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
