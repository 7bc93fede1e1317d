// Command gen writes the price table's files from the data of pydantic/genai-prices. Run it in the repository's root:
//
//	go run ./pricing/internal/gen -in genai-prices-v2.json -usages usages.jsonl
//
// It reads decimals exactly and reports on stderr what it left out or rounded. With -usages it also writes the test data
// that the table is checked against.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

func main() {
	in := flag.String("in", "", "price data in genai-prices' v2 JSON format")
	usages := flag.String("usages", "", "usage data, one JSON object a line")
	dir := flag.String("dir", "pricing", "directory of the pricing package")
	flag.Parse()
	if err := run(*in, *usages, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(in, usages, dir string) error {
	data, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var providers []sourceProvider
	if err := json.Unmarshal(data, &providers); err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	var r report
	for _, source := range providers {
		p, err := convert(source, &r)
		if err != nil {
			return err
		}
		if err := writeTable(filepath.Join(dir, "table", p.Provider+".json"), p); err != nil {
			return err
		}
	}
	for _, line := range r.dropped {
		fmt.Fprintln(os.Stderr, "left out:", line)
	}
	for _, line := range r.rounded {
		fmt.Fprintln(os.Stderr, "rounded:", line)
	}
	if usages == "" {
		return nil
	}
	return writeUsages(usages, filepath.Join(dir, "testdata", "usages.jsonl"))
}

func writeTable(path string, p *table.Provider) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := p.Write(f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}
