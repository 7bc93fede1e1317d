package providertest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// corpusVariable names a directory of recorded exchanges.
const corpusVariable = "AEGIS_CORPUS"

// Recording is one exchange with an API, as a line of a file has it.
type Recording struct {
	ID string `json:"id"`
	// Dialect is who was called, and behind a dash the kind of call.
	Dialect string `json:"dialect"`
	// Recording is how it was made. "http": bytes as on the wire. "parsed": the bodies were
	// parsed and written anew. "fixture": an answer alone, perhaps by hand.
	Recording string   `json:"recording"`
	Notes     []string `json:"notes"` // what was shortened or left out
	Request   struct {
		Method string `json:"method"`
		Host   string `json:"host"`
		Path   string `json:"path"`
		Query  string `json:"query"`
		message
	} `json:"request"`
	Response struct {
		Status int `json:"status"`
		message
	} `json:"response"`
	Stream string `json:"stream"` // "sse" and others; "" for a document
	// StreamComplete says that the stream's own end was seen.
	StreamComplete bool `json:"stream_complete"`
}

type message struct {
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
	BodyBase64 string            `json:"body_base64"`
}

// Bytes returns the body.
func (m *message) Bytes() []byte {
	if m.BodyBase64 != "" {
		body, err := base64.StdEncoding.DecodeString(m.BodyBase64)
		if err == nil {
			return body
		}
	}
	return []byte(m.Body)
}

// Header returns the headers under canonical names.
func (m *message) Header() map[string][]string {
	h := map[string][]string{}
	for name, value := range m.Headers {
		h[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
	}
	return h
}

// Whole reports whether the request is there as it was sent.
func (r *Recording) Whole() bool {
	return r.Recording != "fixture" && len(r.Request.Bytes()) > 0 &&
		!slices.ContainsFunc(r.Notes, func(note string) bool { return strings.HasPrefix(note, "request") })
}

// Recordings reads every *.jsonl and *.jsonl.gz file of the directory that AEGIS_CORPUS
// names, and those of samples, which are always there.
func Recordings(t testing.TB, samples string) []*Recording {
	t.Helper()
	all := readAll(t, samples)
	if dir := os.Getenv(corpusVariable); dir != "" {
		all = append(all, readAll(t, dir)...)
	}
	return all
}

func readAll(t testing.TB, dir string) (all []*Recording) {
	t.Helper()
	var files []string
	for _, pattern := range [...]string{"*.jsonl", "*.jsonl.gz"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Fatalf("%s has no recordings", dir)
	}
	for _, file := range files {
		all = append(all, readFile(t, file)...)
	}
	return all
}

func readFile(t testing.TB, path string) (all []*Recording) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil && strings.HasSuffix(path, ".gz") {
		var plain *gzip.Reader
		if plain, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
			data, err = io.ReadAll(plain)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(bytes.NewReader(data))
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			r := new(Recording)
			if err := json.Unmarshal(line, r); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			all = append(all, r)
		}
		if err != nil {
			return all
		}
	}
}
