package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
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
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EISDIR):
		return "", &exitCode{exitNotRun, fmt.Errorf("%s cannot be run: %w", name, errors.Unwrap(err))}
	}
	return "", &exitCode{exitNotFound, fmt.Errorf("%s: no such program; install it, or give its path", name)}
}

// passed are the signals that the program is told of when we are. It has the terminal,
// and is in our process group: what is typed there, and its size, it is told by itself.
var passed = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
	syscall.SIGTSTP, syscall.SIGCONT,
}

// hear has the signals come that are passed on.
func hear() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 64)
	signal.Notify(signals, passed...)
	return signals, func() { signal.Stop(signals) }
}

// runProgram runs a program to its end, with our terminal, and returns its exit code.
// Where it stops, we do: whoever continues us, as a shell's fg does, continues it.
func runProgram(cmd *exec.Cmd, signals <-chan os.Signal) (code int, err error) {
	changes := make(chan os.Signal, 1) // one that waits tells of all that came since
	signal.Notify(changes, syscall.SIGCHLD)
	defer signal.Stop(changes)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, &exitCode{exitNotRun, fmt.Errorf("%s cannot be run: %w; a script needs a first line with an interpreter that is there, as in #!/bin/sh", cmd.Path, reasonOf(err))}
	}
	defer cmd.Process.Release()
	for {
		select {
		case s := <-signals:
			if !typed(s) {
				_ = cmd.Process.Signal(s) // it may have ended
			}
		case <-changes:
			switch status, changed := lastChange(cmd.Process.Pid); {
			case !changed:
			case status.Stopped():
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
			case status.Exited() || status.Signaled():
				return codeOf(status), nil
			}
		}
	}
}

// reasonOf is why the system did not begin a program.
func reasonOf(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}

// lastChange is what has become of a program, if anything has since it was last asked.
func lastChange(pid int) (last syscall.WaitStatus, changed bool) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(pid, &status, syscall.WNOHANG|syscall.WUNTRACED|syscall.WCONTINUED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil || got != pid:
			return last, changed
		}
		last, changed = status, true
		if last.Exited() || last.Signaled() {
			return last, true
		}
	}
}

// codeOf is how a program ended, as a shell says it.
func codeOf(status syscall.WaitStatus) int {
	if status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return status.ExitStatus()
}

// typed reports whether a signal most likely came from the terminal, which told the
// program too. Where our input comes from says nothing of that.
func typed(s os.Signal) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGWINCH:
		return inForeground()
	}
	return false
}

// inForeground reports whether what is typed at our terminal, if we have one, goes to our
// process group.
func inForeground() bool {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer terminal.Close()
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// impatient is a context that ends when somebody wants us to end at once.
func impatient(ctx context.Context, signals <-chan os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	for len(signals) > 0 {
		<-signals // it was for the program, which has ended
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				if slices.Contains(ending, s) {
					cancel()
				}
			}
		}
	}()
	return ctx, cancel
}

// ending are the signals by which a program is told to end.
var ending = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}
