package tokenizer

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anyText draws texts of hard pieces, some of them not valid UTF-8.
func anyText() *rapid.Generator[string] {
	part := rapid.SampledFrom([]string{
		"the committee ", "international", "\n", "\n\n ", "   ", "\t", "don't", "'S", "1234567", "!?", "ab", "漢字", "é", "🙂", "\u0301",
		"\xff", "\xe4\xb8", strings.Repeat(" ", 70), strings.Repeat("a", 300), strings.Repeat("\xfe", 5), strings.Repeat("x\u0301", 40),
		"\n" + strings.Repeat(" ", 90), "漢" + strings.Repeat("A", 200), strings.Repeat("aB", 50),
	})
	return rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(part, 0, 30).Draw(t, "parts"), "") })
}

func mustCount(t *rapid.T, e Encoding, texts []string) (tokens int64) {
	for _, text := range texts {
		n, err := e.Count(text)
		if err != nil {
			t.Fatal(err)
		}
		tokens += n
	}
	return tokens
}

// TestCounterProperty: up to its limit a counter is exact while its effort lasts,
// never less than exact after that, and above the limit it stops.
func TestCounterProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.SampledFrom(allEncodings).Draw(t, "encoding")
		texts := rapid.SliceOfN(anyText(), 0, 4).Draw(t, "texts")
		want := mustCount(t, e, texts)
		c, err := e.Counter(rapid.Int64Range(-1, 2*want+2).Draw(t, "most"))
		if err != nil {
			t.Fatal(err)
		}
		c.effort = rapid.SampledFrom([]int64{0, 300, 5_000, 20_000, 60_000, 200_000, mostEffort}).Draw(t, "effort")
		within := true
		for _, text := range texts {
			within = c.Add(text) && within
		}
		switch got, exact := c.Tokens(); {
		case within != (got <= c.most):
			t.Fatalf("%d tokens of at most %d, but within is %t", got, c.most, within)
		case exact && within && got != want, got < want && within:
			t.Fatalf("%s: %d tokens (exact: %t), want %d", e, got, exact, want)
		case exact && !within && want <= c.most:
			t.Fatalf("%s: above the limit of %d, but there are %d tokens", e, c.most, want)
		}
	})
}

// TestCounterReadsNoFurther than its limit, or than its effort reaches. The effort
// that is left tells what was read.
func TestCounterReadsNoFurther(t *testing.T) {
	const size = 8 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	spaces := fill("x\n" + strings.Repeat(" ", 2000))
	for _, row := range []struct {
		name  string
		text  string
		most  int64
		least int64 // effort left
		exact bool
	}{
		{"prose beyond the limit", fill("The committee met on Tuesday. "), 8192, mostEffort - 8192*(wordEffort+12*byteEffort), true},
		{"runs of spaces beyond the limit", spaces, 200, mostEffort - 210*128*(longEffort+byteEffort+1), true},
		{"runs of spaces", spaces, math.MaxInt64, math.MinInt64, false},
		{"one piece that is too long", fill("a"), math.MaxInt64, -1, false},
		{"one piece that ends in newlines", fill("\n" + strings.Repeat(" ", 2000)), math.MaxInt64, -1, false},
		{"prose", fill("The committee met on Tuesday. "), math.MaxInt64, 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := Cl100kBase.Counter(row.most)
			if err != nil {
				t.Fatal(err)
			}
			within := c.Add(row.text)
			if _, exact := c.Tokens(); exact != row.exact || c.effort < row.least {
				t.Errorf("exact %t, effort left %d, want %t and at least %d", exact, c.effort, row.exact, row.least)
			}
			if within != (row.most == math.MaxInt64) {
				t.Errorf("within: %t", within)
			}
		})
	}
}

// TestCounterOfUnknownEncoding is refused as its count is.
func TestCounterOfUnknownEncoding(t *testing.T) {
	if _, err := Encoding("o200k").Counter(-1); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("error %v", err)
	}
}
