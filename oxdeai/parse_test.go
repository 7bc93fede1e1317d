package oxdeai

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":                   {"", ErrSyntax},
		"spaces only":               {" \n", ErrSyntax},
		"a byte order mark":         {"\xef\xbb\xbf{}", ErrSyntax},
		"two values":                {"1 2", ErrSyntax},
		"text behind the value":     {"{}x", ErrSyntax},
		"an unknown word":           {"nul", ErrSyntax},
		"a word that goes on":       {"truex", ErrSyntax},
		"a comma at the end":        {"[1,]", ErrSyntax},
		"a comma at the start":      {"[,1]", ErrSyntax},
		"a comma in an object":      {`{"a":1,}`, ErrSyntax},
		"a name without quotes":     {"{a:1}", ErrSyntax},
		"a name without a value":    {`{"a"}`, ErrSyntax},
		"an array without end":      {"[1", ErrSyntax},
		"an object without end":     {`{"a":1`, ErrSyntax},
		"a string without end":      {`"abc`, ErrSyntax},
		"an escape without end":     {`"\`, ErrSyntax},
		"a short escape":            {`"\u12"`, ErrSyntax},
		"an escape that is no hex":  {`"\u12g4"`, ErrSyntax},
		"an unknown escape":         {`"\x"`, ErrSyntax},
		"a control character":       {"\"a\nb\"", ErrSyntax},
		"one behind an escape":      {"\"\\n\n\"", ErrSyntax},
		"a leading zero":            {"01", ErrSyntax},
		"a leading plus":            {"+1", ErrSyntax},
		"a number without digits":   {"-", ErrSyntax},
		"no digit behind the point": {"1.", ErrSyntax},
		"no digit in the exponent":  {"1e+", ErrSyntax},
		"infinity":                  {"Infinity", ErrSyntax},
		"a comment":                 {"/**/1", ErrSyntax},
		"single quotes":             {"'a'", ErrSyntax},
		"bytes that are not UTF-8":  {"\"\xff\"", ErrBadUTF8},
		"one behind an escaped one": {"\"\\n\xff\"", ErrBadUTF8},
		"a surrogate in UTF-8":      {"\"\xed\xa0\x80\"", ErrBadUTF8},
		"a high surrogate alone":    {`"\ud800"`, ErrBadUTF8},
		"a low surrogate alone":     {`"\udc00"`, ErrBadUTF8},
		"two high surrogates":       {`"\ud800\ud800"`, ErrBadUTF8},
		"two equal names":           {`{"a":1,"b":2,"a":3}`, ErrDuplicateKey},
		"equal names, one escaped":  {`{"a":1,"\u0061":2}`, ErrDuplicateKey},
		"too many arrays":           {strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), ErrTooDeep},
		"too many objects":          {strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1), ErrTooDeep},
	} {
		if v, err := Parse([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, v, err, c.want)
		}
	}
}

func TestParseFindsRepeatedNamesInALargeObject(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	text.WriteString("{")
	for i := range 100 {
		text.WriteString(`"` + strings.Repeat("k", i+1) + `":0,`)
	}
	if _, err := Parse([]byte(text.String() + `"last":0}`)); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"k", strings.Repeat("k", 100)} {
		if _, err := Parse([]byte(text.String() + `"` + name + `":0}`)); !errors.Is(err, ErrDuplicateKey) {
			t.Errorf("%d: %v", len(name), err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	t.Parallel()
	if _, err := Parse([]byte(strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth))); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
	long := bytes.Repeat([]byte(" "), MaxDocumentBytes)
	long[0] = '1'
	if v, err := Parse(long); err != nil || v != Int(1) {
		t.Errorf("%d bytes: %v", len(long), err)
	}
	if _, err := Parse(append(long, ' ')); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	deep := Value(nil)
	for range MaxDepth + 1 {
		deep = []Value{deep}
	}
	for name, c := range map[string]struct {
		v    Value
		want error
	}{
		"an int":              {1, ErrUnsupportedType},
		"a nil object":        {(*Object)(nil), ErrUnsupportedType},
		"a nil bigint":        {(*big.Int)(nil), ErrUnsupportedType},
		"not a number":        {math.NaN(), ErrFloatNotAllowed},
		"infinity":            {math.Inf(-1), ErrFloatNotAllowed},
		"2^53":                {float64(1 << 53), ErrUnsafeInteger},
		"a bigint as ts":      {NewObject(Member{"ts", bigInt(1)}), ErrInvalidTimestamp},
		"an unsafe ts":        {NewObject(Member{"ts", float64(1 << 53)}), ErrInvalidTimestamp},
		"broken UTF-8":        {"\xff", ErrBadUTF8},
		"a broken name":       {NewObject(Member{"\xff", nil}), ErrBadUTF8},
		"two equal names":     {NewObject(Member{"a", nil}, Member{"a", nil}), ErrDuplicateKey},
		"too deep":            {deep, ErrTooDeep},
		"a name before child": {NewObject(Member{"é", 1.5}, Member{"e\u0301", 1.5}), ErrDuplicateKey},
	} {
		if b, err := Canonical(c.v); !errors.Is(err, c.want) {
			t.Errorf("%s: %s, %v, want %v", name, b, err, c.want)
		}
	}
}

func TestCompareUTF16(t *testing.T) {
	t.Parallel()
	order := []string{"", "a", "aa", "b", "\u00e9", "\ud7ff", "\U00010000", "\U0001f600", "\U0010ffff", "\ue000", "\uffff"}
	for i, a := range order {
		for j, b := range order {
			if got := compareUTF16(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
}
