package embedded

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended is for how long the machine was suspended since it was started: by how
// much more the clock that counts that time has counted than the one that does not,
// which is the one behind time.Since.
func suspended() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - awake.Nano())
}
