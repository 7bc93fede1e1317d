package openai_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// corpusVariable names the directory of recorded exchanges: one *.jsonl.gz a provider and
// endpoint.
const corpusVariable = "AEGIS_CORPUS"

// recordedRequest is as much of a recorded exchange as is read here.
type recordedRequest struct {
	ID      string `json:"id"`
	Dialect string `json:"dialect"` // provider, and behind a dash the endpoint
	Request struct {
		Path    string            `json:"path"`
		Query   string            `json:"query"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	} `json:"request"`
}

// endpoint is the one that a request was sent to; false if it is none of the dialect's.
func (e *recordedRequest) endpoint() (openai.Endpoint, bool) {
	path := strings.TrimRight(e.Request.Path, "/")
	switch {
	case strings.HasSuffix(path, "/chat/completions"):
		return openai.ChatCompletions, true
	case strings.HasSuffix(path, "/completions"):
		return openai.Completions, true
	case strings.HasSuffix(path, "/embeddings"):
		return openai.Embeddings, true
	}
	return 0, false
}

// recordedRequests calls f with each recorded request of the dialect that has a body.
func recordedRequests(t *testing.T, f func(e *recordedRequest, endpoint openai.Endpoint)) {
	dir := os.Getenv(corpusVariable)
	if dir == "" {
		t.Skipf("set %s to a directory of recorded exchanges to run them", corpusVariable)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no exchanges: %v", dir, err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(plain)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			var e recordedRequest
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if endpoint, ok := e.endpoint(); ok && e.Request.Body != "" {
				f(&e, endpoint)
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		file.Close()
	}
}

// listedDenials are the kinds of recorded requests that docs/lists.md says are denied.
func listedDenials(t *testing.T) []string {
	page, err := os.ReadFile("../../docs/lists.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Recorded requests that are denied")
	var kinds []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) == 4 && !strings.HasPrefix(cells[1], "-") && cells[1] != " what " {
			kinds = append(kinds, strings.TrimSpace(strings.ReplaceAll(cells[1], "`", "")))
		}
	}
	if len(kinds) == 0 {
		t.Fatal("docs/lists.md lists none")
	}
	return kinds
}

// TestRecordedRequestsPass: what clients were recorded to send passes the lists of the
// provider that they sent it to, or is of a kind that docs/lists.md has.
func TestRecordedRequestsPass(t *testing.T) {
	kinds := listedDenials(t)
	recordedRequests(t, func(e *recordedRequest, endpoint openai.Endpoint) {
		why := judged(e, endpoint)
		if why == "" {
			return
		}
		for _, kind := range kinds {
			if strings.HasPrefix(why, kind) {
				return
			}
		}
		t.Errorf("%s: %s", e.ID, why)
	})
}

// judged says why a recorded request is refused or denied by its own provider's lists.
func judged(e *recordedRequest, endpoint openai.Endpoint) string {
	r, err := openai.Parse(endpoint, []byte(e.Request.Body))
	if err != nil {
		return err.Error()
	}
	if err := r.SeeQuery(e.Request.Query); err != nil {
		return err.Error()
	}
	header := map[string][]string{}
	for name, value := range e.Request.Headers {
		header[name] = []string{value}
	}
	r.SeeHeaders(header)
	provider, _, _ := strings.Cut(e.Dialect, "-")
	return noBound(r, openai.Taker{Provider: provider})
}
