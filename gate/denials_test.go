package gate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// few gives three denials a second a receipt of their own.
const few = "denial_receipts_per_second: 3\n"

// deny has a call denied n times, and returns the ids in the answers.
func (w *world) deny(n int, c gate.Bid, reason call.Reason) []string {
	w.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = w.refused(c, reason).Receipt
	}
	return ids
}

// denials are the receipts of denials in the log, by the id in their answers.
func (w *world) denials() map[string]audit.Decision {
	w.t.Helper()
	told := map[string]audit.Decision{}
	for _, r := range w.receipts() {
		if d, ok := r.Body.(audit.Decision); ok && d.Verdict == audit.Deny {
			told[r.ID()] = d
		}
	}
	return told
}

// TestDenialsBeyondTheRateAreTold once a second: with the first one's facts, what
// it saw, how many there were and until when, under the id that each has as answer.
func TestDenialsBeyondTheRateAreToldOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, few+daily(1000))
		w.begin(w.call(400, 0)).End(used(400, 0))
		first := w.deny(20, w.call(900, 0), policy.BudgetExhausted)
		w.clock.advance(700 * time.Millisecond)
		time.Sleep(700 * time.Millisecond)
		first = append(first, w.deny(5, w.call(950, 0), policy.BudgetExhausted)...)
		if got := w.denials(); len(got) != 3 {
			t.Fatalf("%d receipts before the second is over, want 3", len(got))
		}
		time.Sleep(400 * time.Millisecond) // until it is written
		synctest.Wait()
		second := w.deny(4, w.call(900, 0), policy.BudgetExhausted)
		time.Sleep(2 * time.Second)
		synctest.Wait()

		told := w.denials()
		for i, id := range slices.Concat(first, second) {
			if _, ok := told[id]; !ok {
				t.Fatalf("answer %d names %q, which is not in the log", i, id)
			}
		}
		if len(told) != 3+1+3+1 || first[3] != first[24] || second[3] == first[3] {
			t.Fatalf("receipts %v of answers %v and %v", told, first, second)
		}
		d := told[first[24]]
		begun := w.clock.Now().Add(-700 * time.Millisecond).UnixMilli()
		if d.Denials.Count != 22 || d.At != begun || d.Denials.Until != begun+700 || d.Facts.Cost != 900 || d.Claims[0].Spent != 400 {
			t.Errorf("told %+v", d)
		}
		if last := told[second[3]]; last.Denials.Count != 1 {
			t.Errorf("told %+v", last)
		}
		w.sweepOnce()
		report := w.mustReplay(t, w.rules)
		if got := report.Denied[string(policy.BudgetExhausted)]; got != 29 || report.Counted != 21 {
			t.Errorf("replay finds %d denied, %d of them counted; want 29 and 21", got, report.Counted)
		}
	})
}

// TestKindsOfDenials are told apart by tenant, reason and policy, and by nothing
// that a client chooses.
func TestKindsOfDenials(t *testing.T) {
	w := newWorld(t, "denial_receipts_per_second: 0\nmodels: {deny: [gpt-4o]}\n"+daily(1000))
	kinds := map[string]bool{}
	for i := range 100 {
		c := w.call(2000, 0)
		c.SetNames(fmt.Sprint("run", i), fmt.Sprint("user", i), fmt.Sprint("nonce", i))
		c.Facts.Endpoint = []string{"chat/completions", "completions"}[i%2]
		kinds[w.refused(c, policy.BudgetExhausted).Receipt] = true
	}
	if len(kinds) != 1 {
		t.Fatalf("%d receipts of one tenant, reason and policy", len(kinds))
	}
	other := w.call(2000, 0)
	other.Facts.Model = "gpt-4o"
	kinds[w.refused(other, policy.ModelNotAllowed).Receipt] = true
	unbounded := &call.Denial{Reason: policy.NoBound}
	kinds[w.gate.Refuse(context.Background(), w.call(1, 0), unbounded).Receipt] = true
	w.rules = rulesAt(t, 2, "denial_receipts_per_second: 0\n"+daily(1000))
	kinds[w.refused(w.call(2000, 0), policy.BudgetExhausted).Receipt] = true
	w.gate.WriteDenials()
	if told := w.denials(); len(kinds) != 4 || len(told) != 4 {
		t.Errorf("%d kinds, %d receipts, want 4: %v", len(kinds), len(told), told)
	}
}

// TestDenialsOfOneTenantAreNotAnothers: each has a rate of its own.
func TestDenialsOfOneTenantAreNotAnothers(t *testing.T) {
	onEmbedded(t, func(w *actionWorld) {
		w.rules = actionRules(w.T, "plan: every", "denial_receipts_per_second: 1", "umbrella\n", "umbrella\n    denial_receipts_per_second: 1\n")
		var ids []string
		for range 2 {
			for _, tenant := range []string{"acme", "umbrella"} {
				_, err := w.gate.Authorize(context.Background(), gate.Action{
					Rules: w.rules, Key: w.rules.Policy.Tenant(tenant).Keys[0], ID: "a", Kind: "payment", Amount: 1000, TTL: time.Minute,
				})
				refusal, ok := errors.AsType[*call.Denial](err)
				if !ok {
					w.Fatal(err)
				}
				ids = append(ids, refusal.Receipt)
			}
		}
		for i, id := range ids {
			if counted := strings.HasPrefix(id, "denials-"); counted != (i >= 2) {
				w.Errorf("answers %q: the first of each tenant has a receipt of its own, the second has not", ids)
			}
		}
		if ids[2] == ids[3] {
			w.Error("two tenants are told of in one receipt")
		}
	})
}

// decisions counts what telemetry is told.
type decisions struct {
	gate.NoTelemetry
	mu sync.Mutex
	n  int
}

func (d *decisions) Decided(_, verdict, _ string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if verdict == audit.Deny {
		d.n++
	}
}

// TestDenialsDoNotFillTheDisk: 20,000 at once from a tenant without budget, by the
// default rate, take a few kilobytes a second.
func TestDenialsDoNotFillTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seconds, each, workers = 2, 10_000, 8
		w := newWorld(t, "denial_receipts_per_second: 10\n"+daily(1))
		told := &decisions{}
		g := gate.New(gate.Config{Ledger: w.real, Log: w.log, Outbox: w.outbox, Telemetry: told})
		before := w.logBytes()
		for range seconds {
			var running sync.WaitGroup
			for range workers {
				running.Go(func() {
					for range each / workers {
						if _, err := g.Begin(context.Background(), w.call(900, 0)); err == nil {
							t.Error("granted")
						}
					}
				})
			}
			running.Wait()
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		if grown := w.logBytes() - before; grown > seconds*16<<10 {
			t.Errorf("%d denials wrote %d bytes", seconds*each, grown)
		}
		if told.n != seconds*each {
			t.Errorf("telemetry was told of %d denials, want %d", told.n, seconds*each)
		}
		w.sweepOnce()
		if report := w.mustReplay(t, w.rules); report.Denied[string(policy.BudgetExhausted)] != seconds*each {
			t.Errorf("the receipts tell of %v", report.Denied)
		}
	})
}

func (w *world) logBytes() (size int64) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "receipts", "*.jsonl"))
	for _, file := range files {
		info, statErr := os.Stat(file)
		err = errors.Join(err, statErr)
		size += info.Size()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return size
}

// TestDenialsAreToldAtACleanStop: a closed gate owes no count.
func TestDenialsAreToldAtACleanStop(t *testing.T) {
	p := newParts(t)
	p.config.Policy = rulesOf(t, few+daily(1000)).Policy
	g, err := gate.Open(t.Context(), p.config)
	p.must(err)
	ids := map[string]bool{}
	for range 10 {
		_, err := askFor(g, 5000)
		refusal, ok := errors.AsType[*call.Denial](err)
		if !ok {
			t.Fatal(err)
		}
		ids[refusal.Receipt] = true
	}
	p.must(g.Close())
	for r, err := range audit.Read(p.source()) {
		p.must(err)
		if d, ok := r.Body.(audit.Decision); ok {
			delete(ids, r.ID())
			if d.Denials.ID != "" && d.Denials.Count != 7 {
				t.Errorf("told %+v", d.Denials)
			}
		}
	}
	if len(ids) != 0 {
		t.Errorf("not in the log: %v", ids)
	}
}

// TestDenialsThatCannotBeTold are denials all the same, and somebody hears of it.
func TestDenialsThatCannotBeTold(t *testing.T) {
	w := newWorld(t, "denial_receipts_per_second: 0\n"+daily(1000))
	var said bytes.Buffer
	g := gate.New(gate.Config{Ledger: w.real, Log: w.log, Outbox: w.outbox, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	w.gate = g
	ids := w.deny(4, w.call(5000, 0), policy.BudgetExhausted)
	w.log.fail(refuseDecisions)
	g.WriteDenials()
	if want := "id=" + ids[0] + " denials=4"; !strings.Contains(said.String(), want) {
		t.Errorf("logged %q, want %q", &said, want)
	}
	w.log.fail(nil)
	again := w.deny(2, w.call(5000, 0), policy.BudgetExhausted)
	g.WriteDenials()
	told := w.denials()
	if d := told[again[0]]; len(told) != 1 || d.Denials.Count != 2 || again[0] == ids[0] {
		t.Errorf("told %+v", told)
	}
	w.sweepOnce()
	w.mustReplay(t, w.rules)
}

// TestDenialsKeepNoRequest: what is counted does not share the memory of the request
// that it is about, which may be 50 MB and belongs to another one by then.
func TestDenialsKeepNoRequest(t *testing.T) {
	w := newWorld(t, "denial_receipts_per_second: 0\n"+daily(1000))
	body := []byte(`{"model":"toy"}`)
	c := w.call(5000, 0)
	c.Facts.Model = unsafe.String(&body[len(`{"model":"`)], len("toy")) // as the parser reads it
	c.Facts.Needs = []string{call.NeedChat}
	id := w.refused(c, policy.BudgetExhausted).Receipt
	clear(body)
	c.Facts.Needs[0] = "another's"
	w.gate.WriteDenials()
	if d := w.denials()[id]; d.Facts.Model != "toy" || !slices.Equal(d.Facts.Needs, []string{call.NeedChat}) {
		t.Errorf("told %+v", d.Facts)
	}
}

// TestDenialThatNoReceiptCanHold is a denial all the same.
func TestDenialThatNoReceiptCanHold(t *testing.T) {
	w := newWorld(t, "denial_receipts_per_second: 0\n"+daily(1000))
	c := w.call(5000, 0)
	c.Facts.Depth = -1
	for range 2 {
		if refusal := w.refused(c, policy.BudgetExhausted); refusal.Receipt != "" {
			t.Errorf("receipt %q", refusal.Receipt)
		}
	}
	w.gate.WriteDenials()
	if told := w.denials(); len(told) != 0 {
		t.Errorf("told %+v", told)
	}
}

// TestActionsAreDeniedAlike: leave and extensions are counted as calls are.
func TestActionsAreDeniedAlike(t *testing.T) {
	onBothLedgers(t, func(w *actionWorld) {
		w.rules = actionRules(w.T, "plan: every", "denial_receipts_per_second: 0")
		leave := w.authorize(w.action("a", 40))
		w.authorize(w.action("b", 30))
		for range 3 {
			_, err := w.gate.Authorize(w.Context(), w.action("c", 80))
			w.denied(err, policy.BudgetHeld)
			_, err = w.gate.Extend(w.Context(), w.lease(leave.Lease), 80)
			w.denied(err, policy.BudgetHeld)
		}
		w.gate.WriteDenials()
		var counts []int64
		for _, d := range readAll[audit.Decision](w) {
			if d.Verdict == audit.Deny {
				counts = append(counts, d.Denials.Count)
			}
		}
		if !slices.Equal(counts, []int64{6}) {
			w.Errorf("counts %v, want one of 6", counts)
		}
		w.proved()
		if report := w.replays(w.rules); report.Denied[string(policy.BudgetHeld)] != 6 {
			w.Errorf("replay finds %v", report.Denied)
		}
	})
}

// BenchmarkDenied is what a tenant without budget costs, and writes.
func BenchmarkDenied(b *testing.B) {
	for name, rate := range map[string]int{"each has a receipt": 1_000_000, "counted": 10} {
		b.Run(name, func(b *testing.B) {
			w := newWorldAt(b, fmt.Sprintf("denial_receipts_per_second: %d\n", rate)+daily(1), &clock{})
			before := w.logBytes()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := w.gate.Begin(context.Background(), w.call(900, 0)); err == nil {
						b.Error("granted")
					}
				}
			})
			w.gate.WriteDenials()
			b.ReportMetric(float64(w.logBytes()-before)/float64(b.N), "log-bytes/op")
		})
	}
}
