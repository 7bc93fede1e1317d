package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// How a file is locked.
const (
	lockShared = unix.LOCK_SH
	lockAlone  = unix.LOCK_EX
)

// lockFile locks a file, which it makes, and waits for those who have it until the context
// ends. Closing it, or the end of the process, unlocks it.
func lockFile(ctx context.Context, path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if err := sleep(ctx, dayTick); err != nil {
			return nil, errors.Join(fmt.Errorf("%s is locked by another process: %w", path, err), f.Close())
		}
	}
}

// canLock reports whether a file could be locked now.
func canLock(path string, how int) (bool, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // one try
	f, err := lockFile(ctx, path, how)
	if errors.Is(err, context.Canceled) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// detach has a program go on when our terminal is closed, and not hear what is typed there.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
