package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := policy.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestWindows(t *testing.T) {
	for _, c := range []struct{ name, period, zone, now, start, next, end string }{
		{"minute", "minute", "UTC", "2026-03-01T12:34:56.789Z", "2026-03-01T12:34:00Z", "2026-03-01T12:35:00Z", "2026-03-01T12:36:00Z"},
		{"hour", "hour", "UTC", "2026-03-01T12:34:56Z", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z", "2026-03-01T14:00:00Z"},
		{"day", "day", "UTC", "2026-03-01T12:34:56Z", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"},
		{"the first instant of a day", "day", "UTC", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"},
		{"the last instant of a day", "day", "UTC", "2026-03-01T23:59:59.999999999Z", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"},
		{"a day east of UTC", "day", "Asia/Kathmandu", "2026-03-01T18:20:00Z", "2026-03-01T18:15:00Z", "2026-03-02T18:15:00Z", "2026-03-03T18:15:00Z"},
		{"a week begins on Monday", "week", "UTC", "2026-03-01T12:00:00Z", "2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"},
		{"a week on its Monday", "week", "UTC", "2026-03-02T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z"},
		{"a week across a year", "week", "UTC", "2026-01-01T12:00:00Z", "2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z"},
		{"a month of 31 days", "month", "UTC", "2026-01-31T12:00:00Z", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"February of a leap year", "month", "UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", "2028-04-01T00:00:00Z"},
		{"December", "month", "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"},
		{"a month in New York", "month", "America/New_York", "2026-03-01T04:59:59Z", "2026-02-01T05:00:00Z", "2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z"},
		{"the day of 23 hours", "day", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"},
		{"the day of 25 hours", "day", "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"},
		{"a skipped midnight", "day", "America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z", "2018-11-06T02:00:00Z"},
		{"the day before it", "day", "America/Sao_Paulo", "2018-11-04T02:30:00Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"a midnight shown twice", "day", "America/Havana", "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", "2026-11-03T05:00:00Z"},
		{"its second showing", "day", "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", "2026-11-03T05:00:00Z"},
		{"yesterday's date again", "day", "America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z", "2010-11-09T03:30:00Z"},
		{"a skipped day", "day", "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy.Period{Name: c.period, Zone: zone(t, c.zone)}
			got := policy.WindowAt(p, instant(t, c.now))
			want := budget.Window{
				Kind:    budget.Fixed,
				Current: budget.Span{Start: instant(t, c.start).UnixMilli(), End: instant(t, c.next).UnixMilli()},
				Next:    budget.Span{Start: instant(t, c.next).UnixMilli(), End: instant(t, c.end).UnixMilli()},
			}
			if got != want {
				t.Errorf("got %s, want %s", show(got), show(want))
			}
		})
	}
}

func show(w budget.Window) string {
	var s []string
	for _, at := range []int64{w.Current.Start, w.Current.End, w.Next.Start, w.Next.End} {
		s = append(s, time.UnixMilli(at).UTC().Format(time.RFC3339))
	}
	return strings.Join(s, " ")
}

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestWindowsWithoutSpans(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	got := policy.WindowAt(policy.Period{Name: "rolling", Length: time.Hour}, now)
	if want := (budget.Window{Kind: budget.Rolling, Length: time.Hour}); got != want {
		t.Errorf("rolling: got %+v", got)
	}
	got = policy.WindowAt(policy.Period{Name: "forever"}, now)
	if want := (budget.Window{Kind: budget.Forever}); got != want {
		t.Errorf("forever: got %+v", got)
	}
}

// What a clock shows depends on its zone only where days begin.
func TestPeriodsCountTogether(t *testing.T) {
	utc, berlin := zone(t, "UTC"), zone(t, "Europe/Berlin")
	for _, c := range []struct {
		name string
		a, b policy.Period
		want bool
	}{
		{"hours of two zones", policy.Period{Name: "hour", Zone: utc}, policy.Period{Name: "hour", Zone: berlin}, true},
		{"days of two zones", policy.Period{Name: "day", Zone: utc}, policy.Period{Name: "day", Zone: berlin}, false},
		{"UTC and none", policy.Period{Name: "day", Zone: utc}, policy.Period{Name: "day"}, true},
		{"two lengths", policy.Period{Name: "rolling", Length: time.Hour}, policy.Period{Name: "rolling", Length: time.Minute}, false},
		{"day and week", policy.Period{Name: "day"}, policy.Period{Name: "week"}, false},
	} {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

// zones are those of the database, with the odd ones often among them.
func drawZone(t *rapid.T, names []string) *time.Location {
	odd := []string{
		"America/St_Johns", "America/Havana", "America/Sao_Paulo", "Pacific/Apia", "Pacific/Kwajalein", "Asia/Gaza",
		"Asia/Beirut", "Africa/Cairo", "Australia/Lord_Howe", "America/Nuuk", "Antarctica/Troll", "Asia/Tehran",
	}
	name := rapid.OneOf(rapid.SampledFrom(names), rapid.SampledFrom(odd)).Draw(t, "zone")
	loc, err := policy.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func drawNow(t *rapid.T, loc *time.Location) time.Time {
	from := time.Date(1985, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	to := time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	now := time.UnixMilli(rapid.Int64Range(from, to).Draw(t, "now"))
	if _, changes := now.In(loc).ZoneBounds(); !changes.IsZero() && rapid.Bool().Draw(t, "near a clock change") {
		return changes.Add(time.Duration(rapid.Int64Range(-90_000_000, 90_000_000).Draw(t, "off by ms")) * time.Millisecond)
	}
	return now
}

// For every zone and instant: a window holds the instant, the next one begins
// where it ends, and from any instant of the next one the same bounds are
// found. So windows tile time, and all replicas agree on them.
func TestWindowsTile(t *testing.T) {
	names := slices.DeleteFunc(policy.ZoneNames(), func(name string) bool { return strings.HasSuffix(name, "/") })
	rapid.Check(t, func(t *rapid.T) {
		loc := drawZone(t, names)
		p := policy.Period{
			Name: rapid.SampledFrom([]string{"minute", "hour", "day", "week", "month"}).Draw(t, "period"),
			Zone: loc,
		}
		now := drawNow(t, loc)
		w := policy.WindowAt(p, now)
		if !w.Current.Contains(now.UnixMilli()) {
			t.Fatalf("%v is not in %s", now.UTC(), show(w))
		}
		if w.Next.Start != w.Current.End || w.Next.End <= w.Next.Start {
			t.Fatalf("%s does not go on", show(w))
		}
		inNext := time.UnixMilli(rapid.Int64Range(w.Next.Start, w.Next.End-1).Draw(t, "in next"))
		if next := policy.WindowAt(p, inNext); next.Current != w.Next {
			t.Fatalf("from %v the window is %s, not the next of %s", inNext.UTC(), show(next), show(w))
		}
		inThis := time.UnixMilli(rapid.Int64Range(w.Current.Start, w.Current.End-1).Draw(t, "in this"))
		if same := policy.WindowAt(p, inThis); same != w {
			t.Fatalf("from %v the window is %s, not %s", inThis.UTC(), show(same), show(w))
		}
	})
}
