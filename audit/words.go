package audit

import (
	"fmt"
	"slices"
	"strings"
)

// words are the values that a field can have. What no list has is not of this
// format: it is neither written nor read.
type words []string

func (w words) has(text string) bool { return slices.Contains(w, text) }

func (w words) String() string { return strings.Join(w, ", ") }

var (
	verdicts     = words{Allow, Deny}
	inputBounds  = words{"exact", "bytes", "context", "caller"}
	ends         = words{"adjust", "keep", "spend", "return"}
	windows      = words{"fixed", "rolling", "idle", "forever"}
	refusals     = words{"exhausted", "held", "crowded"}
	bases        = words{BasisReported, BasisUnbilled, BasisUnknown, BasisFloor}
	outcomes     = words{"settle", "release", "correct"}
	eventNames   = words{"provision", "policy", "grant", "extend", "settle", "release", "expire", "correct", "kill", "lift"}
	algorithms   = words{AlgEd25519, AlgHMAC}
	startReasons = words{ReasonCreated, ReasonOpened, ReasonRepaired}
)

func (e *encoder) word(name string, v *string, of words) {
	if !of.has(*v) && e.err == nil {
		e.err = fmt.Errorf("%w: %s is %.40q, want one of %v", ErrInvalid, name, *v, of)
	}
	e.text(name, v)
}

func (e *encoder) optWord(name string, v *string, of words) {
	if *v != "" {
		e.word(name, v, of)
	}
}

func (d *decoder) word(name string, v *string, of words) {
	d.text(name, v)
	d.among(name, *v, of)
}

func (d *decoder) optWord(name string, v *string, of words) {
	d.optText(name, v)
	if *v != "" {
		d.among(name, *v, of)
	}
}

func (d *decoder) among(name, text string, of words) {
	if d.err == nil && !of.has(text) {
		d.fail("%s is %.40q, want one of %v", name, text, of)
	}
}
