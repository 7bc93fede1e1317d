package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
)

// promise is something that the proxy says of itself, and what was seen
// against it.
type promise struct {
	what   string
	broken string // "" if it was kept
}

// proof is what the demo found.
type proof struct {
	promises []promise
	rows     []row
}

// row sums up one tenant: what it did itself, what the receipts say, and what
// the provider billed.
type row struct {
	tenant    string
	asked     int64
	allowed   int64
	denied    map[string]int64 // by reason
	reserved  int64            // claims that were granted
	beyond    int64            // of them, how many went over their limit
	billed    int64            // nano-USD, by the provider's books
	standings []standing
}

// prove holds receipts and balances against what tenants and provider saw.
func prove(ctx context.Context, out io.Writer, s *stage, standings []standing) (*proof, error) {
	rows, err := s.rows(standings)
	if err != nil {
		return nil, err
	}
	receipts := filepath.Join(s.dir, receiptsDir)
	verified, err := proveReceipts(ctx, out, receipts)
	if err != nil {
		return nil, err
	}
	found, err := proveAlteration(ctx, out, receipts, filepath.Join(s.dir, "altered"))
	if err != nil {
		return nil, err
	}
	return &proof{rows: rows, promises: []promise{
		{"no budget was ever over its limit, counting what was held", overLimit(rows)},
		{"every budget that ran out stopped its tenant, and no other did", wrongStop(rows)},
		{"nothing is held at rest", heldAtRest(rows)},
		{"what the ledger says was spent is what the provider's own books say", booksDiffer(rows)},
		{"every request has one decision in the receipts", undecided(rows)},
		{"the provider never saw a tenant's key", s.leaks()},
		{"the receipts verify", verified},
		{"one altered byte is found", found},
	}}, nil
}

// rows gathers what is known of each tenant.
func (s *stage) rows(standings []standing) ([]row, error) {
	rows := make([]row, len(s.actors))
	for i, a := range s.actors {
		rows[i] = row{tenant: a.tenant, asked: a.asked.Load(), denied: map[string]int64{}}
		billed, err := s.billed(a)
		if err != nil {
			return nil, err
		}
		rows[i].billed = billed
		for _, b := range standings {
			if b.tenant == a.tenant {
				rows[i].standings = append(rows[i].standings, b)
			}
		}
	}
	return rows, s.countDecisions(rows)
}

// billed prices what the provider's books say of a tenant's model.
func (s *stage) billed(a *actor) (total int64, err error) {
	price, err := pricing.Builtin().Lookup(a.api.provider, a.model, time.Now())
	if err != nil {
		return 0, err
	}
	for _, c := range s.sim.Calls() {
		if c.Model != a.model {
			continue
		}
		cost, err := price.Cost(call.Usage{call.Input: c.Billed.Prompt, call.Output: c.Billed.Completion})
		if err != nil {
			return 0, err
		}
		total += cost
	}
	return total, nil
}

func (s *stage) countDecisions(rows []row) error {
	sources, err := audit.Files(filepath.Join(s.dir, receiptsDir))
	if err != nil {
		return err
	}
	for receipt, err := range audit.Read(sources...) {
		if err != nil {
			return err
		}
		decision, ok := receipt.Body.(audit.Decision)
		if !ok {
			continue
		}
		i := slices.IndexFunc(rows, func(r row) bool { return r.tenant == decision.Facts.Tenant })
		if i >= 0 {
			rows[i].count(decision)
		}
	}
	return nil
}

func (r *row) count(d audit.Decision) {
	if d.Verdict == audit.Deny {
		r.denied[strings.Join(d.Reasons, "+")] += d.Told()
		return
	}
	r.allowed++
	for _, c := range d.Claims {
		r.reserved++
		if c.Spent+c.Held+c.Amount > c.Limit {
			r.beyond++
		}
	}
}

func overLimit(rows []row) string {
	for _, r := range rows {
		if r.beyond > 0 {
			return fmt.Sprintf("%s: %d of %d claims were granted beyond their limit", r.tenant, r.beyond, r.reserved)
		}
		for _, b := range r.standings {
			if b.spent+b.held > b.limit {
				return fmt.Sprintf("%s %s: spent %s and held %s of %s USD", r.tenant, b.name(), dollars(b.spent), dollars(b.held), dollars(b.limit))
			}
		}
	}
	return ""
}

// wrongStop compares with the play: all budgets end exhausted but two of the
// agent's.
func wrongStop(rows []row) string {
	for _, r := range rows {
		for _, b := range r.standings {
			roomy := b.budget == "team" || b.run == "changelog"
			if b.stopped == roomy {
				return fmt.Sprintf("%s %s: stopped %v with %s of %s USD spent", r.tenant, b.name(), b.stopped, dollars(b.spent), dollars(b.limit))
			}
		}
	}
	return ""
}

func heldAtRest(rows []row) string {
	for _, r := range rows {
		for _, b := range r.standings {
			if b.held != 0 {
				return fmt.Sprintf("%s %s: %s USD", r.tenant, b.name(), dollars(b.held))
			}
		}
	}
	return ""
}

func booksDiffer(rows []row) string {
	for _, r := range rows {
		if spent := r.standings[0].spent; spent != r.billed {
			return fmt.Sprintf("%s: %d nano-USD by the ledger, %d by the provider", r.tenant, spent, r.billed)
		}
	}
	return ""
}

func undecided(rows []row) string {
	for _, r := range rows {
		if decided := r.allowed + r.denials(); decided != r.asked {
			return fmt.Sprintf("%s: asked %d times, %d decisions", r.tenant, r.asked, decided)
		}
	}
	return ""
}

func (s *stage) leaks() string {
	for tenant, secret := range s.secrets {
		if places := s.sim.Leaks(secret); len(places) > 0 {
			return fmt.Sprintf("%s: %s", tenant, places[0])
		}
	}
	return ""
}

func proveReceipts(ctx context.Context, out io.Writer, dir string) (broken string, err error) {
	report, err := verifyReceipts(ctx, dir)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(out, "Receipts: %d lines verified.\n", report.Lines)
	if report.OK() {
		return "", nil
	}
	return report.Findings[0].String(), nil
}

func verifyReceipts(ctx context.Context, dir string) (audit.Report, error) {
	keys, err := readKeys("", dir)
	if err != nil {
		return audit.Report{}, err
	}
	return verifyDir(ctx, dir, keys)
}

// proveAlteration alters one byte in a copy of the receipts. The copy lies
// beside them, where the same keys file is found.
func proveAlteration(ctx context.Context, out io.Writer, dir, altered string) (broken string, err error) {
	if err := os.CopyFS(altered, os.DirFS(dir)); err != nil {
		return "", err
	}
	line, was, is, err := alterCharge(altered)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(out, "In a copy, one byte is altered: the charge in line %d, from %s to %s nano-USD. Verification says:\n", line, was, is)
	report, err := verifyReceipts(ctx, altered)
	if err != nil {
		return "", err
	}
	for _, finding := range report.Findings {
		fmt.Fprintf(out, "  %s:%d: %s: %s\n", filepath.Base(finding.File), finding.Line, finding.Kind, finding.Reason)
	}
	fmt.Fprintln(out)
	if slices.ContainsFunc(report.Findings, func(f audit.Finding) bool { return f.Line == line }) {
		return "", nil
	}
	return fmt.Sprintf("no finding names line %d", line), nil
}

// alterCharge changes the first digit of a charge in the middle of the log.
func alterCharge(dir string) (line int64, was, is string, err error) {
	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(segments) == 0 {
		return 0, "", "", errors.Join(err, errors.New("no receipts to alter"))
	}
	text, err := os.ReadFile(segments[0])
	if err != nil {
		return 0, "", "", err
	}
	const before = `"charge":"`
	at := bytes.Index(text[len(text)/2:], []byte(before))
	if at < 0 {
		return 0, "", "", errors.New("no charge in the second half of the receipts")
	}
	at += len(text)/2 + len(before)
	charge := text[at : at+bytes.IndexByte(text[at:], '"')]
	was = string(charge)
	charge[0] = '1' + (charge[0]-'1'+1)%9
	line = int64(bytes.Count(text[:at], []byte("\n"))) + 1
	return line, was, string(charge), os.WriteFile(segments[0], text, 0o600)
}

// print writes the summary. The error says that a promise was broken.
func (p *proof) print(out io.Writer) error {
	p.printRows(out)
	kept := 0
	for _, promise := range p.promises {
		if promise.broken == "" {
			kept++
			fmt.Fprintf(out, "kept    %s\n", promise.what)
			continue
		}
		fmt.Fprintf(out, "BROKEN  %s: %s\n", promise.what, promise.broken)
	}
	fmt.Fprintf(out, "\n%d of %d promises kept.\n", kept, len(p.promises))
	if kept < len(p.promises) {
		return errReported
	}
	return nil
}

func (p *proof) printRows(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TENANT\tASKED\tALLOWED\tDENIED\tBUDGET\tSPENT\tLIMIT\tHELD\tBILLED")
	for _, r := range p.rows {
		for i, b := range r.standings {
			who, billed := "\t\t\t", "" // the tenant is said once
			if i == 0 {
				who = fmt.Sprintf("%s\t%d\t%d\t%d", r.tenant, r.asked, r.allowed, r.denials())
				billed = dollars(r.billed)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", who, b.name(), dollars(b.spent), dollars(b.limit), dollars(b.held), billed)
		}
	}
	table.Flush()
	fmt.Fprint(out, "(USD; billed: by the provider's own books)\n\n")
	for _, r := range p.rows {
		fmt.Fprintf(out, "denied  %s: %s\n", r.tenant, reasons(r.denied))
	}
	fmt.Fprintln(out)
}

// denials are all that was denied.
func (r *row) denials() (total int64) {
	for _, n := range r.denied {
		total += n
	}
	return total
}

func reasons(denied map[string]int64) string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(denied)) {
		list = append(list, fmt.Sprintf("%d %s", denied[reason], reason))
	}
	return strings.Join(list, ", ")
}
