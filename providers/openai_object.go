package providers

// The members of a response object that are captured.
const (
	captureUsage = iota
	captureModel
	captureError
	captures
)

var captureNames = [captures]string{"usage", "model", "error"}

// none says that no member is being captured.
const none = -1

// objectScan follows a JSON object of any size byte by byte and keeps only
// the few members above, so that an embeddings response of many megabytes costs
// no memory.
type objectScan struct {
	values  [captures][]byte
	depth   int
	inside  bool // a string
	escaped bool // the next byte of the string is
	part    objectPart
	name    []byte // of the current member, cut at maxNameBytes
	capture int    // the member being captured, or none
	closed  bool
	broken  bool
}

// objectPart is where in the top level object the scan is.
type objectPart uint8

const (
	beforeObject objectPart = iota
	inName
	inValue
	afterObject
)

// maxNameBytes is enough to tell the captured names from all others.
const maxNameBytes = 8

// complete reports whether the object was closed and nothing was odd about it.
func (o *objectScan) complete() bool { return o.closed && !o.broken }

func (o *objectScan) feed(b []byte) {
	start := 0 // of what this chunk adds to the value being captured
	for i := 0; i < len(b); i++ {
		if o.inside {
			i = o.skipString(b, i)
			continue
		}
		switch b[i] {
		case '"':
			o.inside = true
		case '{', '[':
			o.descend()
		case ':':
			if o.depth == 1 && o.part == inName {
				o.beginValue()
				start = i + 1
			}
		case ',', '}', ']':
			if o.depth == 1 {
				o.keep(b[min(start, i):i])
			}
			o.leave(b[i])
		case ' ', '\t', '\r', '\n':
		default:
			o.broken = o.broken || o.depth == 0
		}
	}
	if o.depth > 0 {
		o.keep(b[min(start, len(b)):])
	}
}

// skipString moves to the end of the string, or of the chunk, and returns the
// last index it has read.
func (o *objectScan) skipString(b []byte, i int) int {
	from := i
	for ; i < len(b); i++ {
		switch {
		case o.escaped:
			o.escaped = false
		case b[i] == '\\':
			o.escaped = true
		case b[i] == '"':
			o.inside = false
			o.addName(b[from:i])
			return i
		}
	}
	o.addName(b[from:])
	return i
}

// addName collects the name of a top level member.
func (o *objectScan) addName(b []byte) {
	if o.depth == 1 && o.part == inName && len(o.name) < maxNameBytes {
		o.name = append(o.name, b[:min(len(b), maxNameBytes-len(o.name))]...)
	}
}

func (o *objectScan) descend() {
	if o.depth == 0 {
		o.broken = o.broken || o.part != beforeObject
		o.part = inName
		o.name = o.name[:0]
		o.capture = none
	}
	o.depth++
}

func (o *objectScan) beginValue() {
	o.part = inValue
	for i, name := range captureNames {
		if string(o.name) == name {
			o.capture = i
			o.values[i] = o.values[i][:0]
		}
	}
}

// leave handles a comma or a closing bracket.
func (o *objectScan) leave(c byte) {
	if o.depth == 1 {
		o.part = inName
		o.name = o.name[:0]
		o.capture = none
	}
	if c == ',' {
		return
	}
	o.depth--
	switch {
	case o.depth == 0:
		o.closed, o.part = true, afterObject
	case o.depth < 0:
		o.depth, o.broken = 0, true
	}
}

// keep adds bytes to the captured value, or drops it where it grows too long.
func (o *objectScan) keep(b []byte) {
	if o.part != inValue || o.capture == none {
		return
	}
	if len(o.values[o.capture])+len(b) > MaxCaptureBytes {
		o.values[o.capture] = nil
		o.capture = none
		return
	}
	o.values[o.capture] = append(o.values[o.capture], b...)
}
