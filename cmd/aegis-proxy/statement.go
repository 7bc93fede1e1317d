package main

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// statement is what a run has spent. Amounts are nano-USD.
type statement struct {
	Models   []modelSpend
	Unserved int            // calls that cost nothing, since what lies beyond refused them or was not reached
	Denied   map[string]int // calls, by reason
	Budgets  []spentOf
	Dir      string // of the receipts; "": they are with the proxy
	Day      string // of the receipts of the day's budget, its denials among them; "": there is none
	Run      string // its name there
	Proxy    string // its URL
}

// spentOf is one budget of a run.
type spentOf struct {
	Name               string
	Spent, Held, Limit int64
}

// cures are what can be done about denials of a run, where the budget is not the matter.
var cures = map[call.Reason]string{
	policy.NoPrice: "; name a model that has a price, as in codex -m gpt-5.4, or give a table that has it with --prices",
	policy.NoRoute: "; the key of the model's provider has to be in the environment",
}

// print writes it for a person.
func (s *statement) print(w io.Writer) error {
	for _, b := range s.Budgets {
		held := ""
		if b.Held > 0 {
			held = fmt.Sprintf(", %s held by calls that have not ended", policy.USD(b.Held))
		}
		fmt.Fprintf(w, "aegis: %s: spent %s of %s%s, %s left\n", b.Name, policy.USD(b.Spent), policy.USD(b.Limit), held, policy.USD(max(0, b.Limit-b.Spent-b.Held)))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range s.Models {
		fmt.Fprintf(table, "aegis:   %s\t%s\t%s\n", m.Model, counted(m.Calls, "call"), policy.USD(m.Nano))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if s.Unserved > 0 {
		fmt.Fprintf(w, "aegis: %s not served, at no cost: refused by the provider or by a proxy or daily budget before it, or not reached, of which %s has the cause\n",
			counted(s.Unserved, "call"), filepath.Join(s.Dir, runLogFile))
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Denied)) {
		fmt.Fprintf(w, "aegis: %s denied: %s%s\n", counted(s.Denied[reason], "call"), reason, cures[call.Reason(reason)])
	}
	var err error
	if s.Day != "" {
		fmt.Fprintf(w, "aegis: receipts of the day: %s\n", s.Day)
	}
	if s.Dir != "" {
		_, err = fmt.Fprintf(w, "aegis: receipts: %s\n", s.Dir)
	} else {
		_, err = fmt.Fprintf(w, "aegis: run %s: what it spent, and its receipts, are with %s\n", s.Run, s.Proxy)
	}
	return err
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
