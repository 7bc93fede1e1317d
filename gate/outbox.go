package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
)

const (
	// outboxRetry is how long the outbox rests between two rounds.
	outboxRetry = time.Second
	// outboxMax bounds the endings that wait. Past it no more calls begin, so
	// that those in flight find room.
	outboxMax = 100_000

	verbSettle  = "settle"
	verbRelease = "release"
)

// pending is the end of a lease that the ledger has not acknowledged, with
// the receipt that it will get.
type pending struct {
	Verb       string
	Settlement audit.Settlement

	// doubtful is an ending of an earlier process, which may have died between
	// writing the receipt and forgetting the ending.
	doubtful bool
	copied   bool // its receipt may be the second one
}

func (p *pending) valid() error {
	if p.Verb != verbSettle && p.Verb != verbRelease {
		return fmt.Errorf("unknown verb %q", p.Verb)
	}
	if p.Settlement.Tenant == "" || p.Settlement.Lease == "" {
		return errors.New("tenant or lease is missing")
	}
	return nil
}

// Outbox keeps endings until the ledger has acknowledged them and their
// receipt is durable, across restarts: one file each in a directory, named
// after the lease.
type Outbox struct {
	dir    string // "": in memory only
	logger *slog.Logger
	max    int
	mu     sync.Mutex
	items  map[string]pending // by lease
}

// OpenOutbox reads what an earlier process left. A file that cannot be read is
// an error: it may be money.
func OpenOutbox(dir string, logger *slog.Logger) (*Outbox, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	o := newOutbox(dir, logger)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	for _, entry := range entries {
		if err := o.take(filepath.Join(dir, entry.Name())); err != nil {
			return nil, err
		}
	}
	return o, nil
}

const (
	outboxSuffix = ".json"
	outboxTemp   = ".tmp" // ends the name of a file that is being written
)

// take loads a file of the directory. One that a process left which died while it
// wrote is removed: nobody was told that it is kept.
func (o *Outbox) take(name string) error {
	switch {
	case strings.HasSuffix(name, outboxSuffix+outboxTemp):
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	case strings.HasSuffix(name, outboxSuffix):
		if err := o.load(name); err != nil {
			return fmt.Errorf("outbox: %s: %w; move it away only if its lease may be charged its hold", name, err)
		}
	}
	return nil
}

func newOutbox(dir string, logger *slog.Logger) *Outbox {
	return &Outbox{dir: dir, logger: logger, max: outboxMax, items: map[string]pending{}}
}

func (o *Outbox) load(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var p pending
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	if err := p.valid(); err != nil {
		return err
	}
	p.doubtful = true
	o.items[p.Settlement.Lease] = p
	return nil
}

// put keeps an ending. Where the disk refuses it, it is still retried for as
// long as the process lives; after that the lease expires and is charged its
// hold.
func (o *Outbox) put(p pending) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items[p.Settlement.Lease] = p
	if err := o.save(p); err != nil {
		o.logger.Error("outbox cannot be written, ending kept in memory only", "lease", p.Settlement.Lease, "err", err)
	}
}

func (o *Outbox) save(p pending) error {
	if o.dir == "" {
		return nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	name := o.file(p.Settlement.Lease)
	temp := name + outboxTemp
	err = writeSynced(temp, text)
	if err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		_ = os.Remove(temp) // a full disk has room for an empty file
		return err
	}
	return syncDir(o.dir)
}

// syncDir makes a rename in the directory survive a power failure.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func writeSynced(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func (o *Outbox) file(lease string) string {
	return filepath.Join(o.dir, strings.ReplaceAll(lease, "/", "_")+outboxSuffix)
}

// Len is how many endings wait.
func (o *Outbox) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.items)
}

// has reports whether the ending of a lease waits.
func (o *Outbox) has(lease string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, waits := o.items[lease]
	return waits
}

// tells reports whether the receipt of an event waits, which says more of it than
// anybody else knows.
func (o *Outbox) tells(e budget.Event) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p, waits := o.items[e.Lease]
	return waits && p.Settlement.Event == e.Number
}

// full reports whether no more calls may begin.
func (o *Outbox) full() bool { return o.Len() >= o.max }

func (o *Outbox) pending() []pending {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]pending, 0, len(o.items))
	for _, p := range o.items {
		list = append(list, p)
	}
	return list
}

// note remembers, while the process lives, that the ledger has acknowledged an
// ending: by the time the log takes its receipt the ledger may have forgotten.
func (o *Outbox) note(p pending) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items[p.Settlement.Lease] = p
}

func (o *Outbox) drop(lease string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.items, lease)
	if o.dir == "" {
		return
	}
	if err := os.Remove(o.file(lease)); err != nil && !errors.Is(err, os.ErrNotExist) {
		o.logger.Error("outbox entry not removed, it will be repeated", "lease", lease, "err", err)
	}
}

// drain delivers what waits in the outbox until the context ends.
func (g *Gate) drain(ctx context.Context) {
	tick := time.NewTicker(outboxRetry)
	defer tick.Stop()
	for {
		g.deliver(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// deliver tries every waiting ending once, and gives up the round when the
// ledger or the log does not answer.
func (g *Gate) deliver(ctx context.Context) {
	ended := g.finishAll(ctx)
	written, err := g.written(ctx, ended)
	if errors.Is(err, audit.ErrWriteOnly) {
		markCopies(ended)
	} else if err != nil {
		g.logger.Warn("outbox: receipts of the process before not found", "err", err)
		return
	}
	for _, p := range ended {
		if _, ok := written[eventOf(p)]; ok {
			g.ledger.Acknowledge(p.Settlement.Tenant, p.Settlement.Event)
		} else if err := g.receipt(ctx, p); errors.Is(err, audit.ErrInvalid) {
			// The others must not wait for it. The sweep receipts the event.
			g.logger.Error("outbox: no receipt can tell this ending", "lease", p.Settlement.Lease, "err", err)
		} else if err != nil {
			g.logger.Warn("outbox: receipt not written yet", "lease", p.Settlement.Lease, "err", err)
			return
		}
		g.outbox.drop(p.Settlement.Lease)
	}
}

// finishAll ends the waiting leases in the ledger and returns those that want
// a receipt.
func (g *Gate) finishAll(ctx context.Context) []pending {
	var ended []pending
	for _, p := range g.outbox.pending() {
		// What an earlier process was told need not have become durable.
		if p.Settlement.Event != 0 && !p.doubtful { // in an earlier round; its receipt is what waits
			ended = append(ended, p)
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, endLimit)
		err := g.finish(ctx, &p)
		cancel()
		switch {
		case errors.Is(err, budget.ErrUnavailable):
			g.logger.Warn("outbox: the ledger does not answer", "lease", p.Settlement.Lease, "err", err)
			return ended
		case err != nil: // of this tenant alone
			g.logger.Warn("outbox: ending not taken yet", "tenant", p.Settlement.Tenant, "lease", p.Settlement.Lease, "err", err)
			continue
		}
		g.line.poke(p.Settlement.Tenant)
		if p.Settlement.Event == 0 {
			g.outbox.drop(p.Settlement.Lease)
			continue
		}
		g.outbox.note(p)
		ended = append(ended, p)
	}
	return ended
}

// markCopies marks the doubtful endings: of their receipts there may be one
// already, and nobody can look.
func markCopies(ended []pending) {
	for i := range ended {
		ended[i].copied = ended[i].doubtful
	}
}

// body is the ending's receipt.
func (p *pending) body() audit.Body {
	if !p.copied {
		return p.Settlement
	}
	s := p.Settlement
	return eventReceipt(budget.Event{
		Tenant: s.Tenant, Epoch: s.Epoch, Number: s.Event, Kind: budget.EventKind(s.Outcome),
		At: s.At, Lease: s.Lease, Amount: s.Charge,
	})
}

// written returns the receipts that doubtful endings have already.
func (g *Gate) written(ctx context.Context, ended []pending) (map[audit.EventID]audit.Ref, error) {
	var ids []audit.EventID
	for _, p := range ended {
		if p.doubtful {
			ids = append(ids, eventOf(p))
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return g.log.Find(ctx, ids...)
}

func eventOf(p pending) audit.EventID {
	s := p.Settlement
	return audit.EventID{Tenant: s.Tenant, Epoch: s.Epoch, Number: s.Event}
}

// keep puts an ending into the outbox that ledger or log did not take.
func (g *Gate) keep(p pending, err error) {
	g.doubts.note(p.Settlement.Tenant)
	g.logger.Warn("settlement not acknowledged, kept in the outbox",
		"tenant", p.Settlement.Tenant, "lease", p.Settlement.Lease, "err", err)
	g.outbox.put(p)
}

// post has the receipt of a lease that has ended written soon.
func (g *Gate) post(p *pending) {
	g.postReceipt(&p.Settlement, func(_ audit.Ref, err error) { g.posted(*p, err) })
}

// postReceipt has the receipt of an event written soon. Close waits until told was
// called, so as not to take the event for one that nobody receipts.
func (g *Gate) postReceipt(body audit.Body, told func(audit.Ref, error)) {
	if !g.posts.enter() {
		g.log.Post(body, told)
		return
	}
	g.log.Post(body, func(ref audit.Ref, err error) {
		defer g.posts.leave()
		told(ref, err)
	})
}

func (g *Gate) posted(p pending, err error) {
	if err != nil {
		g.keep(p, fmt.Errorf("receipt: %w", err))
		return
	}
	g.ledger.Acknowledge(p.Settlement.Tenant, p.Settlement.Event)
}

// finish ends a lease in the ledger, which answers a repeat alike, and
// completes its settlement. Its event stays 0 where there is nothing to
// receipt: the ledger has forgotten the lease, or another end came first.
func (g *Gate) finish(ctx context.Context, p *pending) error {
	s := &p.Settlement
	ending, err := g.endLease(ctx, p)
	if errors.Is(err, budget.ErrUnknownLease) || errors.Is(err, budget.ErrEnded) {
		g.logger.Error("lease had ended otherwise", "tenant", s.Tenant, "lease", s.Lease, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	p.complete(ending)
	return nil
}

// complete fills in what the ledger says of the end.
func (p *pending) complete(ending budget.Ending) {
	s := &p.Settlement
	s.At, s.Epoch, s.Event = ending.At, ending.Epoch, ending.Number
	s.Outcome, s.Charge = string(ending.Kind), ending.Charge
	s.Overrun = max(0, s.Charge-s.Hold)
}

func (g *Gate) endLease(ctx context.Context, p *pending) (budget.Ending, error) {
	lease := budget.LeaseRef{Tenant: p.Settlement.Tenant, Lease: p.Settlement.Lease}
	start := time.Now()
	defer func() { g.telemetry.Ledger(p.Verb, time.Since(start)) }()
	if p.Verb == verbRelease {
		return g.ledger.Release(ctx, lease)
	}
	return g.ledger.Settle(ctx, lease, budget.Actual{Cost: p.Settlement.Charge})
}

// receipt writes the receipt of a lease that has ended. It waits for the log
// however long that takes: a receipt that was given up might still be written,
// and the next try would be a second one of the same event.
func (g *Gate) receipt(ctx context.Context, p pending) error {
	if _, err := g.append(context.WithoutCancel(ctx), p.body()); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	g.ledger.Acknowledge(p.Settlement.Tenant, p.Settlement.Event)
	return nil
}
