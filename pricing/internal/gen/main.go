// Command gen makes the price table's files anew from the data of pydantic/genai-prices and of BerriAI/litellm. Run it in
// the repository's root:
//
//	go run ./pricing/internal/gen -genai genai-prices-v2.json -litellm litellm-prices.json -litellm-of 2026-11-30
//
// It reads decimals exactly. What it left out or rounded, and where the sources differ, goes into pricing/differences.txt.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/pricing/internal/source"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/table"
)

func main() {
	genai := flag.String("genai", "", "price data in genai-prices' v2 JSON format, the older")
	litellm := flag.String("litellm", "", "price data in litellm's format, the newer")
	of := flag.String("litellm-of", "", "day that the newer is of, as 2006-01-02")
	dir := flag.String("dir", "pricing", "directory of the pricing package")
	flag.Parse()
	if err := run(*genai, *litellm, *of, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(genai, litellm, of, dir string) error {
	older, first, err := read(genai)
	if err != nil {
		return err
	}
	newer, second, err := read(litellm)
	if err != nil {
		return err
	}
	var differ source.Report
	list := source.Merge(older, newer, of, &differ)
	stale, err := filepath.Glob(filepath.Join(dir, "table", "*.json"))
	if err != nil {
		return err
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for _, p := range list {
		if err := writeTable(filepath.Join(dir, "table", p.Provider+".json"), p); err != nil {
			return err
		}
	}
	return writeReport(filepath.Join(dir, "differences.txt"), first, second, &differ)
}

func read(path string) ([]*table.Provider, *source.Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	list, report, err := source.Parse(data)
	if err == nil && len(list) == 0 {
		err = errors.New("no provider has a price in it")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, report, nil
}

func writeReport(path string, reports ...*source.Report) error {
	var b bytes.Buffer
	var differ, dropped, rounded []string
	for _, r := range reports {
		differ, dropped, rounded = append(differ, r.Differ...), append(dropped, r.Dropped...), append(rounded, r.Rounded...)
	}
	for _, part := range []struct {
		title string
		lines []string
	}{{"The sources differ", differ}, {"Left out", dropped}, {"Rounded", rounded}} {
		slices.Sort(part.lines)
		fmt.Fprintf(&b, "%s: %d\n\n", part.title, len(part.lines))
		for _, line := range slices.Compact(part.lines) {
			fmt.Fprintln(&b, line)
		}
		fmt.Fprintln(&b)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
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
