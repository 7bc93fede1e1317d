package gate

import "time"

// tallyFor is how long denials of one kind are counted before their receipt is
// written.
const tallyFor = time.Second
