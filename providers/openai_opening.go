package providers

import (
	"bytes"
	"slices"
	"strings"
)

// shape is what a response is, by its first bytes.
type shape uint8

const (
	unopened shape = iota // too little was seen
	document              // JSON, or any other text
	events                // server-sent events
)

// opening tells a stream from a document by the first bytes that are not blank.
type opening struct {
	announced bool // as an event stream
	shape     shape
	head      []byte // of the response: a byte order mark, then what is not blank
}

const byteOrderMark = "\ufeff"

// fields are what a line of an event stream begins with; a comment begins with
// the colon alone (WHATWG, "Server-sent events").
var fields = []string{":", "data:", "event:", "id:", "retry:"}

// look takes the next bytes and returns the shape, once it is known.
func (o *opening) look(chunk []byte) shape {
	for i := 0; i < len(chunk) && o.shape == unopened; i++ {
		if !isBlank(chunk[i]) {
			o.head = append(o.head, chunk[i])
			o.shape = o.judge()
		}
	}
	return o.shape
}

// judge is what the head says. It says so within the longest field.
func (o *opening) judge() shape {
	head, marked := strings.CutPrefix(string(o.head), byteOrderMark)
	if head == "" || !marked && strings.HasPrefix(byteOrderMark, head) {
		return unopened
	}
	begins := func(field string) bool { return strings.HasPrefix(field, head) }
	switch {
	case head[0] == '{' || head[0] == '[':
		return document
	case o.announced || slices.ContainsFunc(fields, func(field string) bool { return strings.HasPrefix(head, field) }):
		return events
	case slices.ContainsFunc(fields, begins):
		return unopened
	}
	return document
}

// trimMark takes the byte order mark off the front.
func trimMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte(byteOrderMark)) }
