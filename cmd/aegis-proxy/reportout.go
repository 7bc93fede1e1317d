package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/report"
)

// A figure is a column of a report: what it is called, and what a row has there.
type figure struct {
	name string
	of   func(*report.Row) string
}

func number(of func(*report.Row) int64) func(*report.Row) string {
	return func(r *report.Row) string { return strconv.FormatInt(of(r), 10) }
}

func money(of func(*report.Row) int64) func(*report.Row) string {
	return func(r *report.Row) string { return policy.Decimal(of(r)) }
}

// figures are the columns behind the dimensions. A table has those that are not zero everywhere.
var figures = []figure{
	{"calls", number(func(r *report.Row) int64 { return r.Calls })},
	{"denied", number(func(r *report.Row) int64 { return r.Denied })},
	{"would_deny", number(func(r *report.Row) int64 { return r.WouldDeny })},
	{"input_tokens", number(func(r *report.Row) int64 { return r.Usage.InputTokens() })},
	{"output_tokens", number(func(r *report.Row) int64 { return r.Usage.OutputTokens() })},
	{"spent_usd", money(func(r *report.Row) int64 { return r.Spent })},
	{"unknown_usd", money(func(r *report.Row) int64 { return r.Unknown })},
	{"expired_usd", money(func(r *report.Row) int64 { return r.Expired })},
	{"overrun_usd", money(func(r *report.Row) int64 { return r.Overrun })},
	{"open", number(func(r *report.Row) int64 { return r.Open })},
	{"held_usd", money(func(r *report.Row) int64 { return r.Held })},
}

// always are the figures that a table has in any case.
var always = []string{"calls", "spent_usd"}

// totalRow is what the last row of a table is told by.
const totalRow = "total"

// reportTable prints a table for people, with its sum.
func reportTable(w io.Writer, r *report.Report) error {
	total, err := r.Total()
	if err != nil {
		return err
	}
	var shown []figure
	zero := &report.Row{}
	for _, f := range figures {
		if slices.Contains(always, f.name) || f.of(&total) != f.of(zero) {
			shown = append(shown, f)
		}
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, strings.Join(append(slices.Clone(r.By), named(shown)...), "\t"))
	for i := range r.Rows {
		fmt.Fprintln(out, strings.Join(append(shownValues(r.Rows[i].Of), valued(shown, &r.Rows[i])...), "\t"))
	}
	last := make([]string, len(r.By))
	if len(last) > 0 {
		last[0] = totalRow
	}
	fmt.Fprintln(out, strings.Join(append(last, valued(shown, &total)...), "\t"))
	return out.Flush()
}

// shownValues has a dash where a request does not tell.
func shownValues(values []string) []string {
	list := slices.Clone(values)
	for i := range list {
		if list[i] == "" {
			list[i] = "-"
		}
	}
	return list
}

func named(list []figure) (names []string) {
	for _, f := range list {
		names = append(names, f.name)
	}
	return names
}

func valued(list []figure, row *report.Row) (values []string) {
	for _, f := range list {
		values = append(values, f.of(row))
	}
	return values
}

// units are the figures of what was used, each unit that any row has.
func units(r *report.Report) (list []figure) {
	for unit := range call.Units {
		if slices.ContainsFunc(r.Rows, func(row report.Row) bool { return row.Usage[unit] != 0 }) {
			list = append(list, figure{"usage_" + call.Table[unit].Name, number(func(row *report.Row) int64 { return row.Usage[unit] })})
		}
	}
	return list
}

// reportCSV prints all figures, and what was used of each unit.
func reportCSV(w io.Writer, r *report.Report) error {
	shown := append(slices.Clone(figures), units(r)...)
	out := csv.NewWriter(w)
	lines := [][]string{append(slices.Clone(r.By), named(shown)...)}
	for i := range r.Rows {
		lines = append(lines, append(asText(r.Rows[i].Of), valued(shown, &r.Rows[i])...))
	}
	return out.WriteAll(lines)
}

// asText has an apostrophe before what a spreadsheet would take for a formula: names of models come from clients.
func asText(values []string) []string {
	list := slices.Clone(values)
	for i, value := range list {
		if value != "" && strings.ContainsAny(value[:1], "=+-@") {
			list[i] = "'" + value
		}
	}
	return list
}

// reportRow is a row as JSON. Money is USD in decimal text; numbers are exact.
type reportRow struct {
	By        map[string]string `json:"by"`
	Calls     int64             `json:"calls"`
	Denied    int64             `json:"denied"`
	WouldDeny int64             `json:"would_deny"`
	Spent     string            `json:"spent_usd"`
	Unknown   string            `json:"unknown_usd"`
	Expired   string            `json:"expired_usd"`
	Overrun   string            `json:"overrun_usd"`
	Open      int64             `json:"open"`
	Held      string            `json:"held_usd"`
	Usage     map[string]int64  `json:"usage"`
	First     time.Time         `json:"first"`
	Last      time.Time         `json:"last"`
}

// reportJSON prints a list of rows.
func reportJSON(w io.Writer, r *report.Report) error {
	rows := []reportRow{}
	for i := range r.Rows {
		row := &r.Rows[i]
		line := reportRow{
			By: map[string]string{}, Usage: map[string]int64{}, First: row.First, Last: row.Last,
			Calls: row.Calls, Denied: row.Denied, WouldDeny: row.WouldDeny, Open: row.Open,
			Spent: policy.Decimal(row.Spent), Unknown: policy.Decimal(row.Unknown), Expired: policy.Decimal(row.Expired),
			Overrun: policy.Decimal(row.Overrun), Held: policy.Decimal(row.Held),
		}
		for k, name := range r.By {
			line.By[name] = row.Of[k]
		}
		for unit, n := range row.Usage {
			if n != 0 {
				line.Usage[call.Table[unit].Name] = n
			}
		}
		rows = append(rows, line)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(rows)
}
