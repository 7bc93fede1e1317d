package oxdeai

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// testdataVariable names the directory that holds the conformance data: vectors/ and golden/.
const testdataVariable = "OXDEAI_TESTDATA"

// conformance returns the content of a file below the directory of the conformance data, or skips the test.
func conformance(tb testing.TB, elem ...string) []byte {
	tb.Helper()
	dir := os.Getenv(testdataVariable)
	if dir == "" {
		tb.Skipf("set %s to a directory with vectors/ and golden/ to run the conformance data", testdataVariable)
	}
	b, err := os.ReadFile(filepath.Join(append([]string{dir}, elem...)...))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// goldenLines calls f as a subtest for every line of a golden file. The subtest has the name of the line's id.
func goldenLines(t *testing.T, file string, f func(t *testing.T, line *Object)) {
	t.Helper()
	s := bufio.NewScanner(bytes.NewReader(conformance(t, "golden", file)))
	s.Buffer(nil, MaxDocumentBytes)
	n := 0
	for s.Scan() {
		line := mustObject(t, s.Bytes())
		id, ok := line.Text("id")
		if !ok {
			t.Fatalf("%s: line %d has no id", file, n+1)
		}
		n++
		t.Run(id, func(t *testing.T) { f(t, line) })
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Fatalf("%s has no lines", file)
	}
	t.Logf("%s: %d lines", file, n)
}

// mustParse parses a JSON text that the test itself chose.
func mustParse(tb testing.TB, text []byte) Value {
	tb.Helper()
	v, err := Parse(text)
	if err != nil {
		tb.Fatalf("parse %.80q: %v", text, err)
	}
	return v
}

func mustObject(tb testing.TB, text []byte) *Object {
	tb.Helper()
	o, ok := mustParse(tb, text).(*Object)
	if !ok {
		tb.Fatalf("not an object: %.80q", text)
	}
	return o
}
