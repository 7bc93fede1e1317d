package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Exit codes of run where none of them is the program's own, as shells and env have them.
const (
	exitFailed   = 125 // before the program began
	exitNotRun   = 126 // the program cannot be run
	exitNotFound = 127
	exitSignal   = 128 // and the signal's number, where one ended it
)

// exitCode ends the program with a code that is not 1.
type exitCode struct {
	code int
	err  error // to print; nil: nothing
}

func (e *exitCode) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitCode) Unwrap() error { return e.err }

// findProgram finds a command as a shell does.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		return path, nil
	case errors.Is(err, fs.ErrPermission):
		return "", &exitCode{exitNotRun, fmt.Errorf("%s cannot be run: %w", name, errors.Unwrap(err))}
	}
	return "", &exitCode{exitNotFound, fmt.Errorf("%s: no such program; install it, or give its path", name)}
}

// passed are the signals that the program is told of when we are. It has the terminal,
// and is in our process group: what is typed there, and its size, it is told by itself.
var passed = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH}

// runProgram runs a program to its end, with our terminal, and returns its exit code.
func runProgram(cmd *exec.Cmd) (code int, err error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passed...)
	defer signal.Stop(signals)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, &exitCode{exitNotRun, err}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if !typed(s) {
				_ = cmd.Process.Signal(s) // it may have ended
			}
		case err := <-ended:
			return codeOf(cmd, err)
		}
	}
}

// typed reports whether a signal most likely came from the terminal, which told the
// program too.
func typed(s os.Signal) bool {
	return (s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGWINCH) && term.IsTerminal(int(os.Stdin.Fd())) && inForeground(os.Stdin)
}

// codeOf is how a program ended, as a shell says it.
func codeOf(cmd *exec.Cmd, err error) (int, error) {
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		return 0, err
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// inForeground reports whether what is typed at a terminal goes to our process group.
func inForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
