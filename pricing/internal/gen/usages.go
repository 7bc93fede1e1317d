package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"slices"
)

// maxUsageLine is the longest line of the usage data in bytes.
const maxUsageLine = 1 << 20

// usageLine is what the generator reads of one line of the usage data.
type usageLine struct {
	Model    string `json:"model"`
	Expected []struct {
		Provider  string           `json:"provider"`
		Flavor    string           `json:"flavor"`
		Usage     map[string]int64 `json:"usage"`
		InputUSD  string           `json:"input_usd"`
		OutputUSD string           `json:"output_usd"`
	} `json:"expected"`
}

// fact is one line of the test data: what a usage costs, in USD.
type fact struct {
	Provider    string `json:"provider"`
	Model       string `json:"model"`
	Input       int64  `json:"input"`
	Cached      int64  `json:"cached,omitempty"`
	CacheWrite  int64  `json:"cache_write,omitempty"`
	Audio       int64  `json:"audio,omitempty"`
	Output      int64  `json:"output"`
	Reasoning   int64  `json:"reasoning,omitempty"`
	AudioOutput int64  `json:"audio_output,omitempty"`
	USD         string `json:"usd"`
}

// writeUsages writes every priced usage that our Usage can express, each once, sorted.
func writeUsages(in, out string) error {
	lines, err := readUsages(in)
	if err != nil {
		return err
	}
	var facts []fact
	priced, unexpressed := 0, 0
	for _, line := range lines {
		for _, e := range line.Expected {
			if e.InputUSD == "" {
				continue
			}
			priced++
			usd, err := addUSD(e.InputUSD, e.OutputUSD)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", in, line.Model, err)
			}
			f := fact{Provider: e.Provider, Model: line.Model, USD: usd}
			if f.express(e.Usage) {
				facts = append(facts, f)
			} else {
				unexpressed++
				fmt.Fprintln(os.Stderr, "usage not expressed:", e.Provider, line.Model, e.Usage)
			}
		}
	}
	slices.SortFunc(facts, func(a, b fact) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	distinct := slices.Compact(slices.Clone(facts))
	fmt.Fprintf(os.Stderr, "usages: %d priced, %d expressed (%d distinct), %d not\n", priced, len(facts), len(distinct), unexpressed)
	return writeLines(out, distinct)
}

// express takes the counts over, and says whether our Usage can hold all that its price depends on. Text, image, video
// and tool tokens need no count of their own: models that price them apart are not in the table.
func (f *fact) express(usage map[string]int64) bool {
	f.Input, f.Output = usage["input_tokens"], usage["output_tokens"]
	f.Cached, f.CacheWrite = usage["cache_read_tokens"], usage["cache_write_tokens"]
	f.Audio, f.AudioOutput = usage["input_audio_tokens"], usage["output_audio_tokens"]
	f.Reasoning = usage["output_reasoning_tokens"]
	return usage["cache_audio_read_tokens"] == 0 && usage["cache_write_1h_tokens"] == 0 && usage["output_image_tokens"] == 0
}

func readUsages(path string) ([]usageLine, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []usageLine
	scanner := bufio.NewScanner(bytes.NewReader(data))
	scanner.Buffer(nil, maxUsageLine)
	for scanner.Scan() {
		var line usageLine
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, len(lines)+1, err)
		}
		lines = append(lines, line)
	}
	return lines, scanner.Err()
}

// addUSD adds two decimals exactly.
func addUSD(a, b string) (string, error) {
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	if !okX || !okY {
		return "", fmt.Errorf("%q and %q are not two amounts", a, b)
	}
	sum := x.Add(x, y)
	digits, exact := sum.FloatPrec()
	if !exact {
		return "", fmt.Errorf("%s + %s is no decimal", a, b)
	}
	return sum.FloatString(digits), nil
}

func writeLines(path string, facts []fact) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, f := range facts {
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
