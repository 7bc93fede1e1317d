package providertest

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// spellings is how many other spellings of each recording are tried.
const spellings = 4

// checkSpellings: an answer that says the same in other words is read alike, and a request
// has the same bound.
func (x *exchange) checkSpellings(offer providers.Offer, report providers.Report, whole bool) {
	sent := offer.Send(offer.Bound().Output.Cap)
	answer := providers.Answer{Status: x.Response.Status, Header: x.Response.Header(), Framed: true}
	for seed := range uint64(spellings) {
		w := &respeller{random: rand.New(rand.NewPCG(seed, 1)), blanks: " \t", adds: seed%2 == 1}
		body := w.answer(x.Response.Bytes())
		m := sent.Meter(answer)
		feed(m, body, 0)
		got, want := m.Report(), report
		got.OutputTokens, want.OutputTokens = 0, 0 // in a stream, what nobody knows may be text
		if !reflect.DeepEqual(got, want) {
			x.errorf("written as %s it is read as %+v, as it came as %+v", body, got, want)
		}
		if whole {
			w.adds = false // which a list denies
			x.sameBound(offer.Bound(), w.value(x.Request.Bytes()))
		}
	}
}

// sameBound: a body that says the same is bounded alike. White space may count as text.
func (x *exchange) sameBound(want *providers.Bound, body []byte) {
	offer, verdict, why := x.offer(body)
	if verdict != Exact {
		x.errorf("written as %s it is %s: %s", body, verdict, why)
		return
	}
	got := offer.Bound()
	least, most := x.input(want), x.input(got)
	if most < least || got.Output.Cap != want.Output.Cap || got.Output.Choices != want.Output.Choices || got.Input.Kinds != want.Input.Kinds || got.Service != want.Service {
		x.errorf("written as %s it is bounded by %d tokens and %+v, as it came by %d and %+v", body, most, got.Output, least, want.Output)
	}
}

// input bounds the tokens of an input.
func (x *exchange) input(b *providers.Bound) int64 {
	return b.Input.Fixed + x.count(b.Input.Texts, b.Input.Exact)
}

// respeller writes JSON in other words: members in another order, with white space around
// them, and with some that nobody knows.
type respeller struct {
	random *rand.Rand
	blanks string // what may stand between
	adds   bool   // members that nobody knows
}

// answer is an answer in other words, a stream's event by event, with other ends of lines
// and with comments between the events.
func (w *respeller) answer(body []byte) []byte {
	if trimmed := bytes.TrimSpace(body); bytes.HasPrefix(trimmed, []byte("{")) || bytes.HasPrefix(trimmed, []byte("[")) {
		return w.value(body)
	}
	end := []string{"\n", "\r\n"}[w.random.IntN(2)]
	var out []byte
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		data, isData := bytes.CutPrefix(line, []byte("data:"))
		switch data = bytes.TrimSpace(data); {
		case isData && bytes.HasPrefix(data, []byte("{")):
			line = append([]byte([]string{"data:", "data: "}[w.random.IntN(2)]), w.value(data)...)
		case len(line) == 0 && w.random.IntN(3) == 0:
			line = []byte(end + ": keep-alive" + end)
		}
		out = append(append(out, line...), end...)
	}
	return out
}

// value is a JSON value in other words; what is none stays as it is.
func (w *respeller) value(body []byte) []byte {
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	out, err := w.next(d)
	if err != nil {
		return body
	}
	return out
}

// next is the next value.
func (w *respeller) next(d *jsontext.Decoder) ([]byte, error) {
	kind := d.PeekKind()
	if kind != '{' && kind != '[' {
		v, err := d.ReadValue()
		return slices.Clone(v), err
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var items [][]byte
	for d.PeekKind() != kind+2 { // the bracket that closes it
		item, err := w.item(d, kind == '{')
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	if kind == '{' {
		if w.adds {
			items = append(items, append([]byte(`"zz_nobody_knows":`), w.stranger(items)...))
		}
		w.random.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	}
	out := append([]byte{byte(kind)}, bytes.Join(items, []byte(","))...)
	return append(out, byte(kind+2)), nil
}

// strangers are values of members that nobody knows, of which none counts anything.
var strangers = []string{`null`, `0`, `true`, `[]`, `""`, `{"a":[{"b":null}]}`}

// stranger is one for an object with those members: a number or none where all are numbers,
// of which each may count something by its name.
func (w *respeller) stranger(members [][]byte) string {
	for _, m := range members {
		if last := bytes.TrimSpace(m); last[len(last)-1] < '0' || last[len(last)-1] > '9' {
			return strangers[w.random.IntN(len(strangers))]
		}
	}
	return strangers[w.random.IntN(2)]
}

// item is the next element of an array, or member of an object.
func (w *respeller) item(d *jsontext.Decoder, member bool) (item []byte, err error) {
	item = w.blank(item)
	if member {
		name, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		item = w.blank(append(w.blank(append(item, name...)), ':'))
	}
	value, err := w.next(d)
	return w.blank(append(item, value...)), err
}

func (w *respeller) blank(dst []byte) []byte {
	for range w.random.IntN(3) {
		dst = append(dst, w.blanks[w.random.IntN(len(w.blanks))])
	}
	return dst
}
