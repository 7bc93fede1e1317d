package gate_test

import (
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestDeadHoldersKeepNoSlot: a call whose process died gives its slot back when
// its lease expires. It may have been sent, so its nonce stays spent and its
// request counted.
func TestDeadHoldersKeepNoSlot(t *testing.T) {
	w := newWorld(t, "concurrency: [{name: parallel, limit: 1}]\nreplay: {}\nrates: [{name: all, window: forever, limit: 2}]")
	bid := w.call(100, 50)
	bid.Facts.Nonce = call.HashName("n")
	w.begin(bid)
	w.restart()
	w.refused(w.call(100, 50), policy.ConcurrencyFull)
	w.clock.advance(gate.LeaseTTL + time.Second)
	w.refused(bid, policy.ReplayedRequest)
	w.begin(w.call(100, 50)).End(used(1, 1))
	w.refused(w.call(100, 50), policy.RequestRate)
}

// TestDenialsOfCountsDoNotClamp: the money would fit with a lower cap, but no
// cap gives a slot, so none is told or tried.
func TestDenialsOfCountsDoNotClamp(t *testing.T) {
	w := newWorld(t, "when_exhausted: clamp\nmin_output_tokens: 1\nconcurrency: [{name: parallel, limit: 1}]\n"+daily(1000))
	first := w.begin(w.call(100, 400))
	asked := w.ledger.count("reserve")
	if refusal := w.refused(w.call(10, 100), policy.ConcurrencyFull); refusal.LargestCap != 0 {
		t.Errorf("largest cap %d", refusal.LargestCap)
	}
	if n := w.ledger.count("reserve") - asked; n != 1 {
		t.Errorf("the ledger was asked %d times", n)
	}
	first.End(gate.Outcome{})
}
