package gate_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// synced keeps receipts in files that are synced.
func (p *parts) synced() {
	p.must(p.config.Log.Close())
	s := audit.NewHMACSigner(make([]byte, 32))
	log, err := audit.Open(audit.Config{Dir: p.receipts(), Signer: s})
	p.must(err)
	p.config.Log = log
}

func (p *parts) receipts() string { return filepath.Join(p.dir, "receipts") }

// again opens ledger and log once more.
func (p *parts) again() (*gate.Gate, error) {
	p.config.Ledger = p.embedded()
	s := audit.NewHMACSigner(make([]byte, 32))
	log, err := audit.Open(audit.Config{Dir: p.receipts(), Signer: s})
	p.must(err)
	p.config.Log = log
	return gate.Open(p.t.Context(), p.config)
}

// cutAfterSeal cuts the receipts' file after its n-th seal.
func (p *parts) cutAfterSeal(n int) {
	path := filepath.Join(p.receipts(), "000001.jsonl")
	text, err := os.ReadFile(path)
	p.must(err)
	end := 0
	for _, line := range bytes.SplitAfter(text, []byte("\n")) {
		end += len(line)
		if bytes.Contains(line, []byte(`"kind":"seal"`)) {
			n--
		}
		if n == 0 {
			break
		}
	}
	p.must(os.Truncate(path, int64(end)))
}

// TestMissingReceipts: a gate does not open over receipts that lack what its
// ledger was told is durable, until whoever runs it says that they are lost.
func TestMissingReceipts(t *testing.T) {
	for _, row := range []struct {
		name string
		lose func(p *parts)
	}{
		{"all of them", func(p *parts) { p.must(os.RemoveAll(p.receipts())) }},
		{"the newest of them", func(p *parts) {
			p.must(os.Remove(filepath.Join(p.receipts(), "heads.json")))
			p.cutAfterSeal(2)
		}},
		{"those of an older copy", func(p *parts) { p.must(os.Rename(p.receipts()+".old", p.receipts())) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newParts(t)
			p.synced()
			open := func() *gate.Gate {
				g, err := gate.Open(t.Context(), p.config)
				p.must(err)
				return g
			}
			g := open()
			p.call(g)
			p.must(g.Close())
			p.must(os.CopyFS(p.receipts()+".old", os.DirFS(p.receipts())))
			g, err := p.again()
			p.must(err)
			p.call(g)
			p.must(g.Close())
			if row.name == "those of an older copy" {
				p.must(os.RemoveAll(p.receipts()))
			}
			row.lose(p)

			for range 2 { // trying does not help
				if _, err := p.again(); !errors.Is(err, audit.ErrMissing) {
					t.Fatalf("opened with %v, want ErrMissing", err)
				}
			}
			p.config.AcceptMissing = true
			g, err = p.again()
			p.must(err)
			p.must(g.Close())
			p.config.AcceptMissing = false
			g, err = p.again()
			if err != nil {
				t.Fatalf("what was accepted once is refused again: %v", err)
			}
			p.call(g)
			p.must(g.Close())
		})
	}
}
