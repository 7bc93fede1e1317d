package budget

// counterRef names a counter.
type counterRef struct {
	key    string
	kind   WindowKind
	span   Span  // Fixed
	length int64 // Rolling, milliseconds
}

func refOf(c *Claim, span Span) counterRef {
	ref := counterRef{key: c.Key, kind: c.Window.Kind, span: span}
	if c.Window.Kind == Rolling {
		ref.length = c.Window.Length.Milliseconds()
	}
	return ref
}

// counter is what was spent and is held of one key in one window.
type counter struct {
	ref     counterRef
	group   string
	length  int64 // Rolling and Idle, milliseconds
	born    int64 // number of the grant that made it
	lastUse int64
	open    int64 // leases that hold in it
	held    int64
	spent   int64 // all but Rolling
	ring    *ring // Rolling
	marks   marks // nil before the first
	queued  int64 // when State looks whether to forget it
	index   int   // in the queue
}

// forgetAt is when the counter is forgotten, if no lease is open in it by
// then. It is longer than any lease that may still settle into it.
func (c *counter) forgetAt() int64 {
	switch c.ref.kind {
	case Fixed:
		return c.ref.span.End + MaxLeaseLife.Milliseconds() + RememberExpired.Milliseconds()
	case Rolling:
		return c.lastUse + c.length + (c.length+RollingBuckets-1)/RollingBuckets
	case Idle:
		return c.lastUse + c.length
	}
	return forever
}

// unusedAfter is the least time, in milliseconds, from an end in the counter to
// its being forgotten. One of a fixed window that is long past is forgotten in
// the end itself.
func (c *counter) unusedAfter() int64 {
	if c.ref.kind == Fixed {
		return MaxLeaseLife.Milliseconds()
	}
	return c.length
}

// forever is an instant that never comes.
const forever = 1<<63 - 1

func (c *counter) observe(at int64) Observed {
	return Observed{Span: c.ref.span, Spent: c.spentAt(at), Held: c.held}
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

// counterQueue is a heap of counters by when to look at them.
type counterQueue []*counter

func (q counterQueue) Len() int           { return len(q) }
func (q counterQueue) Less(i, j int) bool { return q[i].queued < q[j].queued }
func (q counterQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *counterQueue) Push(x any) {
	c := x.(*counter)
	c.index = len(*q)
	*q = append(*q, c)
}

func (q *counterQueue) Pop() any {
	old := *q
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return c
}
