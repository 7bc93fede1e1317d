package wire

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"
)

// member of an object, as a parser finds it.
type found struct{ name, value string }

// TestWalkFindsWhatGjsonFinds walks objects and arrays of any shape.
func TestWalkFindsWhatGjsonFinds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := drawJSON(t, 3)
		w := Walk{Text: text}
		if got, want := walked(&w), parsed(text); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\nwalked %q\nwant   %q", text, got, want)
		}
		if rest := len(text) - w.At; rest > 3 { // the spaces after it
			t.Fatalf("%s: %d bytes left", text, rest)
		}
	})
}

// TestQuoteFrom: the quote that ends a string is the first that no backslash escapes, however far it is.
func TestQuoteFrom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SampledFrom([]string{"a", `\`, `"`, "#", "\x01", "\x80", "\xff", "[]", "bbbbbbbb"}), 0, 24).Draw(t, "pieces")
		text := []byte(strings.Join(pieces, ""))
		want := 0
		for want < len(text) && text[want] != '"' {
			if text[want] == '\\' {
				want++
			}
			want++
		}
		if got := quoteFrom(text, 0); got != want {
			t.Fatalf("%q: %d, want %d", text, got, want)
		}
	})
}

// TestWalkEnds walks what breaks off, and what was never JSON.
func TestWalkEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := drawJSON(t, 3)
		text = text[:rapid.IntRange(0, len(text)).Draw(t, "cut")]
		for range rapid.IntRange(0, 3).Draw(t, "spoilt") {
			if len(text) > 0 {
				text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			}
		}
		walked(&Walk{Text: text})
		everything(&Walk{Text: text}, 0)
	})
}

// everything walks into what is nested.
func everything(w *Walk, depth int) {
	inside := func() { everything(w, depth+1) }
	switch c := w.Next(); {
	case c == '{' && depth < 20:
		w.Members(func(name Span) { w.NameOf(name); inside() })
	case c == '[' && depth < 20:
		w.Elements(inside)
	default:
		w.StringBytes()
	}
}

func walked(w *Walk) (all []found) {
	w.Members(func(name Span) { all = append(all, found{w.NameOf(name), string(w.Bytes())}) })
	w.Elements(func() { all = append(all, found{"", string(w.Bytes())}) })
	return all
}

func parsed(text []byte) (all []found) {
	v := gjson.ParseBytes(text)
	v.ForEach(func(name, value gjson.Result) bool {
		all = append(all, found{name.Str, value.Raw})
		return true
	})
	return all
}

// drawJSON draws an object or an array, with spaces in between.
func drawJSON(t *rapid.T, depth int) []byte {
	blank := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
	text := blank.Draw(t, "before")
	object := rapid.Bool().Draw(t, "object")
	open, end := "[", "]"
	if object {
		open, end = "{", "}"
	}
	text += open
	for i := range rapid.IntRange(0, 4).Draw(t, "members") {
		if i > 0 {
			text += blank.Draw(t, "blank") + ","
		}
		text += blank.Draw(t, "blank")
		if object {
			text += drawScalar(t, true) + blank.Draw(t, "blank") + ":" + blank.Draw(t, "blank")
		}
		if depth > 0 && rapid.Bool().Draw(t, "nested") {
			text += string(drawJSON(t, depth-1))
		} else {
			text += drawScalar(t, false)
		}
	}
	return []byte(text + blank.Draw(t, "blank") + end + blank.Draw(t, "after"))
}

func drawScalar(t *rapid.T, name bool) string {
	if !name && rapid.Bool().Draw(t, "literal") {
		return rapid.SampledFrom([]string{"null", "true", "false", "0", "-1.5e+9", "12345"}).Draw(t, "value")
	}
	quoted, err := json.Marshal(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`"`, `\`, `\"`, "usage", "}", "],"})).Draw(t, "string"))
	if err != nil {
		t.Fatal(err)
	}
	return string(quoted)
}

// TestEachMember: however deep, and however a name is written.
func TestEachMember(t *testing.T) {
	var got []string
	EachMember([]byte(`{"a":1,"b":["x",{"\u0063":"d\n","e":{"f":[[{"g":null}]]}}], "h" : "i"}`), func(name, text string) {
		got = append(got, name+"="+text)
	})
	if want := "a= c=d\n g= f= e= b= h=i"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", strings.Join(got, " "), want)
	}
}
