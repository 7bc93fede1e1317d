package source

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

// ownForm is how a price file of our own begins: with the version of its form. Its providers are as in a table's files.
const ownForm = `{"aegis_prices":1,"providers":[`

// isOwn reports whether data begins as a file of our own.
func isOwn(data []byte) bool { return bytes.HasPrefix(data, []byte(ownForm)) }

// parseOwn reads what Write writes.
func parseOwn(data []byte) ([]*table.Provider, error) {
	var file struct {
		Version   int               `json:"aegis_prices"`
		Providers []json.RawMessage `json:"providers"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("price file: %w", err)
	}
	var list []*table.Provider
	for _, text := range file.Providers {
		p, err := table.Parse(text)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	sortProviders(list)
	return list, nil
}

// Write is a price file of our own, one model a line.
func Write(list []*table.Provider) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(ownForm)
	for i, p := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		if err := p.Write(&b); err != nil {
			return nil, err
		}
	}
	b.WriteString("]}\n")
	return b.Bytes(), nil
}
