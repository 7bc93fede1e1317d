package call

import "time"

// Gauge is how far a budget of money is used up.
type Gauge struct {
	Percent  int64         // of the limit that is spent, 0 to 100
	Window   time.Duration // over which it counts; 0: for good
	ResetsAt int64         // ledger milliseconds; 0: at no time that is known
}
