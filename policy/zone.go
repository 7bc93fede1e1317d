package policy

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// The IANA time zone database, which is in the public domain, as Go ships it.
// time.LoadLocation would prefer the machine's own copy, and two replicas with
// different copies would not agree when a month begins.
//
//go:generate sh -c "cp $(go env GOROOT)/lib/time/zoneinfo.zip zoneinfo.zip"
//go:embed zoneinfo.zip
var zoneData string

var zoneArchive = sync.OnceValues(func() (*zip.Reader, error) {
	return zip.NewReader(strings.NewReader(zoneData), int64(len(zoneData)))
})

var zones sync.Map // of *time.Location by name

// loadZone returns the time zone of that name in the IANA database.
func loadZone(name string) (*time.Location, error) {
	if name == "UTC" {
		return time.UTC, nil
	}
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location), nil
	}
	archive, err := zoneArchive()
	if err != nil {
		return nil, fmt.Errorf("time zone database: %w", err)
	}
	file, err := archive.Open(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	defer file.Close()
	var data bytes.Buffer
	if _, err := io.Copy(&data, file); err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	loc, err := time.LoadLocationFromTZData(name, data.Bytes())
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	zones.Store(name, loc)
	return loc, nil
}
