package embedded

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is a clock that nobody sets and that also counts the time for which the
// machine was suspended, as the one behind time.Since does not.
func sinceBoot() func() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return sinceNow(time.Now)
	}
	return func() time.Duration {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // it has worked before
		return time.Duration(ts.Nano())
	}
}
