package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// fields visits an object's fields in the order of canonical JSON. One
// implementation writes them, the other reads them, so that each object's
// shape is stated once. Optional fields are left out when empty.
type fields interface {
	text(name string, v *string)
	optText(name string, v *string)
	word(name string, v *string, of words) // a text of a list
	optWord(name string, v *string, of words)
	count(name string, v *int64) // a JSON number, 0 to maxCount
	optCount(name string, v *int64)
	amount(name string, v *int64) // a decimal string, not negative
	optAmount(name string, v *int64)
	optFlag(name string, v *bool)
	optTexts(name string, v *[]string)
	optResults(name string, v *[]call.ToolResult) // texts of an id, or an id, a space and a tool
	optClaims(name string, v *[]Claim)
	optLimits(name string, v *[]Limit)
	optLines(name string, v *[]call.Line)
	optKinds(name string, v *call.Kinds) // a list of the names of units, in the order of call's table
	optObject(name string, r record)
}

// record is an object with a fixed list of fields.
type record interface{ visit(f fields) }

// Kinds of lines.
const (
	kindDecision   = "decision"
	kindSettlement = "settlement"
	kindEvent      = "event"
	kindSeal       = "seal"
	kindStart      = "start"
	kindRotate     = "rotate"
)

func (d Decision) kind() string   { return kindDecision }
func (s Settlement) kind() string { return kindSettlement }
func (e Event) kind() string      { return kindEvent }
func (s Seal) kind() string       { return kindSeal }
func (s Start) kind() string      { return kindStart }
func (r Rotate) kind() string     { return kindRotate }

func (s Settlement) encode(dst []byte) ([]byte, error) { return encodeRecord(dst, &s) }
func (e Event) encode(dst []byte) ([]byte, error)      { return encodeRecord(dst, &e) }
func (s Seal) encode(dst []byte) ([]byte, error)       { return encodeRecord(dst, &s) }
func (s Start) encode(dst []byte) ([]byte, error)      { return encodeRecord(dst, &s) }
func (r Rotate) encode(dst []byte) ([]byte, error)     { return encodeRecord(dst, &r) }

func (d Decision) encode(dst []byte) ([]byte, error) { return d.append(dst) }

// append is encode without a copy of what it tells.
func (d *Decision) append(dst []byte) ([]byte, error) {
	if err := d.checkDenials(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return encodeRecord(dst, d)
}

func (d *Decision) visit(f fields) {
	f.count("at", &d.At)
	f.optClaims("claims", &d.Claims)
	f.amount("cost", &d.Facts.Cost)
	f.optObject("denials", &d.Denials)
	f.optText("epoch", &d.Epoch)
	f.optCount("event", &d.Event)
	f.optFlag("existing", &d.Existing)
	f.optCount("expires", &d.Expires)
	f.optObject("facts", (*facts)(&d.Facts))
	f.optCount("generation", &d.Generation)
	f.optText("lease", &d.Lease)
	f.optText("policy", &d.Policy)
	f.optCount("priced_at", &d.PricedAt)
	f.optText("prices", &d.Prices)
	f.optTexts("reasons", &d.Reasons)
	f.word("verdict", &d.Verdict, verdicts)
}

// facts are a call's, without its cost, which stands beside them.
type facts call.Facts

func (a *facts) visit(f fields) {
	f.optCount("attempt", &a.Attempt)
	f.optLines("beside", &a.Beside)
	f.optTexts("capabilities", &a.Needs)
	f.optCount("choices", &a.Choices)
	f.optFlag("counted", &a.Counted)
	f.optCount("depth", &a.Depth)
	f.optText("dialect", &a.Dialect)
	f.optText("endpoint", &a.Endpoint)
	f.optCount("extra_output", &a.ExtraOutput)
	f.optFlag("free", &a.Free)
	f.optWord("input_bound", &a.InputBound, inputBounds)
	f.optCount("input_rereads", &a.InputRereads)
	f.optCount("input_tokens", &a.InputTokens)
	f.optText("instead_of", &a.InsteadOf)
	f.optText("key", &a.Key)
	f.optKinds("kinds", &a.Kinds)
	f.optCount("least_cap", &a.LeastCap)
	f.optText("model", &a.Model)
	f.optText("nonce", (*string)(&a.Nonce))
	f.optCount("output_cap", &a.OutputCap)
	f.optCount("output_rereads", &a.OutputRereads)
	f.optCount("output_tokens", &a.OutputTokens)
	f.optText("region", &a.Region)
	f.optText("run", (*string)(&a.Run))
	f.optText("service", &a.Service)
	f.optTexts("services", &a.Services)
	f.optFlag("stream", &a.Stream)
	f.optText("target", (*string)(&a.Target))
	f.optText("tenant", &a.Tenant)
	f.optText("tool", (*string)(&a.Tool))
	f.optResults("tool_results", &a.ToolResults)
	f.optTexts("tools", &a.Tools)
	f.optFlag("uncapped", &a.Uncapped)
	f.optText("upstream", &a.Upstream)
	f.optText("user", (*string)(&a.User))
}

func (c *Claim) visit(f fields) {
	f.amount("amount", &c.Amount)
	f.word("at_end", &c.AtEnd, ends)
	f.optCount("end", &c.End)
	f.optText("group", &c.Group)
	f.optCount("group_max", &c.GroupMax)
	f.amount("held", &c.Held)
	f.text("key", &c.Key)
	f.optCount("length_ms", &c.LengthMS)
	f.amount("limit", &c.Limit)
	f.optText("marks", &c.Marks)
	f.optWord("reason", &c.Reason, refusals)
	f.optText("rule", &c.Rule)
	f.amount("spent", &c.Spent)
	f.optCount("start", &c.Start)
	f.word("window", &c.Window, windows)
}

func (l *Limit) visit(f fields) {
	f.text("key", &l.Key)
	f.amount("limit", &l.Limit)
}

func (s *Settlement) visit(f fields) {
	status := int64(s.Status)
	f.count("at", &s.At)
	f.optWord("basis", &s.Basis, bases)
	f.amount("charge", &s.Charge)
	f.optText("decision", &s.Decision)
	f.optText("epoch", &s.Epoch)
	f.optCount("event", &s.Event)
	f.amount("hold", &s.Hold)
	f.text("lease", &s.Lease)
	f.optLines("lines", &s.Lines)
	f.word("outcome", &s.Outcome, outcomes)
	f.optAmount("overrun", &s.Overrun)
	f.optText("prices", &s.Prices)
	f.optCount("status", &status)
	f.text("tenant", &s.Tenant)
	s.Status = int(status)
}

// line is what a response reports of one run of a model.
type line call.Line

func (l *line) visit(f fields) {
	f.optAmount("billed", &l.Billed)
	f.optText("model", &l.Model)
	f.optText("region", &l.Region)
	f.optText("service", &l.Service)
	f.optObject("usage", (*usage)(&l.Usage))
	f.optText("variant", &l.Variant)
}

// usage has a field for each unit, under the unit's name.
type usage call.Usage

func (u *usage) visit(f fields) {
	for _, unit := range unitsByName {
		f.optCount(unit.String(), &u[unit])
	}
}

var unitsByName = func() []call.Unit {
	units := make([]call.Unit, call.Units)
	for u := range call.Units {
		units[u] = u
	}
	slices.SortFunc(units, func(a, b call.Unit) int { return strings.Compare(a.String(), b.String()) })
	return units
}()

func (e *Event) visit(f fields) {
	f.optAmount("amount", &e.Amount)
	f.count("at", &e.At)
	f.optClaims("claims", &e.Claims)
	f.text("epoch", &e.Epoch)
	f.count("event", &e.Event)
	f.optCount("expires", &e.Expires)
	f.optCount("generation", &e.Generation)
	f.optText("key", &e.Key)
	f.optText("lease", &e.Lease)
	f.optLimits("limits", &e.Limits)
	f.word("name", &e.Name, eventNames)
	f.optText("policy", &e.Policy)
	f.optFlag("recovered", &e.Recovered)
	f.optText("switch", &e.Switch)
	f.text("tenant", &e.Tenant)
}

func (s *Seal) visit(f fields) {
	f.word("alg", &s.Alg, algorithms)
	f.text("kid", &s.Kid)
	f.text("sig", &s.Sig)
}

func (s *Start) visit(f fields) {
	f.word("alg", &s.Alg, algorithms)
	f.count("at", &s.At)
	f.optCount("cut_bytes", &s.CutBytes)
	f.optText("cut_file", &s.CutFile)
	f.text("kid", &s.Kid)
	f.word("reason", &s.Reason, startReasons)
	f.optText("software", &s.Software)
}

func (r *Rotate) visit(f fields) {
	f.word("alg", &r.Alg, algorithms)
	f.count("at", &r.At)
	f.text("kid", &r.Kid)
	f.optText("public", &r.Public)
}
