//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFiles is how many files the process may have open. Go raises its limit to what
// the system allows at most.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxUint64
	}
	return uint64(limit.Cur)
}
