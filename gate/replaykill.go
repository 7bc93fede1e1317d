package gate

import (
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// judgeKilled holds a denial by a kill switch against those that were thrown.
func (l *life) judgeKilled(q *quote) *fault {
	if l.state.Stopped(q.Key.Switches(nil, &q.Facts)) == "" {
		return faultf(WrongDenial, "no kill switch was thrown that stops it")
	}
	return nil
}

// checkStopped finds leave that was given, or extended, while a kill switch was
// thrown which stops the call.
func (l *life) checkStopped(e *entry, held *heldLease) *fault {
	if !l.state.AnyThrown() {
		return nil
	}
	if name := l.state.Stopped(switchesOf(e, held)); name != "" {
		return faultf(WrongAllow, "the kill switch %s was thrown", name)
	}
	return nil
}

// switchesOf are the kill switches that stop what an event tells of. Where no
// decision tells who asked, those are left out that stop only some.
func switchesOf(e *entry, held *heldLease) []string {
	anybody := new(policy.Key)
	switch {
	case e.told.Kind == budget.Granted && e.quote != nil:
		return e.quote.Key.Switches(nil, &e.quote.Facts)
	case e.told.Kind == budget.Granted:
		return anybody.Switches(nil, new(call.Facts))
	case e.told.Kind == budget.Extended && held != nil && held.quote != nil:
		asker := policy.Key{ID: e.asker()} // any key of the tenant may extend it
		return asker.Switches(nil, &held.quote.Facts)
	case e.told.Kind == budget.Extended:
		return anybody.Switches(nil, new(call.Facts))
	}
	return nil
}
