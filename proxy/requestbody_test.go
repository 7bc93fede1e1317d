package proxy_test

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// received is what an upstream of these tests was sent.
type received struct {
	header http.Header
	body   string
}

// recorder is an upstream that keeps the last request and answers with usage.
func recorder(into *received) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*into = received{r.Header.Clone(), string(body)}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"model":"toy","choices":[{"index":0,"message":{"role":"assistant","content":"Hi."}}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`)
	})
}

func compressed(text string, with func(io.Writer) io.WriteCloser) string {
	var b bytes.Buffer
	w := with(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func zlibbed(text string) string {
	return compressed(text, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
}

func deflated(text string) string {
	return compressed(text, func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 9); return f })
}

// TestBodyIsReadAsItSaysOrRefused: what the client's headers say of its body is
// undone or refused by name, and the upstream is told what was parsed.
func TestBodyIsReadAsItSaysOrRefused(t *testing.T) {
	const typ, coding = "Content-Type", "Content-Encoding"
	zeros := strings.Repeat("0", 1<<20)
	for _, row := range []struct {
		name, body string
		headers    []string
		status     int
		says       string
	}{
		{"plain", hello, nil, 200, ""},
		{"UTF-8", hello, []string{typ, "application/json; charset=utf-8"}, 200, ""},
		{"UTF-8, quoted and in capitals", hello, []string{typ, `application/json;Charset="UTF-8"`}, 200, ""},
		{"ASCII", hello, []string{typ, "application/json; charset=US-ASCII"}, 200, ""},
		{"a charset without a name", hello, []string{typ, "application/json; charset="}, 200, ""},
		{"UTF-7", hello, []string{typ, "application/json; charset=utf-7"}, 415, `\"utf-7\"`},
		{"UTF-7, quoted and in capitals", hello, []string{typ, `application/json; CHARSET="UTF-7"`}, 415, `\"UTF-7\"`},
		{"UTF-7 behind another parameter", hello, []string{typ, "application/json; a=b ; charset = utf-7 ; c=d"}, 415, `\"utf-7\"`},
		{"UTF-7 behind UTF-8", hello, []string{typ, "application/json; charset=utf-8; charset=utf-7"}, 415, `\"utf-7\"`},
		{"UTF-7 in a second value", hello, []string{typ, "application/json, application/json;charset=utf-7"}, 415, `\"utf-7\"`},
		{"UTF-16", hello, []string{typ, "application/json; charset=utf-16le"}, 415, `\"utf-16le\"`},
		{"Latin 1", hello, []string{typ, "application/json; charset=iso-8859-1"}, 415, `\"iso-8859-1\"`},
		{"another type", hello, []string{typ, "text/plain"}, 200, ""},
		{"the type that curl sends", hello, []string{typ, "application/x-www-form-urlencoded"}, 200, ""},
		{"a form", "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ntoy\r\n--b--", []string{typ, "multipart/form-data; boundary=b"}, 400, "must be an object"},
		{"gzip", zipped(hello), []string{coding, "gzip"}, 200, ""},
		{"gzip in capitals", zipped(hello), []string{coding, " GZIP "}, 200, ""},
		{"gzip in two members", zipped(hello[:9]) + zipped(hello[9:]), []string{coding, "x-gzip"}, 200, ""},
		{"deflate", zlibbed(hello), []string{coding, "deflate"}, 200, ""},
		{"deflate without its frame", deflated(hello), []string{coding, "deflate"}, 200, ""},
		{"twice", zlibbed(zipped(hello)), []string{coding, "gzip, deflate"}, 200, ""},
		{"identity", hello, []string{coding, "identity"}, 200, ""},
		{"identity and gzip", zipped(hello), []string{coding, "identity,gzip, ,identity"}, 200, ""},
		{"twice in the wrong order", zlibbed(zipped(hello)), []string{coding, "deflate, gzip"}, 400, "valid gzip"},
		{"not gzip", hello, []string{coding, "gzip"}, 400, "valid gzip"},
		{"gzip of nothing", "", []string{coding, "gzip"}, 400, "valid gzip"},
		{"half of gzip", zipped(hello)[:30], []string{coding, "gzip"}, 400, "valid gzip"},
		{"more behind gzip", zipped(hello) + "{}", []string{coding, "gzip"}, 400, "valid gzip"},
		{"more behind deflate", zlibbed(hello) + "{}", []string{coding, "deflate"}, 400, "valid deflate"},
		{"a wrong sum", zipped(hello)[:len(zipped(hello))-8] + "12345678", []string{coding, "gzip"}, 400, "valid gzip"},
		{"a bomb", zipped(zeros), []string{coding, "gzip"}, 413, "larger than"},
		{"a bomb in a bomb", zipped(zipped(zeros + zeros)), []string{coding, "gzip, gzip"}, 413, "larger than"},
		{"endless nothing", strings.Repeat(zipped(""), 1<<15), []string{coding, "gzip"}, 413, "larger than"},
		{"endless nothing, compressed", zipped(strings.Repeat(zipped(""), 1<<15)), []string{coding, "gzip, gzip"}, 413, "larger than"},
		{"three times", hello, []string{coding, "gzip,gzip,gzip"}, 415, "encoded 3 times"},
		{"brotli", hello, []string{coding, "br"}, 415, `\"br\"`},
		{"zstd", hello, []string{coding, "zstd"}, 415, `\"zstd\"`},
		{"zstd in gzip", zipped(hello), []string{coding, "zstd, gzip"}, 415, `\"zstd\"`},
		{"a byte order mark", "\ufeff" + hello, nil, 400, "byte order mark"},
		{"UTF-16 by its mark", "\xff\xfe{\x00}\x00", nil, 400, "UTF-8"},
		{"UTF-16 without a mark", "{\x00\"\x00", nil, 400, "UTF-8"},
		{"UTF-32", "\x00\x00\x00{", nil, 400, "UTF-8"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got received
			w := newWorld(t, setting{upstreams: []http.Handler{recorder(&got)}, bodyLimit: 1 << 16})
			a := w.post(chatPath, row.body, row.headers...)
			if a.status != row.status || !strings.Contains(a.body, row.says) {
				t.Fatalf("%d %s; want %d with %q", a.status, a.body, row.status, row.says)
			}
			if row.status != 200 {
				w.nothingReserved()
				return
			}
			if got.body != pinned(hello) || len(got.header["Content-Type"]) != 1 || got.header.Get("Content-Type") != "application/json" || got.header["Content-Encoding"] != nil {
				t.Errorf("the upstream got %v %s", got.header, got.body)
			}
		})
	}
}

// TestMisleadingHeaders: what can make a server read another request than was
// bounded does not pass, also by the names that a WSGI server takes for it.
func TestMisleadingHeaders(t *testing.T) {
	var got received
	w := newWorld(t, setting{upstreams: []http.Handler{recorder(&got)}})
	names := []string{
		"Content-Range", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Content-Transfer-Encoding", "Content-Location",
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "X-Envoy-Retry-On",
		"content_encoding", "Content_Type", "X_HTTP_Method_Override", "X_Aegis_Authorization",
	}
	headers := []string{"X-Passes", "yes"}
	for _, name := range names {
		headers = append(headers, name, "gzip")
	}
	r := request(t.Context(), w.front.URL+chatPath, hello, headers...)
	r.Header["content_encoding"] = []string{"gzip"} // not in its usual capitals
	mustAllow(t, w.do(r))
	for name := range got.header {
		switch name {
		case "X-Passes", "Content-Length", "Accept-Encoding", "Authorization", "User-Agent":
		case "Content-Type":
		default:
			t.Errorf("%s passed", name)
		}
	}
	if got.header.Get("X-Passes") != "yes" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("the upstream got %v", got.header)
	}
}
