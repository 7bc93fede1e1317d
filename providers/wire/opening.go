package wire

import (
	"bytes"
	"slices"
	"strings"
)

// Shape is what a response is, by its first bytes.
type Shape uint8

// The shapes of a response.
const (
	ShapeUnopened Shape = iota // too little was seen
	ShapeDocument              // JSON, or any other text
	ShapeEvents                // server-sent events
)

// Opening tells a stream from a document by the first bytes that are not blank.
type Opening struct {
	Announced bool // as an event stream
	Shape     Shape
	head      []byte // of the response: a byte order mark, then what is not blank
}

const byteOrderMark = "\ufeff"

// fields are what a line of an event stream begins with; a comment begins with
// the colon alone (WHATWG, "Server-sent events").
var fields = []string{":", "data:", "event:", "id:", "retry:"}

// Look takes the next bytes and returns the shape, once it is known.
func (o *Opening) Look(chunk []byte) Shape {
	for i := 0; i < len(chunk) && o.Shape == ShapeUnopened; i++ {
		if !IsBlank(chunk[i]) {
			o.head = append(o.head, chunk[i])
			o.Shape = o.judge()
		}
	}
	return o.Shape
}

// judge is what the head says. It says so within the longest field.
func (o *Opening) judge() Shape {
	head, marked := strings.CutPrefix(string(o.head), byteOrderMark)
	if head == "" || !marked && strings.HasPrefix(byteOrderMark, head) {
		return ShapeUnopened
	}
	begins := func(field string) bool { return strings.HasPrefix(field, head) }
	switch {
	case head[0] == '{' || head[0] == '[':
		return ShapeDocument
	case o.Announced || slices.ContainsFunc(fields, func(field string) bool { return strings.HasPrefix(head, field) }):
		return ShapeEvents
	case slices.ContainsFunc(fields, begins):
		return ShapeUnopened
	}
	return ShapeDocument
}

// trimMark takes the byte order mark off the front.
func trimMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte(byteOrderMark)) }
