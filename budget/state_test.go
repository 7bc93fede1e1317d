package budget_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"pgregory.net/rapid"
)

const start = 1_772_366_400_000 // 2026-03-01 12:00 UTC

var (
	firstPolicy  = budget.PolicyVersion{Generation: 1, Hash: "aa"}
	secondPolicy = budget.PolicyVersion{Generation: 2, Hash: "bb"}
)

// history is a tenant with an open lease of 10 in "usd", limit 100, an expired
// one, a settled one, a tombstone and a thrown switch: nine events, the last at
// start+3000.
func history() []budget.Event {
	about := budget.Event{Tenant: "acme", Epoch: "e1"}
	event := func(number int64, kind budget.EventKind, at int64, lease string, amount int64) budget.Event {
		e := about
		e.Number, e.Kind, e.At, e.Lease, e.Amount = number, kind, start+at, lease, amount
		return e
	}
	grant := func(number, at int64, lease string, o budget.Observed) budget.Event {
		e := event(number, budget.Granted, at, lease, 0)
		e.Expires, e.Policy = e.At+1000, firstPolicy
		e.Claims = []budget.Placed{{Claim: usd(10), Observed: o}}
		return e
	}
	policy := event(2, budget.PolicySeen, 0, "", 0)
	policy.Policy = firstPolicy
	kill := event(9, budget.Thrown, 3000, "", 0)
	kill.Switch = "key:a"
	return []budget.Event{
		event(1, budget.Provisioned, 0, "", 0),
		policy,
		grant(3, 0, "expired", budget.Observed{}),
		event(4, budget.Expired, 1000, "expired", 10),
		grant(5, 1000, "settled", budget.Observed{Spent: 10}),
		event(6, budget.Settled, 1500, "settled", 7),
		event(7, budget.Released, 2000, "tombstone", 0),
		grant(8, 3000, "open", budget.Observed{Spent: 17}),
		kill,
	}
}

func usd(amount int64) budget.Claim {
	return budget.Claim{Key: "usd", Amount: amount, Limit: 100, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Forever}}
}

func folded(t testing.TB) *budget.State {
	t.Helper()
	s := budget.NewState("acme")
	for _, e := range history() {
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestApply refuses every event that does not follow from history, says why,
// and changes no balance.
func TestApply(t *testing.T) {
	for name, row := range map[string]struct {
		kind  budget.EventKind
		spoil func(e *budget.Event)
		says  string
	}{
		"another tenant":            {budget.Settled, func(e *budget.Event) { e.Tenant = "other" }, `the tenant is "acme"`},
		"a gap":                     {budget.Settled, func(e *budget.Event) { e.Number++ }, "the number after 9 is 10"},
		"a number again":            {budget.Settled, func(e *budget.Event) { e.Number-- }, "the number after 9 is 10"},
		"another epoch":             {budget.Settled, func(e *budget.Event) { e.Epoch = "e2" }, "epoch"},
		"back in time":              {budget.Settled, func(e *budget.Event) { e.At = start + 2999 }, "before"},
		"far future":                {budget.Settled, func(e *budget.Event) { e.At = budget.MaxAmount }, "out of bounds"},
		"unknown kind":              {"borrow", nil, "unknown kind"},
		"provisioned twice":         {budget.Provisioned, nil, "exists"},
		"policy not newer":          {budget.PolicySeen, func(e *budget.Event) { e.Policy = firstPolicy }, "not above"},
		"settle unknown":            {budget.Settled, func(e *budget.Event) { e.Lease = "never" }, "unknown lease"},
		"settle twice":              {budget.Settled, func(e *budget.Event) { e.Lease = "settled" }, "ended"},
		"settle expired":            {budget.Settled, func(e *budget.Event) { e.Lease = "expired" }, "ended"},
		"settle below zero":         {budget.Settled, func(e *budget.Event) { e.Amount = -1 }, "outside"},
		"expire below the hold":     {budget.Expired, func(e *budget.Event) { e.Amount = 9 }, "charges the hold 10"},
		"settle less than no input": {budget.Settled, func(e *budget.Event) { e.Input = -1 }, "outside"},
		"settle too many tokens":    {budget.Settled, func(e *budget.Event) { e.Input, e.Output = budget.MaxAmount, 1 }, "outside"},
		"expire at tokens":          {budget.Expired, func(e *budget.Event) { e.Output = 1 }, "tells no tokens"},
		"release at tokens":         {budget.Released, func(e *budget.Event) { e.Amount, e.Input = 0, 1 }, "charges no tokens"},
		"release settled":           {budget.Released, func(e *budget.Event) { e.Lease, e.Amount = "settled", 0 }, "ended"},
		"release at a charge":       {budget.Released, nil, "charges nothing"},
		"correct open":              {budget.Corrected, nil, "not expired"},
		"correct unknown":           {budget.Corrected, func(e *budget.Event) { e.Lease = "never" }, "unknown lease"},
		"extend to the hold":        {budget.Extended, nil, "extends nothing"},
		"extend beyond the limit":   {budget.Extended, func(e *budget.Event) { e.Amount = 84 }, "does not fit"},
		"extend beyond a new limit": {budget.Extended, func(e *budget.Event) { e.Amount, e.Limits[0].Limit = 12, 28 }, "does not fit"},
		"extend without a limit":    {budget.Extended, func(e *budget.Event) { e.Amount, e.Limits = 11, nil }, "does not fit"},
		"extend by two limits":      {budget.Extended, func(e *budget.Event) { e.Amount, e.Limits = 11, append(e.Limits, e.Limits...) }, "two limits"},
		"extend under another":      {budget.Extended, func(e *budget.Event) { e.Amount, e.Policy = 11, secondPolicy }, "policy"},
		"grant of a known lease":    {budget.Granted, func(e *budget.Event) { e.Lease = "settled" }, "is known"},
		"grant of a tombstone":      {budget.Granted, func(e *budget.Event) { e.Lease = "tombstone" }, "is known"},
		"grant under another":       {budget.Granted, func(e *budget.Event) { e.Policy = secondPolicy }, "policy"},
		"grant that misobserved":    {budget.Granted, func(e *budget.Event) { e.Claims[0].Spent = 16 }, "the events give"},
		"grant beyond the limit":    {budget.Granted, func(e *budget.Event) { e.Claims[0].Amount = 74 }, "held"},
		"grant that never expires":  {budget.Granted, func(e *budget.Event) { e.Expires = e.At }, "expiry"},
		"grant that expires late":   {budget.Granted, func(e *budget.Event) { e.Expires = e.At + 7*3_600_000 }, "expiry"},
		"grant without a lease":     {budget.Granted, func(e *budget.Event) { e.Lease = "" }, "name"},
		"grant of a malformed key":  {budget.Granted, func(e *budget.Event) { e.Claims[0].Key = "" }, "name"},
		"kill without a switch":     {budget.Thrown, nil, "name"},
		"kill what is killed":       {budget.Thrown, func(e *budget.Event) { e.Switch = "key:a" }, "thrown already"},
		"lift what is not thrown":   {budget.Lifted, func(e *budget.Event) { e.Switch = "key:b" }, "not thrown"},
		"grant in a window unasked": {budget.Granted, func(e *budget.Event) { e.Claims[0].Span.End = 9 }, "has no span"},
	} {
		t.Run(name, func(t *testing.T) {
			s := folded(t)
			before := s.Snapshot()
			e := nextEvent(row.kind)
			if row.spoil != nil {
				row.spoil(&e)
			}
			err := s.Apply(e)
			if !errors.Is(err, budget.ErrFold) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("error is %v, want %q", err, row.says)
			}
			after := s.Snapshot()
			before.At, after.At = 0, 0
			if !reflect.DeepEqual(after, before) {
				t.Errorf("state changed from %+v to %+v", before, after)
			}
		})
	}
}

// nextEvent is one about the open lease (or a grant of another) that follows
// history, if its kind does.
func nextEvent(kind budget.EventKind) budget.Event {
	e := budget.Event{Tenant: "acme", Epoch: "e1", Number: 10, Kind: kind, At: start + 3500, Lease: "open", Amount: 10}
	if kind == budget.Granted {
		e.Lease, e.Amount, e.Expires, e.Policy = "next", 0, e.At+1000, firstPolicy
		e.Claims = []budget.Placed{{Claim: usd(5), Observed: budget.Observed{Spent: 17, Held: 10}}}
	}
	if kind == budget.Extended {
		e.Policy, e.Limits = firstPolicy, []budget.Limit{{Key: "usd", Limit: 100}}
	}
	return e
}

// TestApplyFollows shows that the events that TestApply spoils are otherwise
// sound.
func TestApplyFollows(t *testing.T) {
	extended := nextEvent(budget.Extended)
	extended.Amount, extended.Limits[0].Limit = 12, 29 // with 17 spent
	for _, e := range []budget.Event{nextEvent(budget.Settled), nextEvent(budget.Expired), nextEvent(budget.Granted), extended} {
		if err := folded(t).Apply(e); err != nil {
			t.Error(err)
		}
	}
	if err := budget.NewState("acme").Apply(history()[1]); !errors.Is(err, budget.ErrFold) {
		t.Errorf("a state that begins without its first event: %v", err)
	}
}

// TestForgotten bounds a state: after the longest memory nothing is left of a
// million requests but what is for ever.
func TestForgotten(t *testing.T) {
	s := budget.NewState("acme")
	apply(t, s, provisioned(t, s))
	for i := range 5000 {
		at := s.Advance(start + int64(i)*1000)
		r := budget.Reservation{Tenant: "acme", Lease: fmt.Sprint("lease-", i), Policy: firstPolicy, TTL: time.Second,
			Claims: []budget.Claim{usd(0), minutely(at), run(i)}}
		reserveIn(t, s, r, at)
		for e := s.Expire(at); e.Kind != ""; e = s.Expire(at) {
			apply(t, s, e)
		}
	}
	at := s.Advance(start + (5000 * time.Second).Milliseconds())
	apply(t, s, s.Expire(at))
	for range 10 {
		s.Advance(at + (48 * time.Hour).Milliseconds())
	}
	if left := s.Snapshot(); len(left.Leases) != 0 || len(left.Counters) != 1 {
		t.Errorf("%d leases and %d counters are left", len(left.Leases), len(left.Counters))
	}
}

// TestCountersKeepKeysAlone: a request's keys are parts of one text, and a counter
// that lives for weeks must not keep all of it.
func TestCountersKeepKeysAlone(t *testing.T) {
	s := budget.NewState("acme")
	apply(t, s, provisioned(t, s))
	all := strings.Repeat("a", budget.MaxKeyBytes) + "run/1"
	claim := run(1)
	claim.Key = all[budget.MaxKeyBytes:]
	reserveIn(t, s, budget.Reservation{Tenant: "acme", Lease: "l", Policy: firstPolicy, TTL: time.Second, Claims: []budget.Claim{claim}}, start)
	if c := s.Snapshot().Counters[0]; c.Key != claim.Key || unsafe.StringData(c.Key) == unsafe.StringData(claim.Key) {
		t.Errorf("counter %q has its claim's memory", c.Key)
	}
}

func minutely(at int64) budget.Claim {
	begun, minute := at/60_000*60_000, int64(60_000)
	return budget.Claim{Key: "rpm", Amount: 1, Limit: 100, AtEnd: budget.Keep, Window: budget.Window{Kind: budget.Fixed,
		Current: budget.Span{Start: begun, End: begun + minute}, Next: budget.Span{Start: begun + minute, End: begun + 2*minute}}}
}

func run(i int) budget.Claim {
	return budget.Claim{Key: fmt.Sprint("run/", i), Amount: 1, Limit: 1, AtEnd: budget.Keep, Group: "runs", GroupMax: 10_000,
		Window: budget.Window{Kind: budget.Idle, Length: time.Hour}}
}

func provisioned(t testing.TB, s *budget.State) budget.Event {
	t.Helper()
	e, err := s.Provision("e1", start)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func apply(t testing.TB, s *budget.State, e budget.Event) {
	t.Helper()
	if err := s.Apply(e); err != nil {
		t.Fatal(err)
	}
}

func reserveIn(t testing.TB, s *budget.State, r budget.Reservation, at int64) budget.Grant {
	t.Helper()
	for {
		g, e, err := s.Reserve(&r, at)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "" {
			return g
		}
		apply(t, s, e)
	}
}

// TestSnapshot writes a state down at any point of a random history and reads
// it back: both then answer alike, and are the same in the end.
func TestSnapshot(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := budget.NewState("acme")
		apply(t, s, provisioned(t, s))
		walk(rt, t, s, nil)
		twin, err := budget.FromSnapshot(s.Snapshot())
		if err != nil {
			rt.Fatal(err)
		}
		walk(rt, t, s, twin)
		if a, b := s.Snapshot(), twin.Snapshot(); !reflect.DeepEqual(a, b) {
			rt.Fatalf("state is\n%+v, its twin\n%+v", a, b)
		}
	})
}

// walk lets random events happen to a state and, if there is one, its twin.
func walk(rt *rapid.T, t *testing.T, s, twin *budget.State) {
	at := s.Advance(0)
	for range rapid.IntRange(0, 30).Draw(rt, "steps") {
		at = s.Advance(at + rapid.SampledFrom([]int64{1, 1000, 60_000, 660_000, 8_000_000, 100_000_000}).Draw(rt, "wait"))
		lease := fmt.Sprint("lease-", rapid.IntRange(0, 9).Draw(rt, "lease"))
		e := draw(rt, s, lease, at)
		if e.Kind == "" {
			continue
		}
		apply(t, s, e)
		if twin != nil {
			apply(t, twin, e)
		}
	}
	if twin != nil {
		twin.Advance(at)
	}
}

func limitsOf(claims []budget.Claim) (limits []budget.Limit) {
	for _, c := range claims {
		limits = append(limits, budget.Limit{Key: c.Key, Limit: c.Limit})
	}
	return limits
}

// draw is an event that could happen now, if any.
func draw(rt *rapid.T, s *budget.State, lease string, at int64) (e budget.Event) {
	if due := s.Expire(at); due.Kind != "" {
		return due
	}
	amount := rapid.Int64Range(0, 12).Draw(rt, "amount")
	rolling := budget.Claim{Key: "hour", Amount: amount, Limit: 80, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Rolling, Length: time.Hour}}
	r := budget.Reservation{Tenant: "acme", Lease: lease, Policy: firstPolicy, TTL: 2 * time.Hour,
		Claims: []budget.Claim{usd(amount), rolling, minutely(at), run(int(amount))}}
	name := fmt.Sprint("key:", amount)
	switch rapid.IntRange(0, 5).Draw(rt, "verb") {
	case 0:
		_, e, _ = s.Reserve(&r, at)
	case 1:
		_, e, _ = s.Extend(&budget.Extension{Lease: budget.LeaseRef{Tenant: "acme", Lease: lease}, Total: amount + 5, Policy: firstPolicy,
			Limits: limitsOf(r.Claims)}, at)
	case 2:
		_, e, _ = s.Settle(lease, budget.Actual{Cost: amount}, at)
	case 3:
		_, e, _ = s.Release(lease, at)
	case 4:
		_, e, _ = s.Throw(name, at)
	case 5:
		_, e = s.Lift(name, 0, at)
	}
	return e
}

// TestCorrectionOfWhatHasLeftItsWindow: what an expired lease was charged has left
// the rolling window when it is corrected, and nothing is taken off what it never
// was in, also where the state was written down and read back in between.
func TestCorrectionOfWhatHasLeftItsWindow(t *testing.T) {
	s := budget.NewState("acme")
	apply(t, s, provisioned(t, s))
	at := s.Advance(time.Hour.Milliseconds())
	hourly := func(lease string, amount int64) *budget.Reservation {
		return &budget.Reservation{Tenant: "acme", Lease: lease, Policy: firstPolicy, TTL: time.Minute, Claims: []budget.Claim{{
			Key: "hourly", Amount: amount, Limit: 80, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Rolling, Length: time.Hour}}}}
	}
	reserveIn(t, s, *hourly("early", 5), at)
	late := at + 50*time.Minute.Milliseconds()
	apply(t, s, s.Expire(s.Advance(late)))
	reserveIn(t, s, *hourly("keeps the counter", 0), s.Advance(late))
	at = s.Advance(late + 30*time.Second.Milliseconds() + time.Hour.Milliseconds())
	apply(t, s, s.Expire(at)) // of 0
	at = s.Advance(at + 2*time.Minute.Milliseconds())
	twin, err := budget.FromSnapshot(s.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	_, e, err := s.Settle("early", budget.Actual{Cost: 1}, at)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*budget.State{"the state": s, "its twin": twin} {
		apply(t, s, e)
		for _, c := range s.Snapshot().Counters {
			if c.Key == "hourly" && (len(c.Buckets) != 0 || c.SpentAt(at) != 0) {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

// TestFromSnapshot refuses one whose holds are not those of its leases.
func TestFromSnapshot(t *testing.T) {
	whole := folded(t).Snapshot()
	whole.Counters[0].Held++
	if _, err := budget.FromSnapshot(whole); err == nil {
		t.Error("a counter holds more than its leases")
	}
	whole = folded(t).Snapshot()
	whole.Counters = nil
	if _, err := budget.FromSnapshot(whole); err == nil {
		t.Error("a lease holds in a counter that is not there")
	}
}

func TestJudge(t *testing.T) {
	for _, row := range []struct {
		amount, limit, spent, held int64
		want                       budget.Reason
	}{
		{0, 0, 0, 0, budget.Fits},
		{10, 100, 50, 40, budget.Fits},
		{11, 100, 50, 40, budget.Held},
		{50, 100, 50, 40, budget.Held},
		{51, 100, 50, 40, budget.Exhausted},
		{0, 100, 101, 0, budget.Exhausted},
		{budget.MaxAmount, budget.NoLimit, 0, 0, budget.Fits},
		{budget.MaxAmount, budget.NoLimit, 0, 1, budget.Held},
		{budget.MaxAmount, budget.NoLimit, 1, 0, budget.Exhausted},
	} {
		if got := budget.Judge(row.amount, row.limit, budget.Observed{Spent: row.spent, Held: row.held}); got != row.want {
			t.Errorf("%+v: %q", row, got)
		}
	}
}

// TestProposalsAreNotForgeries: a grant that Reserve has just made is applied as
// it is, and one that was changed since, or that something else came before, is
// checked like any other.
func TestProposalsAreNotForgeries(t *testing.T) {
	reservation := func(lease string, amount int64) *budget.Reservation {
		return &budget.Reservation{Tenant: "acme", Lease: lease, Policy: budget.PolicyVersion{Generation: 1, Hash: "ab"}, TTL: time.Minute,
			Claims: []budget.Claim{{Key: "usd", Amount: amount, Limit: 10, AtEnd: budget.Adjust, Window: budget.Window{Kind: budget.Forever}}}}
	}
	begin := func() *budget.State {
		s := budget.NewState("acme")
		for _, e := range []budget.Event{
			{Tenant: "acme", Epoch: "e", Number: 1, Kind: budget.Provisioned, At: 1},
			{Tenant: "acme", Epoch: "e", Number: 2, Kind: budget.PolicySeen, At: 1, Policy: budget.PolicyVersion{Generation: 1, Hash: "ab"}},
		} {
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	propose := func(s *budget.State, lease string, amount int64) budget.Event {
		_, e, err := s.Reserve(reservation(lease, amount), 1)
		if err != nil || e.Kind != budget.Granted {
			t.Fatal(e, err)
		}
		return e
	}
	t.Run("as proposed", func(t *testing.T) {
		s := begin()
		if err := s.Apply(propose(s, "a", 6)); err != nil {
			t.Error(err)
		}
	})
	t.Run("another lease", func(t *testing.T) {
		s := begin()
		if err := s.Apply(propose(s, "a", 6)); err != nil {
			t.Fatal(err)
		}
		e := propose(s, "b", 4)
		e.Lease = "a"
		if err := s.Apply(e); !errors.Is(err, budget.ErrFold) {
			t.Errorf("a lease that is known: %v", err)
		}
	})
	t.Run("after another grant", func(t *testing.T) {
		s := begin()
		first, second := propose(s, "a", 6), propose(s, "b", 6)
		if err := s.Apply(second); err != nil {
			t.Fatal(err)
		}
		first.Number++
		if err := s.Apply(first); !errors.Is(err, budget.ErrFold) {
			t.Errorf("more than the limit: %v", err)
		}
	})
	t.Run("after a forgery", func(t *testing.T) {
		s := begin()
		if err := s.Apply(propose(s, "a", 6)); err != nil {
			t.Fatal(err)
		}
		e := propose(s, "b", 3)
		forged := e
		forged.Claims = slices.Clone(e.Claims)
		forged.Claims[0].Key = "other"
		if err := s.Apply(forged); !errors.Is(err, budget.ErrFold) {
			t.Fatalf("a forged key: %v", err)
		}
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
		if again := propose(s, "c", 1); again.Claims[0].Held != 9 {
			t.Errorf("it holds %d, want 9", again.Claims[0].Held)
		}
	})
	t.Run("later", func(t *testing.T) {
		s := begin()
		e := propose(s, "a", 6)
		e.At = 70_000
		if err := s.Apply(e); !errors.Is(err, budget.ErrFold) {
			t.Errorf("an expiry before the grant: %v", err)
		}
	})
}
