package embedded

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// record is the json of one line; one member is set.
type record struct {
	Event *budget.Event
	Ack   *acknowledgement
	Renew *renewal
	Lease *leaseRecord
	State *wholeTenant
	End   *int64
}

// leaseRecord is a lease of a tenant whose State follows it.
type leaseRecord struct {
	Tenant string
	budget.Lease
}

type acknowledgement struct {
	Tenant string
	Number int64
}

type renewal struct {
	Tenant, Lease string
	Expires       int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumBytes is the length of the checksum in hex and the space after it.
const sumBytes = 9

// appendLine frames one record's json.
func appendLine(dst, payload []byte) []byte {
	dst = appendSum(dst, payload)
	dst = append(dst, payload...)
	return append(dst, '\n')
}

// appendSum appends the checksum and the space after it.
func appendSum(dst, payload []byte) []byte {
	sum := crc32.Checksum(payload, castagnoli)
	dst = hex.AppendEncode(dst, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return append(dst, ' ')
}

var errChecksum = errors.New("checksum does not match")

// decodeLine reads one record, without its LF. The record shares no memory with
// the line.
func (d *decoder) decodeLine(line []byte) (*record, error) {
	payload, ok := unframe(line)
	if !ok {
		return nil, errChecksum
	}
	if r, ok := d.decode(payload); ok {
		return r, nil
	}
	return decodeJSON(payload)
}

// decodeJSON reads any record, in any spelling.
func decodeJSON(payload []byte) (*record, error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	var r record
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if d.More() {
		return nil, errors.New("record: more than one value")
	}
	return &r, nil
}

// unframe is the json of a line whose checksum matches.
func unframe(line []byte) ([]byte, bool) {
	if len(line) < sumBytes {
		return nil, false
	}
	payload := line[sumBytes:]
	var head [sumBytes]byte
	return payload, bytes.Equal(appendSum(head[:0], payload), line[:sumBytes])
}

func encodeState(whole *wholeTenant) ([]byte, error) {
	return json.Marshal(struct{ State *wholeTenant }{whole})
}
