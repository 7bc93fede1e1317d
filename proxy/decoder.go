package proxy

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// decoder meters a decoded copy of a compressed response, which itself passes
// untouched. An encoding that it does not know, or that turns out broken,
// leaves the usage unknown.
type decoder struct {
	in   *io.PipeWriter
	done chan struct{}
	err  error // what the decoded response ended with, once done: io.EOF if it came whole
}

var (
	errEncoding = errors.New("content encoding is not known")
	errTooLarge = errors.New("the decoded response is too large to be metered")
)

// maxDecodedBytes bounds what one response may expand to before its usage is
// given up for unknown.
const maxDecodedBytes = 256 << 20

func newDecoder(encoding string, meter providers.Meter) *decoder {
	out, in := io.Pipe()
	d := &decoder{in: in, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		var plain io.Reader
		if plain, d.err = decode(encoding, out); d.err == nil {
			d.err = copyTo(meter, plain)
		}
		io.Copy(io.Discard, out) // never hold up the client
	}()
	return d
}

func decode(encoding string, src io.Reader) (io.Reader, error) {
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

// copyTo feeds the meter to the end of a response, and returns how that ended.
func copyTo(meter providers.Meter, src io.Reader) error {
	var chunk [8 << 10]byte
	for total := 0; total <= maxDecodedBytes; {
		n, err := src.Read(chunk[:])
		meter.Feed(chunk[:n])
		if err != nil {
			return err
		}
		total += n
	}
	return errTooLarge
}

func (d *decoder) feed(chunk []byte) { d.in.Write(chunk) }

// close waits until everything fed has been metered. err is what the compressed
// response ended with; that of the decoded one is returned, if it is the worse.
func (d *decoder) close(err error) error {
	d.in.Close()
	<-d.done
	if err == io.EOF {
		return d.err
	}
	return err
}
