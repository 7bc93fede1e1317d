//go:build !linux

package embedded

import "time"

// sinceBoot is a clock that nobody sets. Where it stands still while the machine is
// suspended, that time is a leap of the wall clock.
func sinceBoot() func() time.Duration { return sinceNow(time.Now) }
