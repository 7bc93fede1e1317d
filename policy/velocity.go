package policy

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// requests is the unit of velocity. The rule: each request that is sent counts
// as one in every rate that concerns it, also where it fails or costs nothing.
// A rate of an endpoint concerns the requests to it alone.
// One that is denied, or of which no byte was sent, does not count, and a
// request that goes on to a fallback counts once.
var requests = &unit{
	name:     "requests",
	noun:     "request limit",
	atEnd:    budget.Keep,
	once:     true,
	amount:   one,
	write:    plain,
	reason:   func(budget.Reason) call.Reason { return RequestRate },
	final:    func(budget.Reason) bool { return true }, // those in flight will count too
	describe: describeRequests,
	retry:    retryRequests,
}

func describeRequests(d *refused, w budget.Window) string {
	return fmt.Sprintf("%s has no request left%s; %s", d.subject(), d.amounts(), d.reset(w, "requests"))
}

// maxRetryAfter is the longest Retry-After, in seconds, that official SDKs
// obey.
const maxRetryAfter = 60

// retryRequests waits for the window to end. Of a rolling one a sixtieth may
// leave at a time.
func retryRequests(r refusal) (after int64, again call.Retry) {
	switch r.claim.Window.Kind {
	case budget.Rolling:
		return clampRetry(int64(r.claim.Window.Length / budget.RollingBuckets / time.Second)), call.RetryUnsaid
	case budget.Fixed:
		left := (r.seen.Span.End - r.at + 999) / 1000
		if left <= maxRetryAfter {
			return clampRetry(left), call.RetryUnsaid
		}
	}
	return 0, call.RetryNever
}

func clampRetry(seconds int64) int64 { return min(max(seconds, 1), maxRetryAfter) }

func (l *loader) rate(n *yaml.Node, d *rateDoc) *Budget {
	b := &Budget{Kind: Hard, unit: requests, Window: l.window(n, &d.windowDoc)}
	l.limit(n, &d.limitDoc, b)
	if d.Endpoint.given() {
		b.Endpoint, _ = l.pattern(&d.Endpoint)
	}
	if l.require(n, &d.Limit.entry, "limit", "write how many requests may be sent in the window") {
		b.Limit = l.count(&d.Limit, 0, 1, maxCount)
	}
	return b
}
