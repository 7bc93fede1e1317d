package policy

import (
	"fmt"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// Names of a Period.
const (
	periodMinute  = "minute"
	periodHour    = "hour"
	periodDay     = "day"
	periodWeek    = "week"
	periodMonth   = "month"
	periodRolling = "rolling"
	periodForever = "forever"
)

var periods = [...]string{
	periodMinute, periodHour, periodDay, periodWeek, periodMonth, periodRolling, periodForever,
}

// Period is the window of a budget as the operator names it: "minute",
// "hour", "day", "week", "month", "rolling" or "forever". Weeks begin on
// Monday. Days, weeks and months begin at the first instant of their first
// date in Zone; minutes and hours are those of UTC.
type Period struct {
	Name   string
	Length time.Duration  // rolling
	Zone   *time.Location // day, week, month; nil: UTC
}

// Equal reports whether two budgets over these windows count together.
func (p Period) Equal(q Period) bool { return p.String() == q.String() }

// String names the window in a counter's key.
func (p Period) String() string {
	switch {
	case p.Name == periodRolling:
		return fmt.Sprintf("rolling-%dms", p.Length.Milliseconds())
	case p.onCalendar() && p.zone() != time.UTC:
		return p.Name + "@" + p.Zone.String()
	default:
		return p.Name
	}
}

func (p Period) onCalendar() bool {
	return p.Name == periodDay || p.Name == periodWeek || p.Name == periodMonth
}

func (p Period) zone() *time.Location {
	if p.Zone == nil {
		return time.UTC
	}
	return p.Zone
}

// at computes the window that holds now, and the one after it.
func (p Period) at(now time.Time) budget.Window {
	switch p.Name {
	case periodRolling:
		return budget.Window{Kind: budget.Rolling, Length: p.Length}
	case periodForever:
		return budget.Window{Kind: budget.Forever}
	case periodMinute:
		return clockWindow(now, time.Minute)
	case periodHour:
		return clockWindow(now, time.Hour)
	}
	return p.calendarWindow(now)
}

func clockWindow(now time.Time, length time.Duration) budget.Window {
	start := now.UTC().Truncate(length)
	return fixed(start, start.Add(length), start.Add(2*length))
}

func fixed(start, next, end time.Time) budget.Window {
	return budget.Window{
		Kind:    budget.Fixed,
		Current: budget.Span{Start: start.UnixMilli(), End: next.UnixMilli()},
		Next:    budget.Span{Start: next.UnixMilli(), End: end.UnixMilli()},
	}
}

func (p Period) calendarWindow(now time.Time) budget.Window {
	first := p.first(dateOf(now.In(p.zone())))
	start := first.begin(p.zone())
	first, next := p.after(first, start)
	// A clock turned back across midnight shows yesterday's date again, but
	// today has begun.
	for !now.Before(next) {
		start = next
		first, next = p.after(first, start)
	}
	_, end := p.after(first, next)
	return fixed(start, next, end)
}

// first returns the first date of the period that holds a date.
func (p Period) first(d date) date {
	switch p.Name {
	case periodWeek:
		weekday := time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC).Weekday()
		d.day -= (int(weekday) + 6) % 7
	case periodMonth:
		d.day = 1
	}
	return d
}

// after returns the first date of the next period, and when it begins. A
// period of which the zone skipped every instant is passed over.
func (p Period) after(first date, start time.Time) (date, time.Time) {
	for {
		switch p.Name {
		case periodWeek:
			first.day += 7
		case periodMonth:
			first.month++
		default:
			first.day++
		}
		if next := first.begin(p.zone()); next.After(start) {
			return first, next
		}
	}
}

// date is a day of the calendar. Days and months beyond their end count on,
// as in time.Date.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	year, month, day := t.Date()
	return date{year, month, day}
}

// begin returns the first instant at which a zone's clocks show the date or a
// later one. It is not always midnight: clocks can skip that, or show it twice.
func (d date) begin(zone *time.Location) time.Time {
	t := time.Date(d.year, d.month, d.day, 0, 0, 0, 0, zone)
	changed, changes := t.ZoneBounds()
	if d.isAfter(t) {
		return changes // t stands before a skipped midnight
	}
	if changed.IsZero() || t.Sub(changed) > 2*24*time.Hour {
		return t
	}
	before := changed.Add(-time.Nanosecond)
	if !d.isAfter(before) {
		// The date was shown already before the clocks were turned back.
		_, offset := t.Zone()
		_, earlier := before.Zone()
		return t.Add(time.Duration(offset-earlier) * time.Second)
	}
	hour, minute, second := t.Clock()
	midnight := t.Add(-time.Duration(hour)*time.Hour - time.Duration(minute)*time.Minute - time.Duration(second)*time.Second)
	if midnight.Before(changed) {
		return changed // the clocks skipped midnight
	}
	return midnight
}

// isAfter reports whether the date lies after the one that clocks show at t.
func (d date) isAfter(t time.Time) bool {
	year, month, day := t.Date()
	shown := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	return time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC).After(shown)
}
