//go:build !linux

package embedded

import "time"

// suspended is for how long the machine was suspended. Where that is not known, it is
// a leap of the wall clock.
func suspended() time.Duration { return 0 }
