package gate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// lineMax bounds the requests of one tenant that wait on this replica.
	lineMax = 10_000
	// lineTick is how often the first in line asks again, for holds that end
	// on other replicas.
	lineTick = 50 * time.Millisecond
)

var (
	errNoLine   = errors.New("the policy lets no request wait")
	errLineFull = errors.New("the line is full")
	errWaited   = errors.New("waited in line as long as the policy allows")
)

// line lets held requests of a tenant wait for room in order of arrival. Only
// the first of each tenant asks the ledger again: when a lease of the tenant
// ends here, and at every tick. The order holds within one replica.
type line struct {
	mu     sync.Mutex
	queues map[string][]*place // by tenant; no empty ones
}

// place is one request's standing, outside the line until it enters.
type place struct {
	line   *line
	tenant *policy.Tenant
	call   chan struct{} // nil outside the line; one buffered wake-up
	until  time.Time
}

func newLine() *line { return &line{queues: map[string][]*place{}} }

// queueIfBusy waits in line if others of the tenant do already, so that the
// request does not overtake them.
func (p *place) queueIfBusy(ctx context.Context) error {
	if p.tenant.WaitLimit == 0 || !p.line.busy(p.tenant.Name) {
		return nil
	}
	return p.wait(ctx)
}

func (l *line) busy(tenant string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queues[tenant]) > 0
}

// wait returns once the request is first in line and something has changed. It
// enters the line first if need be.
func (p *place) wait(ctx context.Context) error {
	if err := p.enter(); err != nil {
		return err
	}
	timeout := time.NewTimer(time.Until(p.until))
	defer timeout.Stop()
	for {
		var tick <-chan time.Time
		if p.first() {
			tick = time.After(lineTick)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return errWaited
		case <-p.call:
		case <-tick:
		}
		if p.first() {
			return nil
		}
	}
}

// enter puts the request at the end of the line, unless it stands there.
func (p *place) enter() error {
	if p.call != nil {
		return nil
	}
	if p.tenant.WaitLimit == 0 {
		return errNoLine
	}
	l := p.line
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.queues[p.tenant.Name]
	if len(queue) >= lineMax {
		return errLineFull
	}
	p.call = make(chan struct{}, 1)
	p.until = time.Now().Add(p.tenant.WaitLimit)
	l.queues[p.tenant.Name] = append(queue, p)
	return nil
}

func (p *place) first() bool {
	p.line.mu.Lock()
	defer p.line.mu.Unlock()
	return p.line.queues[p.tenant.Name][0] == p
}

// leave ends the request's standing and wakes whoever is first then.
func (p *place) leave() {
	if p.call == nil {
		return
	}
	l := p.line
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.queues[p.tenant.Name]
	i := slices.Index(queue, p)
	queue = slices.Delete(queue, i, i+1)
	if len(queue) == 0 {
		delete(l.queues, p.tenant.Name)
		return
	}
	l.queues[p.tenant.Name] = queue
	queue[0].wake()
}

// poke wakes the first in a tenant's line: a lease has ended.
func (l *line) poke(tenant string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if queue := l.queues[tenant]; len(queue) > 0 {
		queue[0].wake()
	}
}

func (p *place) wake() {
	select {
	case p.call <- struct{}{}:
	default:
	}
}

func lineDenial(err error) *call.Denial {
	return &call.Denial{Reason: policy.BudgetHeld, Message: "requests in flight still hold what this one needs: " + err.Error()}
}
