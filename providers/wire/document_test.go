package wire

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"
)

var testWatch = Paths{
	Keep: []string{"usage", "a.usage", "a.b.c"}, Output: []string{"out", "a.out"}, Numbers: []string{"vectors"},
	Labels: map[string]bool{"role": true}, Words: []string{"word"},
}.Watch()

// read is what a document says that comes in two chunks.
func read(text string, cut int) *Document {
	d := NewDocument(testWatch)
	d.Feed([]byte(text[:cut]))
	d.Feed([]byte(text[cut:]))
	d.End()
	return &d
}

// TestDocumentKeepsPaths: what lies at a path is found, and nothing else, wherever the
// document is cut into chunks.
func TestDocumentKeepsPaths(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := string(drawObject(t, 3))
		d := read(text, rapid.IntRange(0, len(text)).Draw(t, "cut"))
		if !d.Complete() || d.Open() || d.List() {
			t.Fatalf("%s: complete %v, open %v, list %v", text, d.Complete(), d.Open(), d.List())
		}
		for path := range testWatch.kept {
			var want []string
			valuesAt(gjson.Parse(text), strings.Split(path, "."), &want)
			var got []string
			for _, value := range d.Kept(path).Values {
				got = append(got, strings.TrimSpace(string(value)))
			}
			if len(want) > maxKept {
				want = append(want[:maxKept-1], want[len(want)-1])
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: at %s\n got %q\nwant %q", text, path, got, want)
			}
		}
	})
}

// valuesAt adds the values of a path, of which one may have several.
func valuesAt(v gjson.Result, path []string, into *[]string) {
	if len(path) == 0 {
		*into = append(*into, v.Raw)
		return
	}
	if v.IsObject() {
		v.ForEach(func(name, value gjson.Result) bool {
			if name.Str == path[0] {
				valuesAt(value, path[1:], into)
			}
			return true
		})
	}
}

// drawObject draws an object whose names are often those of the watch.
func drawObject(t *rapid.T, depth int) []byte {
	text := []byte{'{'}
	for i := range rapid.IntRange(0, 6).Draw(t, "members") {
		if i > 0 {
			text = append(text, ',')
		}
		name := rapid.SampledFrom([]string{"usage", "a", "b", "c", "out", `\u0061`, "x"}).Draw(t, "name")
		text = append(append(append(text, '"'), name...), `" : `...)
		switch {
		case depth > 0 && rapid.Bool().Draw(t, "object"):
			text = append(text, drawObject(t, depth-1)...)
		default:
			text = append(text, drawJSON(t, 1)...)
		}
	}
	return append(text, '}')
}

func TestDocumentSeesOutput(t *testing.T) {
	for _, row := range []struct {
		name, text    string
		output, noted bool
	}{
		{"none", `{"x":"text","out":[],"vectors":[]}`, false, false},
		{"a string", `{"out":[{"role":"assistant","x":"text"}]}`, true, false},
		{"a label", `{"out":[{"role":"assistant"}]}`, false, false},
		{"in a label", `{"out":[{"role":{"x":["text"]}}]}`, false, false},
		{"behind a label", `{"out":[{"role":"assistant"},{"x":"text"}]}`, true, false},
		{"an empty string", `{"out":""}`, false, false},
		{"a number", `{"out":7}`, false, false},
		{"a number where it counts", `{"vectors":[[-0.5]]}`, true, false},
		{"below", `{"a":{"out":"text"}}`, true, false},
		{"below another", `{"b":{"out":"text"},"a":[{"out":"text"}]}`, false, false},
		{"in a list", `[{"out":"text"}]`, true, false},
		{"a word", `{"x":[{"y":"w\u006frd"}]}`, false, true},
		{"a word as a name", `{"word":1}`, false, false},
		{"cut in a string", `{"out":"te`, true, false},
		{"no JSON", `out`, false, false},
	} {
		for cut := range len(row.text) {
			if d := read(row.text, cut); d.Output() != row.output || d.Noted() != row.noted {
				t.Fatalf("%s, cut at %d: output %v, noted %v", row.name, cut, d.Output(), d.Noted())
			}
		}
	}
}

func TestDocumentBounds(t *testing.T) {
	long := `{"usage":"` + strings.Repeat("x", MaxValueBytes) + `","a":{"usage":1}}`
	d := read(long, 40)
	if k := d.Kept("usage"); !k.Dropped || k.Last() != nil || string(d.Kept("a.usage").Last()) != "1" {
		t.Errorf("kept %d bytes, dropped %v", len(k.Last()), k.Dropped)
	}
	deep := strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000)
	if d := read(deep, 0); !d.Complete() {
		t.Error("a deep document is not complete")
	}
	d = read(`{"usage":1,"usage":2,"usage":3,"usage":4,"usage":5}`, 7)
	if k := d.Kept("usage"); !k.Dropped || len(k.Values) != maxKept || string(k.Last()) != "5" {
		t.Errorf("kept %q", k.Values)
	}
	d = read(`{"a":{"usage":{"n":1`, 3)
	if k := d.Kept("a.usage"); !k.Cut || string(k.Last()) != `{"n":1` {
		t.Errorf("cut %v, kept %q", k.Cut, k.Last())
	}
	value := `"usage":"` + strings.Repeat("x", MaxValueBytes-10) + `",`
	d = read("{"+strings.Repeat(value, 100), 7)
	if n := cap(d.store); n > 4*MaxValueBytes {
		t.Errorf("values that went leave %d bytes", n)
	}
}
