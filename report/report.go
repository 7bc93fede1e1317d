// Package report adds up what receipts say: what was spent, by tenant, key, model and
// whatever else a request is told by, and what was denied, or would have been.
//
// A charge belongs to the instant of the decision that held it, as it does in a ledger's
// windows: a call of the last minute of November that ends in December is November's.
// What expires is charged its hold, until a correction replaces that. So the sums of a
// window are the ledger's, from the receipts of all replicas. Receipts are read
// once; what is kept is one row for each group, the leases that have not ended, and those
// that have expired as long as a correction can come.
package report

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// Query says which requests a report is of, and how it groups them.
type Query struct {
	From, To  time.Time      // of the decisions, To exclusive; the zero time: no bound
	By        []string       // names of dimensions
	Zone      *time.Location // of days and months; nil: UTC
	WouldDeny bool           // of decisions alone that observe let pass, each reason a row of its own
}

// Row is one group.
type Row struct {
	Of []string // a value for each dimension; "" where a request does not tell

	Calls     int64 // that were allowed
	Denied    int64
	WouldDeny int64 // of Calls: those that observe let pass

	Usage call.Usage // as it was reported
	Spent int64      // nano-USD
	// Of Spent: charged at the hold because nobody told the cost, or because the lease expired.
	Unknown, Expired int64
	// Overrun is how much of Spent was above the hold.
	Overrun int64
	// Open are the leases that have not ended, and Held what they hold, nano-USD.
	Open, Held int64

	// First and Last are when the first and the last of the group were decided.
	First, Last time.Time
}

// Report is what receipts add up to.
type Report struct {
	By   []string
	Rows []Row // by their values
	// Lost are the leases whose decision is in no receipt: their rows have the tenant alone.
	Lost int64
	// Missing are the events of each tenant that are in no receipt, between the first and the last that are.
	Missing map[string]int64
}

// Total is the sum of all rows.
func (r *Report) Total() (sum Row, err error) {
	for i := range r.Rows {
		if err := sum.add(&r.Rows[i]); err != nil {
			return Row{}, err
		}
	}
	return sum, nil
}

// errSum is the error of a sum beyond what an int64 holds, 9.2 billion USD.
var errSum = errors.New("the sum is more than 9.2 billion USD or 2^63 of something; take a shorter time")

// plus adds to a sum of the receipts.
func plus(sum *int64, n int64) error {
	if n > 0 && *sum > *sum+n || n < 0 && *sum < *sum+n {
		return errSum
	}
	*sum += n
	return nil
}

func (r *Row) add(other *Row) error {
	var errs []error
	to, from := r.numbers(), other.numbers()
	for i := range to {
		errs = append(errs, plus(to[i], *from[i]))
	}
	return errors.Join(errs...)
}

func (r *Row) numbers() []*int64 {
	list := []*int64{&r.Calls, &r.Denied, &r.WouldDeny, &r.Spent, &r.Unknown, &r.Expired, &r.Overrun, &r.Open, &r.Held}
	for u := range r.Usage {
		list = append(list, &r.Usage[u])
	}
	return list
}

// decided is what a dimension looks at: the facts, the reason of a denial, and the instant.
type decided struct {
	facts  *call.Facts
	reason string
	at     time.Time
}

// dimensions are what rows can be told by.
var dimensions = map[string]func(decided) string{
	"tenant":   func(d decided) string { return d.facts.Tenant },
	"key":      func(d decided) string { return d.facts.Key },
	"run":      func(d decided) string { return string(d.facts.Run) },
	"user":     func(d decided) string { return string(d.facts.User) },
	"model":    func(d decided) string { return d.facts.Model },
	"upstream": func(d decided) string { return d.facts.Upstream },
	"dialect":  func(d decided) string { return d.facts.Dialect },
	"endpoint": func(d decided) string { return d.facts.Endpoint },
	"reason":   func(d decided) string { return d.reason },
	"day":      func(d decided) string { return d.at.Format(time.DateOnly) },
	"month":    func(d decided) string { return d.at.Format("2006-01") },
}

// Dimensions are the names of what rows can be told by.
func Dimensions() []string { return slices.Sorted(maps.Keys(dimensions)) }

// check says what is wrong with a query.
func (q *Query) check() error {
	for i, name := range q.By {
		if dimensions[name] == nil {
			return fmt.Errorf("%q is nothing to report by; take of %s", name, strings.Join(Dimensions(), ", "))
		}
		if slices.Contains(q.By[:i], name) {
			return fmt.Errorf("%q is named twice", name)
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return fmt.Errorf("the report would end at %s, and begin at %s", q.To.Format(time.RFC3339), q.From.Format(time.RFC3339))
	}
	return nil
}

// holds reports whether an instant is one of the query's.
func (q *Query) holds(at time.Time) bool {
	return !at.Before(q.From) && (q.To.IsZero() || at.Before(q.To))
}

// zoned is an instant of a ledger in the zone of the query.
func (q *Query) zoned(ms int64) time.Time {
	zone := q.Zone
	if zone == nil {
		zone = time.UTC
	}
	return time.UnixMilli(ms).In(zone)
}

// Of returns a Reporter. It takes receipts as audit.Merge yields them: those of one log in their order, among
// logs nearly by their instants.
func Of(q Query) (*Reporter, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if q.WouldDeny && !slices.Contains(q.By, "reason") {
		q.By = append(slices.Clone(q.By), "reason")
	}
	return &Reporter{query: q, rows: map[string]*Row{}, leases: map[leaseID]*lease{}, events: map[life]*numbers{}}, nil
}

// maxRows bounds the groups of one report.
const maxRows = 1_000_000

// row is the group of a decision.
func (r *Reporter) row(d decided) (*Row, error) {
	values := make([]string, len(r.query.By))
	for i, name := range r.query.By {
		values[i] = dimensions[name](d)
	}
	key := strings.Join(values, "\x00")
	row := r.rows[key]
	if row == nil {
		if len(r.rows) == maxRows {
			return nil, fmt.Errorf("there are more than %d groups; report by less than %s, or of a shorter time", maxRows, strings.Join(r.query.By, ","))
		}
		row = &Row{Of: values, First: d.at, Last: d.at}
		r.rows[key] = row
	}
	if d.at.Before(row.First) {
		row.First = d.at
	}
	if d.at.After(row.Last) {
		row.Last = d.at
	}
	return row, nil
}

// sorted are the rows in the order of their values.
func (r *Reporter) sorted() []Row {
	list := make([]Row, 0, len(r.rows))
	for _, row := range r.rows {
		list = append(list, *row)
	}
	slices.SortFunc(list, func(a, b Row) int { return slices.Compare(a.Of, b.Of) })
	return list
}
