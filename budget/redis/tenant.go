package redis

import (
	"strconv"
	"sync"
)

const (
	// maxQueued bounds a tenant's acknowledgements that wait for a call. More
	// are dropped, and Sweep hands their events out again.
	maxQueued = 4000
	// maxPerCall bounds those that travel with a call other than Sweep.
	maxPerCall = 64

	// digests is how many of a tenant's last events can be told from others. A
	// replica whose last call is longer ago than that many events does not find out
	// by itself that they are not those that it has seen, but any other does.
	digests = 512
	// digestChars is how long a digest is, in hexadecimal digits. Two histories that
	// part have the same one with a probability of 2^-48.
	digestChars = 12
)

// tenant is what this replica knows of a tenant.
type tenant struct {
	name  string
	keys  []string // of a verb that is about no lease
	clock clock

	mu     sync.Mutex
	epoch  string
	number int64   // the highest event number seen
	digest string  // that came with it, if a reply told it
	queue  []int64 // to acknowledge
}

func (l *Ledger) tenant(name string) *tenant {
	l.mu.RLock()
	t := l.tenants[name]
	l.mu.RUnlock()
	if t != nil {
		return t
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tenants[name]; t != nil {
		return t
	}
	t = &tenant{name: name, keys: []string{tenantKey(name), absentKey(name)}}
	l.tenants[name] = t
	return t
}

// Acknowledge queues the number for the tenant's next call.
func (l *Ledger) Acknowledge(tenant string, number int64) {
	l.tenant(tenant).queueUp(number)
}

// Remember sets what this replica has seen of a tenant: the highest number of
// an epoch, or another epoch.
func (l *Ledger) Remember(tenant, epoch string, number int64) {
	t := l.tenant(tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epoch != epoch {
		t.epoch, t.number, t.digest = epoch, number, ""
		return
	}
	t.sawNumber(number, "")
}

// saw notes a reply. A reply of another epoch than the known one was refused
// before it came to this, or is older than what Remember said meanwhile.
func (t *tenant) saw(epoch string, number int64, digest string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epoch == "" {
		t.epoch = epoch
	}
	if t.epoch == epoch {
		t.sawNumber(number, digest)
	}
}

func (t *tenant) sawNumber(number int64, digest string) {
	if number > t.number {
		t.number, t.digest = number, digest
	}
}

// cure is what helps where a tenant is lost.
func (t *tenant) cure() string {
	if t.seen(0).epoch == "" { // nothing here says that it ever was
		return "provision it, or rebuild it from receipts if there are any"
	}
	return "rebuild it from receipts"
}

func (t *tenant) queueUp(numbers ...int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	room := max(0, maxQueued-len(t.queue))
	t.queue = append(t.queue, numbers[:min(room, len(numbers))]...)
}

// seen is what a call tells the server first.
type seen struct {
	epoch        string
	number       int64
	digest       string
	acknowledged []int64
}

// seen takes up to limit acknowledgements from the queue. They are put back by
// queueUp if the call fails.
func (t *tenant) seen(limit int) seen {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := seen{epoch: t.epoch, number: t.number, digest: t.digest}
	n := min(limit, len(t.queue))
	s.acknowledged = t.queue[:n:n]
	t.queue = t.queue[n:]
	if len(t.queue) == 0 {
		t.queue = nil
	}
	return s
}

// appendTo adds the first arguments of every verb, which are five.
func (s *seen) appendTo(args []any, now int64) []any {
	return append(args, s.epoch, s.number, s.digest, now, joinNumbers(s.acknowledged))
}

const seenArgs = 5

func joinNumbers(numbers []int64) string {
	if len(numbers) == 0 {
		return ""
	}
	var buffer [64]byte
	out := buffer[:0]
	for i, n := range numbers {
		if i > 0 {
			out = append(out, ' ')
		}
		out = strconv.AppendInt(out, n, 10)
	}
	return string(out)
}
