package gate_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// retell writes receipts anew, as their owner can who has the key: chain and
// seals are right, whatever they say. It returns the new log.
func retell(t testing.TB, receipts []audit.Receipt) string {
	t.Helper()
	signer, err := audit.ParseSigner([]byte(signingKey))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := audit.Open(audit.Config{Dir: dir, Signer: signer, Sync: audit.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, r := range receipts {
		if s, ok := r.Body.(audit.Settlement); ok && ids[s.Decision] != "" {
			s.Decision = ids[s.Decision]
			r.Body = s
		}
		ref, err := log.Append(context.Background(), r.Body)
		if err != nil {
			t.Fatal(err)
		}
		ids[r.Ref().ID] = ref.ID
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spoken are the receipts without the lines that keep the chain.
func spoken(receipts []audit.Receipt) []audit.Receipt {
	return slices.DeleteFunc(receipts, func(r audit.Receipt) bool {
		switch r.Body.(type) {
		case audit.Decision, audit.Settlement, audit.Event:
			return false
		}
		return true
	})
}

func mustBeSound(t testing.TB, dir string) {
	t.Helper()
	signer, _ := audit.ParseSigner([]byte(signingKey))
	sources, err := audit.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(context.Background(), sources, audit.VerifyOptions{Keys: audit.NewKeys(signer.Key())})
	if err != nil || !report.OK() {
		t.Fatalf("the retold log does not verify: %v %v", report.Findings, err)
	}
}

// at finds the n-th receipt of a body's type that a test asks for.
func at[B audit.Body](t testing.TB, receipts []audit.Receipt, is func(B) bool) int {
	t.Helper()
	for i, r := range receipts {
		if b, ok := r.Body.(B); ok && is(b) {
			return i
		}
	}
	t.Fatal("the story has no such receipt")
	return 0
}

// alter changes the first receipt that a test asks for.
func alter[B audit.Body](is func(B) bool, change func(*B)) func(testing.TB, []audit.Receipt) []audit.Receipt {
	return func(t testing.TB, receipts []audit.Receipt) []audit.Receipt {
		i := at(t, receipts, is)
		b := receipts[i].Body.(B)
		change(&b)
		receipts[i].Body = b
		return receipts
	}
}

func allowed(d audit.Decision) bool { return d.Verdict == audit.Allow && len(d.Claims) > 3 }

func deniedFor(reason call.Reason) func(audit.Decision) bool {
	return func(d audit.Decision) bool { return d.Verdict == audit.Deny && d.Reasons[0] == string(reason) }
}

func basis(name string) func(audit.Settlement) bool {
	return func(s audit.Settlement) bool { return s.Basis == name && s.Outcome == "settle" }
}

func named(kind budget.EventKind) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Name == string(kind) }
}

// reclaim copies a decision's claims before it changes them.
func reclaim(d *audit.Decision, change func(*audit.Claim)) {
	d.Claims = slices.Clone(d.Claims)
	for i := range d.Claims {
		change(&d.Claims[i])
	}
}

// TestReplayFindsWhatIsRetold changes one thing in an honest history and signs
// it again, so that the log verifies. Replay names the receipt and the fault.
func TestReplayFindsWhatIsRetold(t *testing.T) {
	s := newStory(t)
	honest := spoken(s.receipts())
	if report := replayDirs(t, s.rules, retell(t, honest)); !report.OK() {
		t.Fatalf("the honest history, retold: %v %v", report.Findings, report.Unchecked)
	}
	for _, row := range []struct {
		name   string
		fault  gate.Fault
		retell func(testing.TB, []audit.Receipt) []audit.Receipt
	}{
		{"allowed though its model is denied", gate.WrongAllow, alter(allowed, func(d *audit.Decision) {
			d.Facts.Model = "gpt-4o"
			price, err := s.rules[0].Prices.Lookup("openai", "gpt-4o", s.clock.Now())
			if err != nil {
				t.Fatal(err)
			}
			d.Facts.Cost, _ = price.Worst(0,
				call.Part{Fixed: d.Facts.InputTokens, Kinds: call.Of(call.Input)}, call.Part{Fixed: d.Facts.OutputTokens, Kinds: call.Of(call.Output)})
		})},
		{"allowed though a capability is missing", gate.WrongAllow, alter(allowed, func(d *audit.Decision) {
			d.Facts.Needs = []string{call.NeedTools}
		})},
		{"allowed by a key of nobody", gate.WrongAllow, alter(allowed, func(d *audit.Decision) { d.Facts.Key = "acme-2" })},
		{"allowed with a reason", gate.WrongAllow, alter(allowed, func(d *audit.Decision) { d.Reasons = []string{"budget_held"} })},
		{"allowed over the limit", gate.WrongAllow, alter(func(d audit.Decision) bool {
			return d.Verdict == audit.Allow && d.Generation == 2 && d.Claims[1].Spent > 800
		}, func(d *audit.Decision) {
			d.Facts.InputTokens, d.Facts.OutputCap, d.Facts.OutputTokens, d.Facts.Cost = 1200, 0, 0, 1200
			reclaim(d, func(c *audit.Claim) { c.Amount = 1200 })
		})},
		{"observed without its reasons", gate.WrongAllow, alter(func(d audit.Decision) bool {
			return d.Verdict == audit.Allow && len(d.Reasons) > 0
		}, func(d *audit.Decision) { d.Reasons = nil })},
		{"allowed by a policy of the past", gate.WrongEvent, alter(func(d audit.Decision) bool {
			return d.Verdict == audit.Allow && d.Generation == 2
		}, func(d *audit.Decision) {
			old := s.rules[0].Policy.Version
			d.Generation, d.Policy = old.Generation, old.Hash
		})},
		{"denied by a rule, with claims", gate.WrongClaims, alter(deniedFor(policy.CapabilityNotAllowed), func(d *audit.Decision) {
			d.Event, d.Claims = 1, []audit.Claim{{Key: "usd/forever", AtEnd: "adjust", Window: "forever"}}
		})},
		{"denied though it fitted", gate.WrongDenial, alter(deniedFor(policy.BudgetExhausted), func(d *audit.Decision) {
			d.Facts.InputTokens, d.Facts.Cost = 1, 1
			reclaim(d, func(c *audit.Claim) { c.Amount = 1 })
		})},
		{"denied as exhausted though held", gate.WrongDenial, alter(deniedFor(policy.BudgetHeld), func(d *audit.Decision) {
			d.Reasons = []string{"budget_exhausted"}
		})},
		{"denied by a cap it is below", gate.WrongDenial, alter(deniedFor(policy.RequestCapExceeded), func(d *audit.Decision) {
			d.Facts.InputTokens, d.Facts.Cost = 1200, 1200
		})},
		{"denied for a model that is allowed", gate.WrongDenial, alter(deniedFor(policy.ModelNotAllowed), func(d *audit.Decision) {
			d.Facts.Model, d.Facts.Cost = "toy", 1
		})},
		{"denied for a price that is there", gate.WrongDenial, alter(deniedFor(policy.NoPrice), func(d *audit.Decision) {
			d.Facts.Model = "toy"
		})},
		{"denied though a route is there", gate.WrongDenial, alter(deniedFor(policy.NoBound), func(d *audit.Decision) {
			d.Reasons, d.PricedAt = []string{string(policy.NoRoute)}, 0
		})},
		{"denied though the policy clamps", gate.WrongDenial, alter(func(d audit.Decision) bool {
			return deniedFor(policy.BudgetExhausted)(d) && d.Generation == 2
		}, func(d *audit.Decision) {
			d.Facts.InputTokens, d.Facts.OutputCap, d.Facts.OutputTokens, d.Facts.Cost = 160, 500, 500, 1160
			reclaim(d, func(c *audit.Claim) { c.Amount = 1160 })
		})},
		{"a call that no lease holds for, told as a repeat", gate.WrongAllow, func(t testing.TB, rs []audit.Receipt) []audit.Receipt {
			i := at(t, rs, allowed)
			repeat := rs[i].Body.(audit.Decision)
			repeat.Existing, repeat.Claims = true, nil
			return slices.Insert(rs, i+1, audit.Receipt{Body: repeat})
		}},
		{"denied for nothing, told as a repeat", gate.WrongDenial, alter(deniedFor(policy.BudgetExhausted), func(d *audit.Decision) {
			d.Facts.InputTokens, d.Facts.Cost = 1, 1
			d.Existing, d.Claims = true, nil
		})},
		{"a denial that expires", gate.WrongSum, alter(deniedFor(policy.BudgetHeld), func(d *audit.Decision) { d.Expires = d.At + 1 })},
		{"a denial with a lease", gate.WrongSum, alter(deniedFor(policy.BudgetHeld), func(d *audit.Decision) { d.Lease = "someone's" })},
		{"a call with the target of an action", gate.WrongSum, alter(allowed, func(d *audit.Decision) { d.Facts.Target = call.HashName("x") })},
		{"a call with the tool of an action", gate.WrongSum, alter(allowed, func(d *audit.Decision) { d.Facts.Tool = call.HashName("x") })},
		{"a settlement of no decision", gate.WrongSum, alter(func(s audit.Settlement) bool {
			return s.Outcome == "settle" && s.Charge == 0
		}, func(s *audit.Settlement) { s.Decision = "" })},
		{"an expiry that is nobody's copy", gate.WrongSum, alter(named(budget.Expired), func(e *audit.Event) { e.Recovered = false })},
		{"an expiry of a switch", gate.WrongSum, alter(named(budget.Expired), func(e *audit.Event) { e.Switch = "global" })},
		{"a policy with a lease", gate.WrongSum, alter(named(budget.PolicySeen), func(e *audit.Event) { e.Lease = "someone's" })},
		{"cost above bound times price", gate.WrongPrice, alter(allowed, func(d *audit.Decision) { d.Facts.Cost++ })},
		{"another dialect than its upstream's", gate.WrongAllow, alter(allowed, func(d *audit.Decision) { d.Facts.Dialect = "anthropic" })},
		{"called in the place of another model", gate.WrongSum, alter(allowed, func(d *audit.Decision) { d.Facts.InsteadOf = "gpt-5" })},
		{"a cap that is said not to be sent", gate.WrongSum, alter(allowed, func(d *audit.Decision) { d.Facts.Uncapped = true })},
		{"bound below the cost", gate.WrongPrice, alter(allowed, func(d *audit.Decision) { d.Facts.InputTokens-- })},
		{"price of another year", gate.WrongPrice, alter(allowed, func(d *audit.Decision) { d.PricedAt -= 365 * 86_400_000 })},
		{"hold unlike the cost", gate.WrongClaims, alter(allowed, func(d *audit.Decision) {
			reclaim(d, func(c *audit.Claim) { c.Amount-- })
		})},
		{"claim missing", gate.WrongClaims, alter(allowed, func(d *audit.Decision) { d.Claims = d.Claims[1:] })},
		{"claim on another key", gate.WrongClaims, alter(allowed, func(d *audit.Decision) {
			reclaim(d, func(c *audit.Claim) { c.Key += "2" })
		})},
		{"claim of another run", gate.WrongClaims, alter(allowed, func(d *audit.Decision) { d.Facts.Run = call.HashName("b") })},
		{"limit raised", gate.WrongClaims, alter(allowed, func(d *audit.Decision) {
			reclaim(d, func(c *audit.Claim) { c.Limit++ })
		})},
		{"window shifted", gate.WrongClaims, alter(allowed, func(d *audit.Decision) {
			reclaim(d, func(c *audit.Claim) {
				if c.Window == "fixed" {
					c.Start--
				}
			})
		})},
		{"rolling window lengthened", gate.WrongClaims, alter(allowed, func(d *audit.Decision) {
			reclaim(d, func(c *audit.Claim) {
				if c.Window == "rolling" {
					c.LengthMS++
				}
			})
		})},
		{"less observed than spent", gate.WrongSeen, alter(func(d audit.Decision) bool {
			return allowed(d) && d.Claims[0].Spent > 0
		}, func(d *audit.Decision) { reclaim(d, func(c *audit.Claim) { c.Spent = 0 }) })},
		{"more observed by a denial", gate.WrongSeen, alter(deniedFor(policy.BudgetHeld), func(d *audit.Decision) {
			reclaim(d, func(c *audit.Claim) { c.Held++ })
		})},
		{"usage above the charge", gate.WrongCharge, alter(basis(audit.BasisReported), func(s *audit.Settlement) { s.Lines = slices.Clone(s.Lines); s.Lines[0].Usage[call.Output]++ })},
		{"unbilled but charged", gate.WrongCharge, alter(basis(audit.BasisUnbilled), func(s *audit.Settlement) { s.Charge++ })},
		{"unbilled with usage", gate.WrongCharge, alter(basis(audit.BasisReported), func(s *audit.Settlement) { s.Basis, s.Charge = audit.BasisUnbilled, 0 })},
		{"unbilled under a status that is billed", gate.WrongCharge, alter(basis(audit.BasisUnbilled), func(s *audit.Settlement) { s.Status = 200 })},
		{"unbilled under a status that says nothing", gate.WrongCharge, alter(basis(audit.BasisUnbilled), func(s *audit.Settlement) { s.Status = 502 })},
		{"unbilled without a status", gate.WrongCharge, alter(basis(audit.BasisUnbilled), func(s *audit.Settlement) { s.Status = 0 })},
		{"unknown told as unbilled", gate.WrongCharge, alter(basis(audit.BasisUnknown), func(s *audit.Settlement) { s.Basis, s.Charge = audit.BasisUnbilled, 0 })},
		{"unknown but not the hold", gate.WrongCharge, alter(basis(audit.BasisUnknown), func(s *audit.Settlement) { s.Charge-- })},
		{"unknown told as reported", gate.WrongCharge, alter(basis(audit.BasisUnknown), func(s *audit.Settlement) { s.Basis = audit.BasisReported })},
		{"no basis", gate.WrongCharge, alter(basis(audit.BasisUnknown), func(s *audit.Settlement) { s.Basis = "" })},
		{"overrun hidden", gate.WrongSum, alter(func(s audit.Settlement) bool { return s.Overrun > 0 }, func(s *audit.Settlement) { s.Overrun = 0 })},
		{"hold unlike the decision's", gate.WrongSum, alter(basis(audit.BasisReported), func(s *audit.Settlement) { s.Hold++ })},
		{"settlement of another decision", gate.WrongSum, alter(basis(audit.BasisFloor), func(s *audit.Settlement) { s.Decision = "x-1" })},
		{"settled at other prices", gate.WrongSum, alter(basis(audit.BasisFloor), func(s *audit.Settlement) { s.Prices = s.Prices[1:] + "0" })},
		{"output unlike cap and choices", gate.WrongSum, alter(allowed, func(d *audit.Decision) { d.Facts.Choices++ })},
		{"lease that lasts longer", gate.WrongSum, alter(allowed, func(d *audit.Decision) { d.Expires++ })},
		{"expiry charged less than the hold", gate.WrongEvent, alter(named(budget.Expired), func(e *audit.Event) { e.Amount-- })},
		{"expiry before its time", gate.WrongEvent, alter(named(budget.Expired), func(e *audit.Event) { e.At -= 2000 })},
		{"end of a lease that is not there", gate.WrongEvent, alter(basis(audit.BasisReported), func(s *audit.Settlement) { s.Lease = "nobody" })},
		{"event that is in no receipt", gate.EventGap, remove(basis(audit.BasisUnknown))},
		{"first events cut off", gate.EventGap, remove(named(budget.Provisioned))},
		{"event receipted twice", gate.EventDouble, func(t testing.TB, rs []audit.Receipt) []audit.Receipt {
			i := at(t, rs, basis(audit.BasisUnknown))
			return slices.Insert(rs, i, rs[i])
		}},
		{"copy that tells otherwise", gate.EventDouble, func(t testing.TB, rs []audit.Receipt) []audit.Receipt {
			i := at(t, rs, basis(audit.BasisUnknown))
			b := rs[i].Body.(audit.Settlement)
			return slices.Insert(rs, i, audit.Receipt{Body: audit.Event{At: b.At, Tenant: b.Tenant, Event: b.Event,
				Epoch: b.Epoch, Name: b.Outcome, Lease: b.Lease, Amount: b.Charge + 1, Recovered: true}})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			dir := retell(t, row.retell(t, slices.Clone(honest)))
			if row.fault != gate.EventDouble {
				mustBeSound(t, dir)
			}
			report := replayDirs(t, s.rules, dir)
			if report.OK() || len(report.Findings) == 0 {
				t.Fatalf("not found; unchecked %v", report.Unchecked)
			}
			first := report.Findings[0]
			if first.Fault != row.fault || !strings.HasPrefix(first.File, dir) || first.Line == 0 || first.ID == "" {
				t.Errorf("found %v, want %s", report.Findings, row.fault)
			}
		})
	}
}

func remove[B audit.Body](is func(B) bool) func(testing.TB, []audit.Receipt) []audit.Receipt {
	return func(t testing.TB, rs []audit.Receipt) []audit.Receipt {
		i := at(t, rs, is)
		return slices.Delete(rs, i, i+1)
	}
}

// TestReplayFindsAnyChangedNumber changes one number of one receipt of an
// honest history.
func TestReplayFindsAnyChangedNumber(t *testing.T) {
	s := newStory(t)
	honest := spoken(s.receipts())
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(0, len(honest)-1).Draw(t, "receipt")
		body := reflect.New(reflect.TypeOf(honest[i].Body)).Elem()
		body.Set(reflect.ValueOf(honest[i].Body))
		numbers := numbersOf(body, "", nil)
		numbers = slices.DeleteFunc(numbers, func(n number) bool { return taken(honest[i].Body, n.name) })
		if len(numbers) == 0 {
			t.Skip("the receipt has no number that is recomputed")
		}
		n := rapid.SampledFrom(numbers).Draw(t, "number")
		change := rapid.Int64Range(1, 1000).Draw(t, "change")
		if n.value.Int() >= change && rapid.Bool().Draw(t, "less") {
			change = -change
		}
		n.value.SetInt(n.value.Int() + change)
		changed := slices.Clone(honest)
		changed[i].Body = body.Interface().(audit.Body)
		report, err := replayed(func(yield func(audit.Receipt, error) bool) {
			for _, r := range changed {
				if !yield(r, nil) {
					return
				}
			}
		}, s.rules...)
		if err != nil || report.OK() {
			t.Fatalf("%s of %T %+v is %d more, and nothing is found (%v)", n.name, honest[i].Body, honest[i].Body, change, err)
		}
	})
}

// number is one number of a body.
type number struct {
	name  string
	value reflect.Value
}

func numbersOf(v reflect.Value, name string, list []number) []number {
	switch v.Kind() {
	case reflect.Int64, reflect.Int:
		return append(list, number{name, v})
	case reflect.Struct:
		for i := range v.NumField() {
			list = numbersOf(v.Field(i), strings.TrimPrefix(name+"."+v.Type().Field(i).Name, "."), list)
		}
	case reflect.Array:
		for i := range v.Len() {
			list = numbersOf(v.Index(i), name+"."+call.Unit(i).String(), list)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.AppendSlice(reflect.Zero(v.Type()), v)) // the history keeps its own
			for i := range v.Len() {
				list = numbersOf(v.Index(i), name, list)
			}
		}
	}
	return list
}

// taken reports whether a number is taken as the receipt tells it.
func taken(body audit.Body, name string) bool {
	switch b := body.(type) {
	case audit.Decision:
		if name == "PricedAt" || slices.Contains([]string{"Facts.Choices", "Facts.OutputRereads"}, name) && b.Facts.OutputCap == 0 { // it makes no difference
			return true
		}
		if name == "Facts.Depth" || name == "Facts.Attempt" || name == "Facts.LeastCap" { // nothing in the story is decided by them
			return true
		}
		if strings.HasPrefix(name, "Denials.") { // a line with some of them does not parse
			return true
		}
		if b.Verdict == audit.Allow {
			return false
		}
		return name == "At" || name == "Event" || name == "Expires" || (b.Facts.Cost == 0 && strings.HasPrefix(name, "Facts."))
	case audit.Settlement:
		reported := b.Basis == audit.BasisReported || b.Basis == audit.BasisFloor
		return name == "At" || name == "Status" ||
			strings.HasPrefix(name, "Lines.") && (!reported || name == "Lines.Billed" || name == "Lines.Usage.requests") // which cost less, and nothing
	case audit.Event:
		copied := b.Name != string(budget.Expired)
		return name == "At" || (copied && (name == "Amount" || strings.HasPrefix(name, "Claims")))
	}
	return true
}

// TestReplayTakesReceiptsOutOfOrder: the receipts of one moment may stand in
// any order, as many requests at once write them.
func TestReplayTakesReceiptsOutOfOrder(t *testing.T) {
	s := newStory(t)
	moments := map[int64][]audit.Receipt{}
	for _, r := range spoken(s.receipts()) {
		moments[instant(r)] = append(moments[instant(r)], r)
	}
	rapid.Check(t, func(t *rapid.T) {
		report, err := replayed(func(yield func(audit.Receipt, error) bool) {
			for _, at := range slices.Sorted(maps.Keys(moments)) {
				for _, r := range rapid.Permutation(moments[at]).Draw(t, "moment") {
					if !yield(r, nil) {
						return
					}
				}
			}
		}, s.rules...)
		if err != nil || !report.OK() {
			t.Fatalf("findings %v, unchecked %v (%v)", report.Findings, report.Unchecked, err)
		}
	})
}

func instant(r audit.Receipt) int64 {
	switch b := r.Body.(type) {
	case audit.Decision:
		return b.At
	case audit.Settlement:
		return b.At
	case audit.Event:
		return b.At
	}
	return 0
}

// TestReplayGivesUpOnAGapThatNeverCloses: a missing event does not make a
// replay keep all that follows it.
func TestReplayGivesUpOnAGapThatNeverCloses(t *testing.T) {
	s := newStory(t)
	honest := spoken(s.receipts())
	cut := remove(basis(audit.BasisUnknown))(t, slices.Clone(honest))
	r := gate.NewReplayer(s.rules...)
	r.SetMost(5)
	for _, receipt := range cut {
		r.Add(receipt)
		if kept := r.Kept(); kept > 5+3 { // with the open leases
			t.Fatalf("%d receipts and leases kept", kept)
		}
	}
	report := r.Close()
	if report.Faults != 1 || report.Findings[0].Fault != gate.EventGap {
		t.Errorf("findings %v", report.Findings)
	}
}

// TestReplayWithoutTheInstantOfAPrice: a decision that has a price tells when it was looked up.
func TestReplayWithoutTheInstantOfAPrice(t *testing.T) {
	s := newStory(t)
	lacking := spoken(s.receipts())
	for i := range lacking {
		if d, ok := lacking[i].Body.(audit.Decision); ok {
			d.PricedAt = 0
			lacking[i].Body = d
		}
	}
	report := replayDirs(t, s.rules, retell(t, lacking))
	if len(report.Findings) == 0 || report.Findings[0].Fault != gate.WrongAllow {
		t.Errorf("found %v, unchecked %v", report.Findings, report.Unchecked)
	}
	compareBalances(t, report.Tenants[0].State, s.real, s.key().Tenant, s.clock.Now())
}

// TestReplayPrefersTheReplicasOwnReceipt: an event that another replica
// receipted too, before or after, is no double.
func TestReplayPrefersTheReplicasOwnReceipt(t *testing.T) {
	s := newStory(t)
	honest := spoken(s.receipts())
	for i, receipt := range honest {
		event, ok := gate.EventOf(receipt.Body)
		if _, told := receipt.Body.(audit.Event); !ok || told {
			continue
		}
		body := audit.Event{
			At: event.At, Tenant: event.Tenant, Event: event.Number, Epoch: event.Epoch, Name: string(event.Kind),
			Lease: event.Lease, Amount: event.Amount, Expires: event.Expires,
			Generation: event.Policy.Generation, Policy: event.Policy.Hash, Recovered: true,
		}
		if d, ok := receipt.Body.(audit.Decision); ok {
			body.Claims = d.Claims
		}
		for _, where := range []int{i, i + 1, len(honest)} {
			dir := retell(t, slices.Insert(slices.Clone(honest), where, audit.Receipt{Body: body}))
			mustBeSound(t, dir)
			if report := replayDirs(t, s.rules, dir); !report.OK() {
				t.Errorf("copy of %s at %d: %v %v", event.Kind, where, report.Findings, report.Unchecked)
			}
		}
	}
}

// FuzzReplay: whatever the receipts say, a replay ends, and says the same
// twice.
func FuzzReplay(f *testing.F) {
	s := newStory(f)
	text, err := os.ReadFile(filepath.Join(s.dir, "receipts", "000001.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, line := range bytes.SplitAfter(text, []byte("\n")) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		src := audit.Source{Name: "log", Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(text)), nil
		}}
		first, err := replayed(audit.Merge(src), s.rules...)
		again, errAgain := replayed(audit.Merge(src), s.rules...)
		if fmt.Sprint(err) != fmt.Sprint(errAgain) || fmt.Sprint(first.Findings) != fmt.Sprint(again.Findings) {
			t.Errorf("%v %v\n%v %v", first.Findings, err, again.Findings, errAgain)
		}
	})
}
