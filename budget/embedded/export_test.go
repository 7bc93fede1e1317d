package embedded

import (
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
)

// File is what a journal is written to.
type File = file

// WithFiles makes a configuration open its journals with open.
func WithFiles(c Config, open func(path string) (File, error)) Config {
	c.openFile = open
	return c
}

// WithSuspended has a configuration's machine suspended for so long in all.
func WithSuspended(c Config, suspended func() time.Duration) Config {
	c.suspended = suspended
	return c
}

// Suspended is what the system says.
var Suspended = suspended

// Record is the json of one line, and Decoder what reads it.
type (
	Record  = record
	Decoder = decoder
)

const (
	ReadBytes = readBytes
	NameSlots = 1 << nameBits
)

var (
	OpenFile      = openJournal
	AppendLine    = appendLine
	AppendAck     = appendAck
	AppendRenewal = appendRenewal
	NewDecoder    = newDecoder
	DecodeLine    = (*decoder).decodeLine
	DecodeWritten = (*decoder).decode
	DecodeJSON    = decodeJSON
)

// AppendEvent writes a payload on its own.
func AppendEvent(dst []byte, e *budget.Event) []byte { return appendEvent(dst, new(terms), e) }

// AppendLease writes a payload on its own.
func AppendLease(dst []byte, tenant string, l *budget.Lease) []byte {
	return appendLease(dst, new(terms), tenant, l)
}

// Writer writes the payloads of one tenant's events.
type Writer struct{ terms terms }

func (w *Writer) AppendEvent(dst []byte, e *budget.Event) []byte {
	return appendEvent(dst, &w.terms, e)
}

// Compact compacts everything before journal number, which it begins.
func Compact(dir string, number int64) error {
	f, err := openJournal(journalPath(dir, number))
	if err != nil {
		return err
	}
	f.Close()
	_, err = compact(dir, number)
	return err
}

// unsynced is a file that nothing is written to for good.
type unsynced struct{ file }

func (unsynced) Sync() error { return nil }

// WithoutSync leaves durability to the operating system.
func WithoutSync(c Config) Config {
	c.openFile = func(path string) (file, error) {
		f, err := openJournal(path)
		return unsynced{f}, err
	}
	return c
}

// FillPending makes a tenant have as many events without receipt as it may.
func FillPending(l *Ledger, tenant string) {
	t := l.tenants[tenant]
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending.live = MaxUnacknowledged
}
