package embedded_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"pgregory.net/rapid"
)

// TestEventLine pins the format: a change of a field's name would make
// existing journals unreadable.
func TestEventLine(t *testing.T) {
	e := budget.Event{Tenant: "acme", Epoch: "e1", Number: 7, Kind: budget.Granted, At: 1000, Lease: "l1", Expires: 2000,
		Policy: budget.PolicyVersion{Generation: 3, Hash: "ab"},
		Claims: []budget.Placed{{
			Claim: budget.Claim{Key: "usd/day", Amount: 5, Limit: 9, AtEnd: budget.Adjust, Group: "runs", GroupMax: 4,
				Window: budget.Window{Kind: budget.Fixed, Current: budget.Span{Start: 1, End: 2}, Next: budget.Span{Start: 2, End: 3}}},
			Observed: budget.Observed{Span: budget.Span{Start: 1, End: 2}, Spent: 1, Held: 2}}}}
	const want = `56883eb5 {"Event":{"Tenant":"acme","Epoch":"e1","Number":7,"Kind":"grant","At":1000,"Lease":"l1",` +
		`"Claims":[{"Key":"usd/day","Amount":5,"Limit":9,"AtEnd":"adjust","Window":{"Kind":"fixed","Current":{"Start":1,"End":2},"Next":{"Start":2,"End":3}},` +
		`"Group":"runs","GroupMax":4,"Span":{"Start":1,"End":2},"Spent":1,"Held":2}],"Expires":2000,"Policy":{"Generation":3,"Hash":"ab"}}}` + "\n"
	if got := string(embedded.AppendLine(nil, embedded.AppendEvent(nil, &e))); got != want {
		t.Errorf("line is\n%s, want\n%s", got, want)
	}
}

// TestEventRoundTrip reads back every event as it was written.
func TestEventRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		line := embedded.AppendLine(nil, embedded.AppendEvent(nil, &e))
		back, err := decodeEvent(line)
		if err != nil || back == nil || !reflect.DeepEqual(*back, e) {
			t.Fatalf("%s gives %+v (%v), want %+v", line, back, err, e)
		}
	})
}

// TestEventsOfOneTenant: what was written before does not show in what is written
// next.
func TestEventsOfOneTenant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w embedded.Writer
		e := drawEvent(t)
		for range 10 {
			if other := drawEvent(t); rapid.Bool().Draw(t, "another") {
				e = other
			} else {
				varyClaims(t, e.Claims, other.Claims)
			}
			if got, want := w.AppendEvent(nil, &e), embedded.AppendEvent(nil, &e); !bytes.Equal(got, want) {
				t.Fatalf("%+v is\n%s, want\n%s", e, got, want)
			}
		}
	})
}

// varyClaims changes one field of a claim.
func varyClaims(t *rapid.T, claims, others []budget.Placed) {
	for i := range min(len(claims), len(others)) {
		c, other := &claims[i], others[i]
		switch rapid.IntRange(0, 8).Draw(t, "field") {
		case 0:
			c.Limit = other.Limit
		case 1:
			c.AtEnd = other.AtEnd
		case 2:
			c.Window.Current = other.Window.Current
		case 3:
			c.Window.Next = other.Window.Next
		case 4:
			c.Group = other.Group
		case 5:
			c.GroupMax = other.GroupMax
		case 6:
			c.Window.Kind, c.Window.Length = other.Window.Kind, other.Window.Length
		case 7:
			c.Span = c.Window.Current
		case 8:
			c.Span = other.Span
		}
	}
}

// drawEvent draws any fields, zero ones too: what may follow what is not the
// format's concern.
// TestLeaseReadsBack reads leases as they were written, with extensions too.
func TestLeaseReadsBack(t *testing.T) {
	t.Parallel()
	d := embedded.NewDecoder()
	rapid.Check(t, func(t *rapid.T) {
		want := drawLease(t)
		for range rapid.IntRange(0, 2).Draw(t, "extends") {
			want.Extends = append(want.Extends, budget.Observed{Span: budget.Span{Start: 1, End: rapid.Int64().Draw(t, "end")},
				Spent: rapid.Int64().Draw(t, "spent"), Held: rapid.Int64().Draw(t, "held")})
		}
		line := embedded.AppendLine(nil, embedded.AppendLease(nil, "acme", &want))
		got, err := embedded.DecodeLine(d, line[:len(line)-1])
		if err != nil || !reflect.DeepEqual(got.Lease.Lease, want) || got.Lease.Tenant != "acme" {
			t.Fatalf("wrote %+v, read %+v (%v)", want, got, err)
		}
	})
}

// drawLease draws a lease without the observations of an extension, which are
// left to encoding/json.
func drawLease(t *rapid.T) budget.Lease {
	e := drawEvent(t)
	number := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64())
	return budget.Lease{ID: e.Lease, Number: e.Number, At: e.At, Expires: e.Expires, Hold: e.Amount, Claims: e.Claims,
		Extended: number.Draw(t, "extended"), ExtendAt: number.Draw(t, "extend at"),
		End: e.Kind, EndNumber: number.Draw(t, "end number"), EndAt: number.Draw(t, "end at"),
		Charge: number.Draw(t, "charge"), ExpiredAt: number.Draw(t, "expired at"), ForgetAt: number.Draw(t, "forget at")}
}

func drawEvent(t *rapid.T) budget.Event {
	name := rapid.StringMatching(`[A-Za-z0-9._:/@=*-]{0,20}`)
	number := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64())
	span := rapid.Custom(func(t *rapid.T) budget.Span {
		return budget.Span{Start: number.Draw(t, "start"), End: number.Draw(t, "end")}
	})
	claim := rapid.Custom(func(t *rapid.T) budget.Placed {
		return budget.Placed{
			Claim: budget.Claim{Key: name.Draw(t, "key"), Amount: number.Draw(t, "amount"), Limit: number.Draw(t, "limit"),
				AtEnd: rapid.SampledFrom([]budget.AtEnd{"", budget.Adjust, budget.Keep, budget.Return, budget.Spend}).Draw(t, "at end"),
				Window: budget.Window{
					Kind:    rapid.SampledFrom([]budget.WindowKind{"", budget.Fixed, budget.Rolling, budget.Idle, budget.Forever}).Draw(t, "kind"),
					Current: span.Draw(t, "current"), Next: span.Draw(t, "next"),
					Length: time.Duration(number.Draw(t, "length"))},
				Group: name.Draw(t, "group"), GroupMax: number.Draw(t, "group max"), Marks: drawMarks(t)},
			Observed: budget.Observed{Span: span.Draw(t, "span"), Spent: number.Draw(t, "spent"), Held: number.Draw(t, "held"), New: number.Draw(t, "new")}}
	})
	e := budget.Event{Tenant: name.Draw(t, "tenant"), Epoch: name.Draw(t, "epoch"), Number: number.Draw(t, "number"),
		Kind: rapid.SampledFrom([]budget.EventKind{"", budget.Granted, budget.Settled, budget.PolicySeen, budget.Thrown}).Draw(t, "event"), At: number.Draw(t, "at"), Lease: name.Draw(t, "lease"),
		Amount: number.Draw(t, "amount"), Input: number.Draw(t, "input"), Output: number.Draw(t, "output"),
		Expires: number.Draw(t, "expires"),
		Policy:  budget.PolicyVersion{Generation: number.Draw(t, "generation"), Hash: rapid.SampledFrom([]string{"", "00ff"}).Draw(t, "hash")},
		Switch:  name.Draw(t, "switch")}
	if claims := rapid.SliceOfN(claim, 0, 12).Draw(t, "claims"); len(claims) > 0 {
		e.Claims = claims
	}
	for range rapid.IntRange(0, 2).Draw(t, "limits") {
		e.Limits = append(e.Limits, budget.Limit{Key: name.Draw(t, "limit of"), Limit: number.Draw(t, "limit")})
	}
	return e
}

// drawMarks are marks, nil if there are none.
func drawMarks(t *rapid.T) []string {
	marks := rapid.SliceOfN(rapid.StringMatching(`[A-Za-z0-9._:/@=*-]{1,32}`), 0, budget.MaxMarks).Draw(t, "marks")
	if len(marks) == 0 {
		return nil
	}
	return marks
}

// FuzzOpen opens any bytes as a journal: as what they say, or as damage. What
// they say does not depend on which decoder read it.
func FuzzOpen(f *testing.F) {
	provision := line(`{"Event":{"Tenant":"t","Epoch":"e","Number":1,"Kind":"provision","At":1}}`)
	for _, seed := range []string{"", "\n", provision, provision[:20], provision + provision, provision + line(`{"End":1}`),
		provision + line(`{"Ack":{"Tenant":"t","Number":1}}`), line(`{"Renew":{"Tenant":"t","Lease":"l","Expires":9}}`),
		line(`{"State":{"State":{"Tenant":"t","Number":1,"Leases":[{"ID":"l","Claims":[{"Key":"k"}]}]}}}`), line(`{}`), line(`null`),
		line(`{"Lease":{"Tenant":"t","ID":"l","End":"release","ForgetAt":9}}`) + line(`{"State":{"State":{"Tenant":"t","Number":1}}}`)} {
		f.Add([]byte(seed), false)
	}
	f.Add([]byte(`{"Event":{"Tenant":"t","Kind":"grant"}}`), true)
	d := embedded.NewDecoder()
	f.Fuzz(func(t *testing.T, content []byte, frame bool) {
		if frame {
			content = embedded.AppendLine(nil, content)
		}
		for line := range bytes.Lines(content) {
			_, payload, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
			agree(t, d, payload)
		}
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, journal1), content, 0o600))
		l, err := embedded.Open(embedded.Config{Dir: dir, Log: quiet})
		if errors.Is(err, embedded.ErrDamaged) {
			return
		}
		must(t, err)
		first := l.Recovery()
		must(t, l.Close())
		l, err = embedded.Open(embedded.Config{Dir: dir, Log: quiet})
		must(t, err)
		defer l.Close()
		if again := l.Recovery(); again.Records != first.Records || again.TornBytes != 0 {
			t.Errorf("first %+v, then %+v", first, again)
		}
	})
}

func decodeEvent(line []byte) (*budget.Event, error) {
	r, err := embedded.DecodeLine(embedded.NewDecoder(), line[:len(line)-1])
	if err != nil {
		return nil, err
	}
	return r.Event, nil
}
