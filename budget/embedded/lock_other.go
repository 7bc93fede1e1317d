//go:build !unix

package embedded

import (
	"fmt"
	"os"
	"runtime"
)

// lockDir refuses: without flock, a lock left by a dead process cannot be told
// from one that is held.
func lockDir(string) (*os.File, error) {
	return nil, fmt.Errorf("the embedded ledger needs flock, which %s has not: use the Redis ledger", runtime.GOOS)
}

// unlockDir is never called: there is no lock.
func unlockDir(lock *os.File) error { return lock.Close() }
