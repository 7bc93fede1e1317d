package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// wirePolicy has room for the upstream's URL. The key is
// "aegis-script-test-key".
const wirePolicy = `generation: 1
upstreams:
  - {name: raw, base_url: "%[1]s/v1", api_key_file: upstream-key, provider: openai, cap_field: max_completion_tokens}
  - {name: claude, base_url: "%[1]s/v1", api_key_file: upstream-key, key_header: x-api-key, provider: anthropic, dialects: [{name: anthropic}]}
  - {name: own, base_url: "%[1]s/v1", credential: client, provider: openai, cap_field: max_completion_tokens}
  - {name: chatgpt, base_url: "%[1]s/backend-api/codex", credential: client, provider: openai, cap_field: none}
  - {name: login, base_url: "%[1]s/v1", credential: client, provider: anthropic, dialects: [{name: anthropic}]}
  - {name: other, base_url: "%[1]s/v1", api_key_file: upstream-key, key_header: x-api-key, provider: moonshotai, dialects: [{name: anthropic}]}
  - {name: google, base_url: "%[1]s", api_key_file: upstream-key, key_header: x-goog-api-key, provider: google, dialects: [{name: gemini}]}
models:
  - {match: "claude-sonnet-*", upstreams: [login]}
  - {match: "gemini-*", upstreams: [google]}
  - {match: "claude-*", upstreams: [claude]}
  - {match: "gpt-5", upstreams: [chatgpt], price: {input: "0", output: "0.001"}}
  - {match: "gpt-4o-mini", upstreams: [own], default_output_cap: 50}
  - {match: "kimi-*", upstreams: [other]}
  - {match: "gpt-4o", upstreams: [raw], default_output_cap: 50}
  - {match: "omni-moderation-*", upstreams: [raw]}
  - {match: "searcher", upstreams: [raw], default_output_cap: 50, price: {input: "0.001", output: "1", searches: "1"}}
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "d09623623d80eedc090c10e98d38736eb4efa3e6a00063ccfd6cc257c884c63c"}]
    when_exhausted: clamp
    budgets:
      - {name: total, window: forever, limit_usd: "0.01"}
      - {name: early, window: forever, limit_usd: "0.005", kind: soft}
`

// TestWire holds the bytes that the proxy passes on against
// docs/transparency.md. Each file has four parts: what the client sends, what
// the upstream gets, what it sends, and what the client gets; and where the policy has
// more than wirePolicy, that. Heads are shown with LF for CRLF; "Content-Length: auto"
// is filled in.
func TestWire(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no files in testdata/wire", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			upstream := newRawUpstream(t, part(archive, "upstream sends"))
			answer := sendRaw(t, serveWire(t, upstream.address, member(archive, "policy")), part(archive, "client sends"))
			tidy := strings.NewReplacer(upstream.address, "UPSTREAM")
			compare(t, archive, "upstream gets", tidy.Replace(string(<-upstream.got)))
			compare(t, archive, "client gets", string(answer))
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// part returns a message as it goes over the wire.
func part(a *txtar.Archive, name string) []byte {
	text := member(a, name)
	if text == "" {
		return nil
	}
	head, body, _ := strings.Cut(strings.TrimSuffix(text, "\n"), "\n\n")
	head = strings.ReplaceAll(head, "Content-Length: auto", "Content-Length: "+strconv.Itoa(len(body)))
	return []byte(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)
}

// member is a file of an archive, "" if it has none of that name.
func member(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// What differs from run to run.
var (
	receiptID = regexp.MustCompile(`[0-9a-f]{32}-\d+`)
	dateLine  = regexp.MustCompile(`(?m)^Date: .* GMT$`)
)

func compare(t *testing.T, a *txtar.Archive, name, got string) {
	t.Helper()
	got = receiptID.ReplaceAllString(strings.ReplaceAll(got, "\r\n", "\n"), "RECEIPT")
	got = dateLine.ReplaceAllString(got, "Date: NOW")
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	for i := range a.Files {
		if a.Files[i].Name != name {
			continue
		}
		if *update {
			a.Files[i].Data = []byte(got)
		}
		if want := string(a.Files[i].Data); got != want {
			t.Errorf("%s\n%s\nwant\n%s", name, got, want)
		}
		return
	}
	t.Errorf("the file has no part %q", name)
}

// rawUpstream answers one request with fixed bytes.
type rawUpstream struct {
	address string
	got     chan []byte // what came, or nothing once the listener is closed
}

func newRawUpstream(t *testing.T, answer []byte) *rawUpstream {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &rawUpstream{address: listener.Addr().String(), got: make(chan []byte, 1)}
	t.Cleanup(func() { listener.Close() })
	if len(answer) == 0 {
		u.got <- nil
		return u
	}
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		u.got <- readRaw(conn)
		conn.Write(answer)
	}()
	return u
}

// readRaw reads one request as it is, by its Content-Length.
func readRaw(conn io.Reader) []byte {
	var raw bytes.Buffer
	req, err := http.ReadRequest(bufio.NewReaderSize(io.TeeReader(conn, &raw), 1))
	if err != nil {
		return []byte(err.Error())
	}
	io.Copy(io.Discard, req.Body)
	return raw.Bytes()
}

// serveWire starts a proxy before that upstream, with more in its policy, and returns its
// address.
func serveWire(t *testing.T, upstream, more string) string {
	dir := t.TempDir()
	c := stackConfig{PolicyPath: filepath.Join(dir, "policy.yaml"), DataDir: dir, Logger: slog.New(slog.DiscardHandler)}
	policy := strings.ReplaceAll(fmt.Sprintf(wirePolicy, "http://"+upstream), "upstream-key", filepath.Join(dir, "upstream-key")) + more
	for path, text := range map[string]string{c.PolicyPath: policy, filepath.Join(dir, "upstream-key"): "sk-upstream\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSigner(dir, audit.AlgEd25519); err != nil {
		t.Fatal(err)
	}
	stack, err := openStack(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	front, err := openHouse(stack.front())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		front.close()
		if err := stack.close(); err != nil {
			t.Error(err)
		}
	})
	return strings.TrimPrefix(front.url, "http://")
}

// sendRaw sends bytes and returns all that comes back until the connection is
// closed, as the request must ask for.
func sendRaw(t *testing.T, address string, request []byte) []byte {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return joinChunks(t, answer)
}

// joinChunks takes the chunks' sizes out of a body: they depend on how it was
// read.
func joinChunks(t *testing.T, answer []byte) []byte {
	head, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !bytes.Contains(head, []byte("Transfer-Encoding: chunked")) {
		return answer
	}
	joined, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	return append(append(head, "\r\n\r\n"...), joined...)
}
