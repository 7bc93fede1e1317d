package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// soundRow is a tenant of whom every promise was kept.
func soundRow() row {
	return row{
		tenant: "customer", asked: 5, allowed: 3, denied: map[string]int64{"budget_exhausted": 2},
		reserved: 3, billed: 90,
		standings: []standing{{tenant: "customer", budget: "prepaid", spent: 90, limit: 100, stopped: true}},
	}
}

func TestEveryBrokenPromiseIsSeen(t *testing.T) {
	checks := map[string]func([]row) string{
		"over limit": overLimit, "wrong stop": wrongStop, "held": heldAtRest, "books": booksDiffer, "undecided": undecided,
	}
	for name, check := range checks {
		if broken := check([]row{soundRow()}); broken != "" {
			t.Errorf("%s: a sound row is called broken: %s", name, broken)
		}
	}
	for name, c := range map[string]struct {
		check string
		spoil func(*row)
	}{
		"granted beyond the limit":        {"over limit", func(r *row) { r.beyond = 1 }},
		"spent beyond the limit":          {"over limit", func(r *row) { r.standings[0].spent = 101 }},
		"held beyond the limit":           {"over limit", func(r *row) { r.standings[0].held = 11 }},
		"not stopped":                     {"wrong stop", func(r *row) { r.standings[0].stopped = false }},
		"stopped with room":               {"wrong stop", func(r *row) { r.standings[0].budget = "team" }},
		"held at rest":                    {"held", func(r *row) { r.standings[0].held = 1 }},
		"charged less than billed":        {"books", func(r *row) { r.billed = 91 }},
		"charged more than billed":        {"books", func(r *row) { r.billed = 89 }},
		"asked without a decision":        {"undecided", func(r *row) { r.asked = 6 }},
		"a decision that nobody asked of": {"undecided", func(r *row) { r.denied["budget_held"] = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := soundRow()
			c.spoil(&spoiled)
			if checks[c.check]([]row{spoiled}) == "" {
				t.Error("not seen")
			}
		})
	}
}

func TestBrokenPromiseFailsTheDemo(t *testing.T) {
	var out bytes.Buffer
	p := proof{rows: []row{soundRow()}, promises: []promise{{"one", ""}, {"two", "because"}}}
	if err := p.print(&out); !errors.Is(err, errReported) {
		t.Errorf("error %v", err)
	}
	if got := out.String(); !strings.Contains(got, "BROKEN  two: because\n\n1 of 2 promises kept.\n") {
		t.Errorf("printed %s", got)
	}
}

func TestGrantBeyondItsLimitIsCounted(t *testing.T) {
	var r row
	r.count(audit.Decision{Verdict: audit.Allow, Claims: []audit.Claim{
		{Spent: 50, Held: 40, Amount: 10, Limit: 100},
		{Spent: 50, Held: 40, Amount: 11, Limit: 100},
	}})
	if r.allowed != 1 || r.reserved != 2 || r.beyond != 1 {
		t.Errorf("counted %+v", r)
	}
}

func TestBarsNeverLeaveTheirFrame(t *testing.T) {
	s := screen{cells: 10}
	for name, row := range map[string]struct {
		spent, held int64
		want        string
	}{
		"empty":                {0, 0, "[..........]"},
		"spent and held":       {30, 20, "[###++.....]"},
		"full":                 {100, 0, "[##########]"},
		"overrun":              {150, 0, "[##########]"},
		"held beyond the room": {90, 30, "[#########+]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.bar(standing{spent: row.spent, held: row.held, limit: 100}); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}
