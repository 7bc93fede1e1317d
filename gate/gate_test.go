package gate_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func TestCallIsHeldThenSettled(t *testing.T) {
	w := newWorld(t, daily(1000))
	grant := w.begin(w.call(100, 50))
	w.mustBalance(0, 200)
	if grant.Hold() != 200 || grant.OutputCap != 50 || grant.InputTokens() != 100 || grant.Receipt == "" {
		t.Errorf("grant %+v holds %d", grant, grant.Hold())
	}
	grant.End(used(90, 10))
	w.mustBalance(110, 0)

	decision := bodies[audit.Decision](w.receipts())[0]
	if decision.Verdict != audit.Allow || decision.Facts.Cost != 200 || len(decision.Claims) != 1 || decision.Lease == "" {
		t.Errorf("decision %+v", decision)
	}
	s := w.settlement()
	if s.Charge != 110 || s.Hold != 200 || s.Overrun != 0 || s.Basis != audit.BasisReported || s.Decision != grant.Receipt || s.Lease != decision.Lease {
		t.Errorf("settlement %+v", s)
	}
}

// TestOutcomesAreCharged is the price of every way in which a call can end,
// for a hold of 200.
func TestOutcomesAreCharged(t *testing.T) {
	reported := func(u call.Usage) gate.Outcome {
		return gate.Outcome{Sent: true, Basis: audit.BasisReported, Lines: []call.Line{{Usage: u}}}
	}
	named := func(nano int64) gate.Outcome {
		o := used(100, 10) // 120 by its price
		o.Lines[0].Billed = nano
		return o
	}
	for _, row := range []struct {
		name    string
		outcome gate.Outcome
		charge  int64
		basis   string
		overrun int64
	}{
		{"the answer names less than the price", named(50), 120, audit.BasisReported, 0},
		{"the answer names more than the price", named(150), 150, audit.BasisReported, 0},
		{"the answer names more than the hold", named(1234), 1234, audit.BasisReported, 1034},
		{"the answer names an amount of less than nothing", named(-1), 200, audit.BasisUnknown, 0},
		{"the answer names more money than there is", named(math.MaxInt64), 200, audit.BasisUnknown, 0},
		{"an amount above the hold and nothing else", gate.Outcome{Sent: true, Basis: audit.BasisUnknown, Lines: []call.Line{{Billed: 1234}}}, 1234, audit.BasisUnknown, 1034},
		{"an amount below the hold and nothing else", gate.Outcome{Sent: true, Basis: audit.BasisUnknown, Lines: []call.Line{{Billed: 50}}}, 200, audit.BasisUnknown, 0},
		{"an amount beside usage that cannot be counted", gate.Outcome{Sent: true, Basis: audit.BasisReported, Lines: []call.Line{{Usage: call.Usage{call.Input: 1 << 60}, Billed: 1234}}}, 1234, audit.BasisUnknown, 1034},
		{"an amount beside a service that no receipt can tell", gate.Outcome{Sent: true, Basis: audit.BasisReported, Lines: []call.Line{{Key: call.Key{Service: strings.Repeat("s", 1000)}, Billed: 1234}}}, 1234, audit.BasisUnknown, 1034},
		{"amounts of several runs and nothing else", gate.Outcome{Sent: true, Basis: audit.BasisUnknown, Lines: []call.Line{{Billed: 1000}, {Key: call.Key{Model: "gpt-4o"}, Billed: 234}}}, 1234, audit.BasisUnknown, 1034},
		{"amounts beyond all counting", gate.Outcome{Sent: true, Basis: audit.BasisUnknown, Lines: []call.Line{{Billed: math.MaxInt64}, {Billed: math.MaxInt64}}}, 200, audit.BasisUnknown, 0},
		{"an amount of what was not sent", gate.Outcome{Basis: audit.BasisUnknown, Lines: []call.Line{{Billed: 1234}}}, 0, audit.BasisUnbilled, 0},
		{"reported", used(100, 50), 200, audit.BasisReported, 0},
		{"not sent, whatever the basis says", gate.Outcome{Basis: audit.BasisUnknown}, 0, audit.BasisUnbilled, 0},
		{"an error that is not billed", gate.Outcome{Sent: true, Basis: audit.BasisUnbilled, Status: 429}, 0, audit.BasisUnbilled, 0},
		{"an error that may be billed", gate.Outcome{Sent: true, Basis: audit.BasisUnbilled, Status: 502}, 200, audit.BasisUnknown, 0},
		{"an error of no status", gate.Outcome{Sent: true, Basis: audit.BasisUnbilled}, 200, audit.BasisUnknown, 0},
		{"cost unknown", gate.Outcome{Sent: true, Basis: audit.BasisUnknown}, 200, audit.BasisUnknown, 0},
		{"no basis at all", gate.Outcome{Sent: true}, 200, audit.BasisUnknown, 0},
		{"a floor", gate.Outcome{Sent: true, Basis: audit.BasisFloor, Lines: []call.Line{{Usage: call.Usage{call.Input: 100, call.Output: 3}}}}, 106, audit.BasisFloor, 0},
		{"above the hold: in full", used(100, 500), 1100, audit.BasisReported, 900},
		{"impossible: cached above input", reported(call.Usage{call.Input: -1, call.CachedInput: 6}), 200, audit.BasisUnknown, 0},
		{"impossible: negative", reported(call.Usage{call.Input: -5}), 200, audit.BasisUnknown, 0},
		{"beyond all counting", reported(call.Usage{call.Input: 1 << 60}), 200, audit.BasisUnknown, 0},
		{"another model than the one whose price the policy tells", gate.Outcome{Sent: true, Basis: audit.BasisReported, Lines: []call.Line{{Key: call.Key{Model: "gpt-4o"}, Usage: call.Usage{call.Input: 1, call.Output: 1}}}},
			3, audit.BasisReported, 0},
		{"cached input, and another model", gate.Outcome{Sent: true, Basis: audit.BasisReported, Lines: []call.Line{{Key: call.Key{Model: "gpt-4o"}, Usage: call.Usage{call.Input: 2, call.CachedInput: 8}}}},
			10, audit.BasisReported, 0},
		{"a model without a price", gate.Outcome{Sent: true, Basis: audit.BasisReported, Lines: []call.Line{{Key: call.Key{Model: "nobody-knows"}, Usage: call.Usage{call.Input: 1, call.Output: 1}}}},
			3, audit.BasisReported, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, daily(1000))
			w.begin(w.call(100, 50)).End(row.outcome)
			w.mustBalance(row.charge, 0)
			s := w.settlement()
			if s.Charge != row.charge || s.Basis != row.basis || s.Overrun != row.overrun {
				t.Errorf("charged %d on basis %s, overrun %d", s.Charge, s.Basis, s.Overrun)
			}
			uses := func(l call.Line) bool { return l.Usage != call.Usage{} }
			if row.basis == audit.BasisUnknown && slices.ContainsFunc(s.Lines, uses) {
				t.Errorf("a charge that rests on no usage states one: %+v", s.Lines)
			}
			w.settleAll(nil)
			w.mustReplay(t, w.rules)
		})
	}
}

func TestReceiptedEventsAreAcknowledged(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.begin(w.call(100, 50)).End(used(90, 10))
	left, err := w.real.Unacknowledged("acme")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if e.Lease != "" {
			t.Errorf("%s of the call waits for a receipt that is there", e.Kind)
		}
	}
}

func TestOverrunStopsGrants(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.begin(w.call(100, 50)).End(used(100, 5000))
	w.mustBalance(10100, 0)
	w.refused(w.call(1, 1), policy.BudgetExhausted)
}

func TestEndsOnce(t *testing.T) {
	w := newWorld(t, daily(1000))
	grant := w.begin(w.call(100, 50))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { grant.End(used(90, 10)) })
	}
	group.Wait()
	grant.End(gate.Outcome{Sent: true, Basis: audit.BasisUnknown})
	w.mustBalance(110, 0)
	w.settlement()
}

func TestEndSettlesInAPanic(t *testing.T) {
	w := newWorld(t, daily(1000))
	func() {
		defer func() { _ = recover() }()
		grant := w.begin(w.call(100, 50))
		defer func() { grant.End(gate.Outcome{Sent: true, Basis: audit.BasisUnknown}) }()
		panic("the call broke")
	}()
	w.mustBalance(200, 0)
}

// TestLedgerErrorsDeny fails the reserve in every way that the contract names.
// Nothing may be held when it is over, whether or not the ledger had granted.
func TestLedgerErrorsDeny(t *testing.T) {
	for _, row := range []struct {
		name   string
		fault  fault
		reason call.Reason
	}{
		{"unavailable", fault{err: budget.ErrUnavailable}, policy.LedgerUnavailable},
		{"unavailable, granted all the same", fault{err: budget.ErrUnavailable, lost: true}, policy.LedgerUnavailable},
		{"unreachable", fault{err: budget.ErrUnreachable}, policy.LedgerUnavailable},
		{"state lost", fault{err: budget.ErrLost}, policy.LedgerUnavailable},
		{"policy stale", fault{err: budget.ErrStalePolicy}, policy.StalePolicy},
		{"too late", fault{err: budget.ErrDeadline}, policy.LedgerUnavailable},
		{"no window fits", fault{err: budget.ErrWindow}, policy.LedgerUnavailable},
		{"a bug of ours", fault{err: budget.ErrInvalid}, policy.LedgerUnavailable},
		{"a lease that has ended", fault{err: budget.ErrEnded}, policy.LedgerUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, daily(1000))
			w.ledger.fail("reserve", row.fault)
			refusal := w.refused(w.call(100, 50), row.reason)
			if refusal.Receipt == "" {
				t.Error("the denial has no receipt")
			}
			w.ledger.heal()
			w.drain()
			w.mustBalance(0, 0)
			w.begin(w.call(100, 450)).End(used(100, 450)) // all of the budget is free
		})
	}
}

func TestReserveIsTriedAgainWhenTheWindowTurns(t *testing.T) {
	w := newWorld(t, daily(1000))
	turned := &turningLedger{Ledger: w.real}
	g := gate.New(gate.Config{Ledger: turned, Log: w.log, Outbox: w.outbox})
	grant, err := g.Begin(context.Background(), w.call(100, 50))
	if err != nil || turned.reserves != 2 {
		t.Fatalf("%v after %d reserves", err, turned.reserves)
	}
	grant.End(used(100, 50))
}

// turningLedger refuses the first reserve because its window is over.
type turningLedger struct {
	gate.Ledger
	reserves int
}

func (l *turningLedger) Reserve(ctx context.Context, r budget.Reservation) (budget.Grant, error) {
	l.reserves++
	if l.reserves == 1 {
		return budget.Grant{}, budget.ErrWindow
	}
	return l.Ledger.Reserve(ctx, r)
}

func TestReceiptNotWrittenDenies(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.log.fail(refuseDecisions)
	refusal := w.refused(w.call(100, 50), policy.ReceiptsUnavailable)
	if refusal.Receipt != "" {
		t.Error("a receipt that was not written has an id")
	}
	w.log.fail(nil)
	w.drain()
	w.mustBalance(0, 0)
	if n := len(bodies[audit.Decision](w.receipts())); n != 0 {
		t.Errorf("%d decisions in the log", n)
	}
}

// TestClientThatLeavesHoldsNothing: nor is that the ledger's fault, in receipt
// or log.
func TestClientThatLeavesHoldsNothing(t *testing.T) {
	w := newWorld(t, daily(1000))
	var said bytes.Buffer
	g := gate.New(gate.Config{Ledger: w.real, Log: w.log, Outbox: w.outbox, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := g.Begin(ctx, w.call(100, 50))
	if refusal, ok := errors.AsType[*call.Denial](err); !ok || refusal.Reason != policy.ClientClosedRequest || refusal.Receipt == "" {
		t.Fatalf("got %v", err)
	}
	w.drain()
	w.mustBalance(0, 0)
	if said.Len() > 0 {
		t.Errorf("logged: %s", &said)
	}
	w.begin(w.call(100, 50)).End(used(100, 50))
	w.clock.advance(budget.OverdueAfter)
	w.sweepOnce()
	w.mustReplay(t, w.rules)
}

func TestDenialsHaveReceipts(t *testing.T) {
	w := newWorld(t, daily(1000)+"\nmodels: {deny: [\"gpt-4o\"]}")
	exhausted := w.call(100, 500)
	forbidden := w.call(1, 1)
	forbidden.Facts.Model = "gpt-4o"
	unpriced := w.call(1, 1)
	unpriced.Facts.Model = "nobody-knows"
	overflow := w.call(1<<50, 1)
	odd := w.call(1, 1)
	odd.Choices = 0
	for _, row := range []struct {
		reason call.Reason
		bid    gate.Bid
		claims int
	}{
		{policy.BudgetExhausted, exhausted, 1},
		{policy.ModelNotAllowed, forbidden, 0},
		{policy.NoPrice, unpriced, 0},
		{policy.NoBound, overflow, 0},
		{policy.NoBound, odd, 0},
	} {
		refusal := w.refused(row.bid, row.reason)
		list := bodies[audit.Decision](w.receipts())
		last := list[len(list)-1]
		if refusal.Receipt == "" || last.Verdict != audit.Deny || last.Reasons[0] != string(row.reason) || len(last.Claims) != row.claims {
			t.Errorf("%s: receipt %q tells %+v", row.reason, refusal.Receipt, last)
		}
	}
	w.mustBalance(0, 0)
}

func TestRefuseWritesAReceipt(t *testing.T) {
	w := newWorld(t, daily(1000))
	bid := gate.Bid{Rules: w.rules, Key: w.key(), Facts: call.Facts{Model: "toy"}}
	refusal := w.gate.Refuse(context.Background(), bid, &call.Denial{Reason: policy.NoRoute, Message: "nowhere"})
	list := bodies[audit.Decision](w.receipts())
	if refusal.Receipt == "" || len(list) != 1 || list[0].Reasons[0] != string(policy.NoRoute) || list[0].At == 0 {
		t.Errorf("receipt %q, log %+v", refusal.Receipt, list)
	}
}

// TestAudioNeedsAnAudioPrice: at the rate of text its bound would be none.
func TestAudioNeedsAnAudioPrice(t *testing.T) {
	w := newWorld(t, daily(900_000_000))
	for model, priced := range map[string]bool{"gpt-4o-audio-preview": false, "gpt-audio": true} {
		bid := w.call(10, 10)
		bid.Facts.Model, bid.Kinds = model, call.Of(call.AudioOutput)
		if !priced {
			w.refused(bid, policy.NoPrice)
			continue
		}
		w.begin(bid).End(used(10, 10))
	}
}

func TestObserveNeverDenies(t *testing.T) {
	w := newWorld(t, daily(100)+"\nmode: observe\nper_request_usd: \"0.000000150\"\nmodels: {deny: [\"toy\"]}")
	w.begin(w.call(100, 50)).End(used(100, 50))
	w.begin(w.call(100, 50)).End(used(100, 50))
	w.mustBalance(400, 0)
	want := []string{"model_not_allowed", "budget_exhausted"}
	for _, d := range bodies[audit.Decision](w.receipts()) {
		if d.Verdict != audit.Allow || len(d.Reasons) != 2 || d.Reasons[0] != want[0] || d.Reasons[1] != want[1] {
			t.Errorf("verdict %s, reasons %v, want %v", d.Verdict, d.Reasons, want)
		}
	}
}

func TestSoftBudgetWarns(t *testing.T) {
	w := newWorld(t, `budgets: [{name: hint, window: forever, limit_usd: "0.000000150", kind: soft}]`)
	grant := w.begin(w.call(100, 50))
	if len(grant.Warnings) != 1 || grant.Warnings[0] != (policy.Warning{Budget: "hint"}) {
		t.Errorf("warnings %v", grant.Warnings)
	}
	grant.End(used(1, 1))
	grant = w.begin(w.call(10, 10))
	if len(grant.Warnings) != 0 {
		t.Errorf("warnings %v", grant.Warnings)
	}
	grant.End(used(1, 1))
}

func TestSettlementAfterExpiryCorrects(t *testing.T) {
	w := newWorld(t, daily(1000))
	grant := w.begin(w.call(100, 50))
	w.clock.advance(gate.LeaseTTL + time.Second)
	if err := w.upkeep().Sweep(context.Background(), "acme"); err != nil {
		t.Fatal(err)
	}
	w.mustBalance(200, 0)
	grant.End(used(90, 10))
	w.mustBalance(110, 0)
	if s := w.settlement(); s.Outcome != string(budget.Corrected) || s.Charge != 110 {
		t.Errorf("settlement %+v", s)
	}
}

func TestReleaseAfterExpiryCorrectsToNothing(t *testing.T) {
	w := newWorld(t, daily(1000))
	grant := w.begin(w.call(100, 50))
	w.clock.advance(gate.LeaseTTL + time.Second)
	grant.End(gate.Outcome{})
	w.mustBalance(0, 0)
	if s := w.settlement(); s.Outcome != string(budget.Corrected) || s.Charge != 0 {
		t.Errorf("settlement %+v", s)
	}
}

func TestRefusalIsAnError(t *testing.T) {
	w := newWorld(t, daily(10))
	_, err := w.gate.Begin(context.Background(), w.call(100, 50))
	var refusal *call.Denial
	if !errors.As(err, &refusal) || refusal.Budget != "daily" || refusal.Limit != 10 || refusal.Needed != 200 {
		t.Errorf("%v", err)
	}
}
