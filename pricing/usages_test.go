package pricing_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"github.com/aegis-proxy/aegis-proxy/pricing/internal/source"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

var sampleFrom = flag.String("sample-from", "", "directory of the whole data, to write the sample in testdata anew")

// body is one line of usages.jsonl: the usage of a real response, and what it costs by the data of genai-prices.
type body struct {
	Model    string          `json:"model"`
	Body     json.RawMessage `json:"body"`
	Expected []expected      `json:"expected"`
}

// expected is what one provider's reader makes of it. Its counts are nested: the cache, audio and so on are parts of
// input_tokens and output_tokens.
type expected struct {
	Provider  string           `json:"provider"`
	Flavor    string           `json:"flavor"`
	Usage     map[string]int64 `json:"usage"`
	InputUSD  string           `json:"input_usd,omitempty"`
	OutputUSD string           `json:"output_usd,omitempty"`
}

// usage is the expected one in units that do not overlap.
func (e expected) usage() (u call.Usage) {
	n := func(name string) int64 { return e.Usage[name] }
	u[call.CachedAudioInput], u[call.CachedImageInput], u[call.CachedVideoInput] = n("cache_audio_read_tokens"), n("cache_image_read_tokens"), n("cache_video_read_tokens")
	u[call.CachedInput] = n("cache_read_tokens") - u[call.CachedAudioInput] - u[call.CachedImageInput] - u[call.CachedVideoInput]
	u[call.CacheWrite1h] = n("cache_write_1h_tokens")
	u[call.CacheWrite] = n("cache_write_tokens") - u[call.CacheWrite1h]
	u[call.AudioInput] = n("input_audio_tokens") - u[call.CachedAudioInput]
	u[call.ImageInput] = n("input_image_tokens") - u[call.CachedImageInput]
	u[call.VideoInput] = n("input_video_tokens") - u[call.CachedVideoInput]
	u[call.Input] = n("input_tokens") - u.InputTokens()
	u[call.Reasoning], u[call.AudioOutput], u[call.ImageOutput] = n("output_reasoning_tokens"), n("output_audio_tokens"), n("output_image_tokens")
	u[call.Output] = n("output_tokens") - u.OutputTokens()
	return u
}

// read is what the reader of OpenAI's dialect makes of the body.
func (b *body) read() (call.Usage, bool) {
	m := openai.NewMeter(openai.ChatCompletions, providers.Answer{Status: 200, Framed: true}, false, false)
	m.Feed(b.Body)
	m.Close(io.EOF)
	r := m.Report()
	return r.Lines[0].Usage, r.HasUsage
}

// bodiesPricedAt is the instant whose prices the bodies have.
var bodiesPricedAt = time.Date(2025, 11, 6, 12, 0, 0, 0, time.UTC)

// otherwise are models whose bodies cost here something else than by their source, and why. None is cheaper.
var otherwise = map[string]string{
	"cerebras/qwen-3-coder-480b":          "unpriced: the source has no prices for it, which it takes for free",
	"google/anthropic/claude-sonnet-4.5":  "unpriced: the source takes it for claude-sonnet-4, by prefix",
	"google/gemini-2.5-pro-preview-05-06": "dearer, as the dialect reads it: the total has thoughts that completion_tokens leaves out",
	"google/claude-sonnet-4-5-20250929":   "dearer: the source takes it for claude-sonnet-4, by prefix, and so forgets the long-context tier",
}

// TestBodiesCostExactly: on a table made of genai-prices alone every body costs what that says, to the last digit, by its
// own usage and as our reader of the dialect reads it; or it is dearer and listed. AEGIS_PRICING names the directory of the
// whole data, of which testdata has a sample.
func TestBodiesCostExactly(t *testing.T) {
	dir := "testdata"
	if whole := os.Getenv("AEGIS_PRICING"); whole != "" {
		dir = whole
	}
	table, bodies := sourceTable(t, dir), readBodies(t, dir)
	priced, read := 0, 0
	for _, b := range bodies {
		for _, e := range b.Expected {
			if e.InputUSD == "" {
				continue
			}
			priced++
			b.compare(t, table, e, e.usage())
			if u, ok := b.read(); ok && e.Flavor == "chat" {
				read++
				b.compare(t, table, e, u)
			}
		}
	}
	t.Logf("%s: %d bodies, %d prices, %d of them by the dialect's reader", dir, len(bodies), priced, read)
	if priced == 0 || read == 0 {
		t.Error("nothing was compared")
	}
}

func (b *body) compare(t *testing.T, table *pricing.Table, e expected, u call.Usage) {
	t.Helper()
	name := e.Provider + "/" + b.Model
	p, err := table.Lookup(e.Provider, b.Model, bodiesPricedAt)
	var got int64
	if err == nil {
		got, err = p.Cost(u)
	}
	want := nanoUSD(t, e.InputUSD, e.OutputUSD)
	switch {
	case errors.Is(err, pricing.ErrNoPrice) && otherwise[name] != "", err == nil && got == want:
	case err == nil && got > want && otherwise[name] != "":
	default:
		t.Errorf("%s as %s: %v: %d nano-USD (%v), want %d", name, e.Flavor, u, got, err, want)
	}
}

// nanoUSD is a sum of decimals in nano-USD, rounded up by other means than the package's own.
func nanoUSD(t *testing.T, amounts ...string) int64 {
	t.Helper()
	sum := new(big.Rat)
	for _, usd := range amounts {
		exact, ok := new(big.Rat).SetString(usd)
		if !ok {
			t.Fatalf("%q is not an amount", usd)
		}
		sum.Add(sum, exact)
	}
	sum.Mul(sum, big.NewRat(1_000_000_000, 1))
	up := new(big.Int).Add(sum.Num(), new(big.Int).Sub(sum.Denom(), big.NewInt(1)))
	return up.Div(up, sum.Denom()).Int64()
}

// sourceTable is a table of genai-prices alone.
func sourceTable(t *testing.T, dir string) *pricing.Table {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "genai-prices-v2.json"))
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := source.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, p := range list {
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		files["table/"+p.Provider+".json"] = &fstest.MapFile{Data: b.Bytes()}
	}
	table, err := pricing.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func readBodies(t *testing.T, dir string) (list []body) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "usages.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var b body
		if err := json.Unmarshal(lines.Bytes(), &b); err != nil {
			t.Fatalf("line %d: %v", len(list)+1, err)
		}
		list = append(list, b)
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return list
}

// TestSample writes the sample, which stands in where the whole data is not there: every twelfth body, and the providers
// that price them.
func TestSample(t *testing.T) {
	if *sampleFrom == "" {
		return
	}
	var out bytes.Buffer
	wanted := map[string]bool{"azure": true}
	for i, b := range readBodies(t, *sampleFrom) {
		if i%12 != 0 {
			continue
		}
		b.Expected = slices.DeleteFunc(b.Expected, func(e expected) bool { return e.InputUSD == "" || e.Provider == "openrouter" })
		for _, e := range b.Expected {
			wanted[e.Provider] = true
		}
		line, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", line)
	}
	writeSample(t, "usages.jsonl", out.Bytes())
	data, err := os.ReadFile(filepath.Join(*sampleFrom, "genai-prices-v2.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		ID       string            `json:"id"`
		Models   []json.RawMessage `json:"models"`
		Fallback []string          `json:"fallback_model_providers,omitempty"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		for _, other := range p.Fallback {
			wanted[other] = wanted[other] || wanted[p.ID]
		}
	}
	list = slices.DeleteFunc(list, func(p struct {
		ID       string            `json:"id"`
		Models   []json.RawMessage `json:"models"`
		Fallback []string          `json:"fallback_model_providers,omitempty"`
	}) bool {
		return !wanted[p.ID]
	})
	data, err = json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	writeSample(t, "genai-prices-v2.json", data)
}

func writeSample(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("testdata", name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}
