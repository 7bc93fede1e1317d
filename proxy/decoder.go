package proxy

import (
	"errors"
	"io"

	"github.com/aegis-proxy/aegis-proxy/internal/admission"
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

var errTooLarge = errors.New("the decoded response is too large to be metered")

// maxDecodedBytes bounds what one response may expand to before its usage is
// given up for unknown.
const maxDecodedBytes = 256 << 20

func newDecoder(encoding string, meter providers.Meter) *decoder {
	out, in := io.Pipe()
	d := &decoder{in: in, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		var plain io.Reader
		if plain, d.err = admission.Decompress(encoding, out); d.err == nil {
			d.err = copyTo(meter, plain)
		}
		io.Copy(io.Discard, out) // never hold up the client
	}()
	return d
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
