package budget

// lifetime tells the counters of one key apart: the time in which they count.
type lifetime struct {
	kind   WindowKind
	span   Span  // Fixed
	length int64 // Rolling, milliseconds
}

func lifetimeOf(c *Claim, span Span) lifetime {
	l := lifetime{kind: c.Window.Kind, span: span}
	if c.Window.Kind == Rolling {
		l.length = c.Window.Length.Milliseconds()
	}
	return l
}

// counter is what was spent and is held of one key in one window.
type counter struct {
	key     string
	window  lifetime
	group   string
	length  int64 // Rolling and Idle, milliseconds
	born    int64 // number of the grant that made it
	lastUse int64
	open    int64 // leases that hold in it
	held    int64
	spent   int64 // all but Rolling
	ring    *ring // Rolling
	marks   marks // nil before the first

	newer, older *counter // of the same key, by when their spans start
	unused       *unused  // where it stands while no lease is open in it
	before       *counter // there
	after        *counter
}

// forgetAt is when the counter is forgotten, if no lease is open in it by
// then. It is longer than any lease that may still settle into it.
func (c *counter) forgetAt() int64 {
	switch c.window.kind {
	case Fixed:
		return c.window.span.End + MaxLeaseLife.Milliseconds() + RememberExpired.Milliseconds()
	case Rolling:
		return c.lastUse + c.length + (c.length+RollingBuckets-1)/RollingBuckets
	case Idle:
		return c.lastUse + c.length
	}
	return forever
}

// forever is an instant that never comes.
const forever = 1<<63 - 1

func (c *counter) observe(at int64) Observed {
	return Observed{Span: c.window.span, Spent: c.spentAt(at), Held: c.held}
}

func (c *counter) spentAt(at int64) int64 {
	if c.ring == nil {
		return c.spent
	}
	return min(c.ring.sumAt(bucketOf(at, c.length)), MaxAmount)
}

// charge adds to what was spent at the instant at. A negative amount corrects
// a charge of that instant.
func (c *counter) charge(amount, at int64) {
	if c.ring == nil {
		c.spent = saturate(c.spent, amount)
		return
	}
	c.ring.add(bucketOf(at, c.length), amount)
}

// roll forgets what has left a rolling window by the instant at.
func (c *counter) roll(at int64) {
	if c.ring != nil {
		c.ring.roll(bucketOf(at, c.length))
	}
}

// saturate adds without passing MaxAmount. A balance that has reached it no
// longer knows its sum, so it stays, and every further grant is refused.
func saturate(balance, amount int64) int64 {
	if balance == MaxAmount {
		return MaxAmount
	}
	return min(balance+amount, MaxAmount)
}

// ringSlots is one more than the buckets of a window, so that a charge never
// leaves before its whole window has passed.
const ringSlots = RollingBuckets + 1

// ring holds the charges of a rolling window by bucket, with their sum.
type ring struct {
	newest int64
	sum    int64
	spent  [ringSlots]int64
}

// bucketOf numbers the bucket that holds an instant. All in integers, so that
// any length divides evenly.
func bucketOf(at, length int64) int64 { return at * RollingBuckets / length }

// sumAt is what counts when bucket now is the newest.
func (r *ring) sumAt(now int64) int64 {
	sum := r.sum
	for b := r.newest - RollingBuckets; b < now-RollingBuckets && b <= r.newest; b++ {
		sum -= *r.slot(b)
	}
	return sum
}

func (r *ring) add(bucket, amount int64) {
	r.roll(bucket)
	if bucket < r.newest-RollingBuckets {
		return
	}
	slot := r.slot(bucket)
	before := *slot
	*slot = saturate(before, amount)
	r.sum += *slot - before
}

// roll forgets the buckets that leave when bucket becomes the newest.
func (r *ring) roll(bucket int64) {
	if bucket-r.newest >= ringSlots {
		*r = ring{newest: bucket}
		return
	}
	for r.newest < bucket {
		r.newest++
		slot := r.slot(r.newest)
		r.sum -= *slot
		*slot = 0
	}
}

// slot is where a bucket lives. Bucket numbers may be negative in a ring
// younger than its window.
func (r *ring) slot(bucket int64) *int64 {
	return &r.spent[(bucket%ringSlots+ringSlots)%ringSlots]
}
