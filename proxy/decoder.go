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
}

var errEncoding = errors.New("content encoding is not known")

// maxDecodedBytes bounds what one response may expand to before its usage is
// given up for unknown.
const maxDecodedBytes = 256 << 20

func newDecoder(encoding string, meter *providers.Meter) *decoder {
	out, in := io.Pipe()
	d := &decoder{in: in, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		plain, err := decode(encoding, out)
		if err == nil {
			copyTo(meter, io.LimitReader(plain, maxDecodedBytes))
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

func copyTo(meter *providers.Meter, src io.Reader) {
	var chunk [8 << 10]byte
	for {
		n, err := src.Read(chunk[:])
		meter.Feed(chunk[:n])
		if err != nil {
			return
		}
	}
}

func (d *decoder) feed(chunk []byte) { d.in.Write(chunk) }

// close waits until everything fed has been metered.
func (d *decoder) close() {
	d.in.Close()
	<-d.done
}
