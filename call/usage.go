package call

import "strconv"

// Usage is what one run of a model used of each unit. Time is in milliseconds.
type Usage [Units]int64

// String lists what there is, as "input 12, output 3".
func (u Usage) String() string {
	var text []byte
	for unit, n := range u {
		if n == 0 {
			continue
		}
		if len(text) > 0 {
			text = append(text, ", "...)
		}
		text = append(append(text, Table[unit].Name...), ' ')
		text = strconv.AppendInt(text, n, 10)
	}
	return string(text)
}

// InputTokens is how long the run's input was, which picks the context tier.
func (u *Usage) InputTokens() (n int64) {
	for k := Inputs; k != 0; {
		var unit Unit
		unit, k = k.Next()
		n += u[unit]
	}
	return n
}

// OutputTokens is how many tokens came out of the run, of whatever kind.
func (u *Usage) OutputTokens() (n int64) {
	for k := Outputs; k != 0; {
		var unit Unit
		unit, k = k.Next()
		n += u[unit]
	}
	return n
}

// Inputs are the kinds of input tokens, which count towards the context tier; Outputs
// those of output tokens.
var (
	Inputs  = inputKinds()
	Outputs = Of(Output, Reasoning, AudioOutput, ImageOutput, VideoOutput)
)

// Fees are all units but those of tokens.
var Fees = (1<<Units - 1) &^ (Inputs | Outputs)

func inputKinds() (k Kinds) {
	for u := range Units {
		if Table[u].Input {
			k |= 1 << u
		}
	}
	return k
}

// AnyRegion is the region of a call that may run in any: it costs what the dearest of those
// costs that the price knows.
const AnyRegion = "any"

// Standard is the service of an answer that says that it was served at the standard tier,
// where others were possible. It costs what no service costs.
const Standard = "standard"

// Key selects a price of a provider. What is not told is empty: then the price is
// that of the service and the region that a provider has by default.
type Key struct {
	Model   string
	Variant string // what the model's price depends on beside units: "high/1024x1024", "720p"
	Service string // service tier: "priority", "flex"; Standard where it is told, "" where it is not
	Region  string // where it was processed: "us"
}

// Line is what an answer says of one run of a model. One answer can have several,
// where other models ran inside the call.
type Line struct {
	Key
	Usage  Usage
	Billed int64 // nano-USD that the answer itself names; the larger is charged. 0: it names none
}

// Part bounds one part of what a run uses: at most Fixed and the tokens of Texts, together,
// of any of Kinds, of which the dearest counts. A price weighs parts whose texts were
// counted: it has no Texts.
type Part struct {
	Fixed int64
	Texts []string // counted one by one; they refer to the request's body
	Kinds Kinds
}

// Bytes is the size of Texts.
func (p *Part) Bytes() (n int64) {
	for _, text := range p.Texts {
		n += int64(len(text))
	}
	return n
}
