package providers

import (
	"io"
	"slices"
)

// splice replaces a span of the body; an empty span inserts.
type splice struct {
	at   span
	text string
}

// Edited is a body with the edit applied, to be read once. It shares the memory of
// the body it is made of, and only what was spliced in is its own.
type Edited struct {
	parts [][]byte // not read yet
	size  int64
}

// Size is the bytes of the whole body.
func (b *Edited) Size() int64 { return b.size }

// Read fills p as far as the body reaches, over as many parts as that takes, so that
// a body that fits is written at once.
func (b *Edited) Read(p []byte) (n int, err error) {
	for len(b.parts) > 0 && n < len(p) {
		taken := copy(p[n:], b.parts[0])
		n += taken
		if b.parts[0] = b.parts[0][taken:]; len(b.parts[0]) == 0 {
			b.parts = b.parts[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (b *Edited) add(part []byte) {
	if len(part) > 0 {
		b.parts = append(b.parts, part)
		b.size += int64(len(part))
	}
}

// apply makes the splices, in the order of the body. Insertions at one place
// keep their order, after a replacement that ends there.
func apply(body []byte, splices []splice) *Edited {
	slices.SortStableFunc(splices, func(a, b splice) int {
		if a.at.start != b.at.start {
			return a.at.start - b.at.start
		}
		return a.at.end - b.at.end
	})
	out := &Edited{parts: make([][]byte, 0, 2*len(splices)+1)}
	from := 0
	for _, s := range splices {
		out.add(body[from:s.at.start])
		out.add([]byte(s.text))
		from = s.at.end
	}
	out.add(body[from:])
	return out
}
