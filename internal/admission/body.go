package admission

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// What is wrong with a body as it arrives.
var (
	ErrLarge = Deny(call.TooLarge, "request_too_large", call.RetryNever, "the request's body is larger than this proxy takes")
	ErrBody  = Deny(call.Malformed, "incomplete_body", call.RetryUnsaid, "the request's body did not arrive whole")
)

// maxCodings is how many times over a request's body may be compressed. Each
// takes about 45 KB while the body is read.
const maxCodings = 2

// DecodeBody returns a request's body without its content codings, and makes the length
// unknown where it had any. Of the body, and of each coding's result, no more than limit
// bytes are read, so a small body cannot become a large one. What the headers say of the
// body goes no further than here: the upstream gets what was parsed. w may be nil.
//
// The errors are rejections: of a charset that JSON cannot have, of a coding that
// cannot be undone here, and of a body that is too large before it is read.
func DecodeBody(w http.ResponseWriter, r *http.Request, limit int64) (io.Reader, error) {
	if charset, ok := ForeignCharset(r.Header["Content-Type"]); ok {
		return nil, unsupported("the body is said to be in charset %q; send JSON in UTF-8", Clip(charset))
	}
	codings, err := codingsOf(r.Header["Content-Encoding"])
	if err != nil {
		return nil, err
	}
	if r.ContentLength > limit {
		return nil, ErrLarge
	}
	plain := http.MaxBytesReader(w, r.Body, limit)
	for i := len(codings) - 1; i >= 0; i-- { // the last was applied last
		r.ContentLength = -1
		plain = http.MaxBytesReader(w, &decodedBody{coding: codings[i], in: plain}, limit)
	}
	return plain, nil
}

// BodyError is what a client is told of an error in reading what DecodeBody has returned.
func BodyError(err error) error {
	if err == nil {
		return nil
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return ErrLarge
	}
	if refused, ok := errors.AsType[*call.Denial](err); ok {
		return refused
	}
	return ErrBody
}

// ForeignCharset returns the first charset in which a body is said to be and in
// which JSON cannot be (RFC 8259, section 8.1). The header is read as loosely as
// any server may read it.
func ForeignCharset(contentTypes []string) (charset string, foreign bool) {
	for _, value := range contentTypes {
		for part := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ';' || c == ',' }) {
			name, charset, _ := strings.Cut(part, "=")
			quotes := strings.Count(charset, `"`) // odd where a separator is quoted
			charset = strings.Trim(charset, " \t\"'")
			if strings.EqualFold(strings.TrimSpace(name), "charset") && (!isUTF8(charset) || quotes%2 != 0) {
				return charset, true
			}
		}
	}
	return "", false
}

func isUTF8(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	return false
}

// codingsOf returns the content codings of a body in the order in which they were
// applied, without identity, which is none.
func codingsOf(headers []string) ([]string, error) {
	var list []string
	for _, value := range headers {
		for part := range strings.SplitSeq(value, ",") {
			coding := strings.ToLower(strings.TrimSpace(part))
			switch coding {
			case "", "identity":
			case "gzip", "x-gzip", "deflate":
				list = append(list, coding)
			default:
				return nil, unsupported("content encoding %q is not known; send the body plain, or in gzip or deflate", Clip(coding))
			}
		}
	}
	if len(list) > maxCodings {
		return nil, unsupported("the body is encoded %d times; %d is the most", len(list), maxCodings)
	}
	return list, nil
}

func unsupported(format string, args ...any) *call.Denial {
	return Deny(call.Unreadable, "unsupported_media_type", call.RetryNever, format, args...)
}

// decodedBody undoes one content coding. It begins to read when it is read: the
// client may wait for a 100 Continue.
type decodedBody struct {
	coding string
	in     io.ReadCloser
	source *bufio.Reader
	plain  io.Reader
}

func (d *decodedBody) Read(p []byte) (int, error) {
	if d.plain == nil {
		d.source = bufio.NewReader(d.in)
		plain, err := Decompress(d.coding, d.source)
		if err != nil {
			return 0, d.broken(err)
		}
		d.plain = plain
	}
	n, err := d.plain.Read(p)
	if errors.Is(err, io.EOF) {
		if _, more := d.source.Peek(1); !errors.Is(more, io.EOF) {
			return n, d.broken(more)
		}
		return n, io.EOF
	}
	if err != nil {
		return n, d.broken(err)
	}
	return n, nil
}

// broken says that a body cannot be decoded, unless the reason is its length or
// lies with a coding below.
func (d *decodedBody) broken(err error) error {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return err
	}
	if _, inner := errors.AsType[*call.Denial](err); inner {
		return err
	}
	return Deny(call.Malformed, "invalid_request", call.RetryNever,
		"the body is not whole and valid %s, as its Content-Encoding says", d.coding)
}

func (d *decodedBody) Close() error { return d.in.Close() }

var errEncoding = errors.New("content encoding is not known")

// Decompress undoes one content coding, as it is named in a header.
func Decompress(encoding string, src io.Reader) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "gzip", "x-gzip":
		return gzip.NewReader(src)
	case "deflate":
		return inflate(bufio.NewReader(src))
	}
	return nil, errEncoding
}

// inflate reads zlib, which is what deflate means, and the bare deflate that
// some servers send by that name.
func inflate(src *bufio.Reader) (io.Reader, error) {
	head, err := src.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 { // RFC 1950, section 2.2
		return zlib.NewReader(src)
	}
	return flate.NewReader(src), nil
}
