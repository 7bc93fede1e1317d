package audit

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Head is the newest that a log has seen of a tenant's ledger.
type Head struct {
	Epoch string `json:"epoch"`
	Event int64  `json:"event"`
}

// tip is what a log knows of itself at one place: where the chain stands, the
// key that seals it and every tenant's head.
type tip struct {
	link
	kid      string // "" before the first start line
	announce string // the kid of a rotate line without its seal
	heads    map[string]Head
	unread   int64 // lines at the chain's beginning whose heads are not among them
}

// fold moves the tip past one line, or says why the line cannot follow.
func (t *tip) fold(r Receipt) error {
	if t.chain == "" {
		t.link = link{chain: r.Chain, n: r.N - 1, hash: r.Prev}
		t.unread = t.n
	}
	switch {
	case r.Chain != t.chain:
		return fmt.Errorf("chain is %s, want %s", r.Chain, t.chain)
	case r.N != t.n+1:
		return fmt.Errorf("n is %d, want %d", r.N, t.n+1)
	case r.Prev != t.hash:
		return errors.New("prev is not the hash of the line before")
	}
	t.link = link{r.Chain, r.N, r.Hash}
	t.observe(r.Body)
	return nil
}

func (t *tip) observe(body Body) {
	switch b := body.(type) {
	case Start:
		t.kid, t.announce = b.Kid, ""
	case Rotate:
		t.announce = b.Kid
	case Seal:
		t.kid = b.Kid
		if t.announce != "" {
			t.kid, t.announce = t.announce, ""
		}
	default:
		id, _ := eventOf(body)
		observeHead(t.heads, id)
	}
}

// observeHead raises a tenant's head. A new epoch counts from anew.
func observeHead(heads map[string]Head, id EventID) {
	if id.Number == 0 || id.Tenant == "" {
		return
	}
	if h := heads[id.Tenant]; h.Epoch != id.Epoch || h.Event < id.Number {
		heads[id.Tenant] = Head{id.Epoch, id.Number}
	}
}

// headsRecord is the file heads.json: the tip at the given offset of a
// segment. It spares Open from reading what comes before. It is a cache:
// without it, or with one that does not fit, everything is read.
type headsRecord struct {
	Version int             `json:"v"`
	Segment int             `json:"segment"`
	Offset  int64           `json:"offset"`
	Chain   string          `json:"chain"`
	N       int64           `json:"n"`
	Hash    string          `json:"hash"`
	Kid     string          `json:"kid"`
	Unread  int64           `json:"unread,omitempty"`
	Tenants map[string]Head `json:"tenants"`
}

const headsVersion = 1

func saveHeads(dir string, t tip, at place) error {
	data, err := json.Marshal(headsRecord{
		headsVersion, at.segment, at.offset, t.chain, t.n, t.hash.String(), t.kid, t.unread, t.heads,
	})
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, headsFile), data)
}

// place is a byte of a segment.
type place struct {
	segment int
	offset  int64
}

// loadHeads returns the tip that heads.json holds and its place. Any trouble
// with the file is the same as none.
func loadHeads(dir string) (tip, place, bool) {
	data, err := os.ReadFile(filepath.Join(dir, headsFile))
	if err != nil {
		return tip{}, place{}, false
	}
	var rec headsRecord
	if json.Unmarshal(data, &rec) != nil || rec.Version != headsVersion || !isHex(rec.Chain, chainBytes) {
		return tip{}, place{}, false
	}
	t := tip{link: link{chain: rec.Chain, n: rec.N}, kid: rec.Kid, heads: rec.Tenants, unread: rec.Unread}
	if t.heads == nil {
		t.heads = map[string]Head{}
	}
	raw, err := hex.DecodeString(rec.Hash)
	if err != nil || copy(t.hash[:], raw) != len(t.hash) || len(raw) != len(t.hash) {
		return tip{}, place{}, false
	}
	return t, place{rec.Segment, rec.Offset}, true
}

// replaceFile puts a whole file in the place of another, or leaves that.
func replaceFile(path string, data []byte) error {
	temp := path + ".new"
	err := writeFile(temp, data)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // a full disk has room for an empty file
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
