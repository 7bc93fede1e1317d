package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/report"
)

// focusDimensions are what a row of FOCUS needs.
var focusDimensions = []string{"day", "tenant", "upstream", "model"}

// focusBy are these, and what was asked for beside.
func focusBy(asked []string) []string {
	list := slices.Clone(focusDimensions)
	for _, name := range asked {
		if !slices.Contains(list, name) && name != "month" { // the billing period says it
			list = append(list, name)
		}
	}
	return list
}

// focusRow is a row of a report as FOCUS looks at it.
type focusRow struct {
	*report.Row
	day   time.Time // at its beginning
	by    map[string]string
	spent string
}

// A focusColumn is one of FOCUS 1.2 (https://focus.finops.org/focus-specification/v1-2), or behind x_ one of
// our own, which it leaves room for.
type focusColumn struct {
	name string
	of   func(*focusRow) string
}

func fixed(text string) func(*focusRow) string { return func(*focusRow) string { return text } }

func by(name string) func(*focusRow) string { return func(r *focusRow) string { return r.by[name] } }

// focusColumns are what the specification demands and receipts can tell. The prices are the list's, so
// that all four costs are one.
var focusColumns = []focusColumn{
	{"BilledCost", func(r *focusRow) string { return r.spent }},
	{"EffectiveCost", func(r *focusRow) string { return r.spent }},
	{"ListCost", func(r *focusRow) string { return r.spent }},
	{"ContractedCost", func(r *focusRow) string { return r.spent }},
	{"BillingCurrency", fixed("USD")},
	{"BillingAccountId", by("upstream")},
	{"BillingAccountName", by("upstream")},
	{"BillingPeriodStart", func(r *focusRow) string { return focusTime(r.month()) }},
	{"BillingPeriodEnd", func(r *focusRow) string { return focusTime(r.month().AddDate(0, 1, 0)) }},
	{"ChargePeriodStart", func(r *focusRow) string { return focusTime(r.day) }},
	{"ChargePeriodEnd", func(r *focusRow) string { return focusTime(r.day.AddDate(0, 0, 1)) }},
	{"ChargeCategory", fixed("Usage")},
	{"ChargeClass", fixed("")},
	{"ChargeFrequency", fixed("Usage-Based")},
	{"ChargeDescription", func(r *focusRow) string { return fmt.Sprintf("%d calls of %s", r.Calls, r.by["model"]) }},
	{"ConsumedQuantity", func(r *focusRow) string { return strconv.FormatInt(r.tokens(), 10) }},
	{"ConsumedUnit", fixed("Tokens")},
	{"PricingQuantity", func(r *focusRow) string { return strconv.FormatInt(r.tokens(), 10) }},
	{"PricingUnit", fixed("Tokens")},
	{"PricingCategory", fixed("Standard")},
	{"ProviderName", by("upstream")},
	{"PublisherName", by("upstream")},
	{"InvoiceIssuerName", by("upstream")},
	{"ServiceCategory", fixed("AI and Machine Learning")},
	{"ServiceSubcategory", fixed("Generative AI")},
	{"ServiceName", by("model")},
	{"ResourceId", by("model")},
	{"ResourceName", by("model")},
	{"ResourceType", fixed("Model")},
	{"SubAccountId", by("tenant")},
	{"SubAccountName", by("tenant")},
	{"Tags", (*focusRow).tags},
	{"x_Calls", func(r *focusRow) string { return strconv.FormatInt(r.Calls, 10) }},
	{"x_InputTokens", func(r *focusRow) string { return strconv.FormatInt(r.Usage.InputTokens(), 10) }},
	{"x_OutputTokens", func(r *focusRow) string { return strconv.FormatInt(r.Usage.OutputTokens(), 10) }},
	{"x_UnknownCost", func(r *focusRow) string { return policy.Decimal(r.Unknown) }},
	{"x_ExpiredCost", func(r *focusRow) string { return policy.Decimal(r.Expired) }},
}

func focusTime(at time.Time) string { return at.UTC().Format(time.RFC3339) }

func (r *focusRow) month() time.Time {
	return time.Date(r.day.Year(), r.day.Month(), 1, 0, 0, 0, 0, r.day.Location())
}

func (r *focusRow) tokens() int64 { return r.Usage.InputTokens() + r.Usage.OutputTokens() }

// tags are what was asked for beside what FOCUS has columns for.
func (r *focusRow) tags() string {
	rest := map[string]string{}
	for name, value := range r.by {
		if !slices.Contains(focusDimensions, name) && value != "" {
			rest[name] = value
		}
	}
	text, err := json.Marshal(rest)
	if err != nil { // strings always can be
		return ""
	}
	return string(text)
}

// focusWriter prints what was charged; what was denied, and costs nothing, is no charge.
func focusWriter(zone string) (func(io.Writer, *report.Report) error, error) {
	at, err := time.LoadLocation(zone)
	if err != nil {
		return nil, err
	}
	return func(w io.Writer, r *report.Report) error {
		var head []string
		for _, column := range focusColumns {
			head = append(head, column.name)
		}
		lines := [][]string{head}
		for i := range r.Rows {
			if r.Rows[i].Calls == 0 {
				continue
			}
			row, err := focusOf(r.By, &r.Rows[i], at)
			if err != nil {
				return err
			}
			var line []string
			for _, column := range focusColumns {
				line = append(line, column.of(row))
			}
			lines = append(lines, line)
		}
		return csv.NewWriter(w).WriteAll(lines)
	}, nil
}

func focusOf(names []string, r *report.Row, zone *time.Location) (*focusRow, error) {
	row := &focusRow{Row: r, by: map[string]string{}, spent: policy.Decimal(r.Spent)}
	for i, value := range asText(r.Of) {
		row.by[names[i]] = value
	}
	var err error
	row.day, err = beginning(row.by["day"], zone)
	return row, err
}
