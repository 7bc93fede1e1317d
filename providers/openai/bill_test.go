package openai_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
)

// meterAt is the meter of an answer to a plain chat at a provider.
func meterAt(t *testing.T, provider string) providers.Meter {
	t.Helper()
	return meterFor(t, provider, "/v1/chat/completions")
}

// meterFor is the meter of an answer to a plain request by that path.
func meterFor(t *testing.T, provider, path string) providers.Meter {
	t.Helper()
	return meterOf(t, provider, path, providers.Answer{Status: 200, Framed: true})
}

// meterOf is that of an answer that begins so.
func meterOf(t *testing.T, provider, path string, begins providers.Answer) providers.Meter {
	t.Helper()
	d := openai.Dialect{}
	head := providers.Head{Method: "POST", Path: path}
	op, _ := d.Match(head)
	body := standIn(op, false)
	if bytes.HasPrefix(body, []byte("--")) {
		head.Header = map[string][]string{"Content-Type": {"multipart/form-data; boundary=b"}}
	}
	r, err := d.Parse(op, head, body)
	if err != nil {
		t.Fatal(err)
	}
	offer, err := r.On(providers.Terms{Provider: provider, MaxOutput: 1000, Context: 10_000, Priced: true, Obeys: providers.Obeys{CapField: openai.FieldMaxTokens}})
	if err != nil {
		t.Fatal(err)
	}
	return offer.Send(9).Meter(begins)
}

// TestBilled: what an answer says that it costs is read where its provider is known to
// say so, in nano-USD, rounded up, however it is written.
func TestBilled(t *testing.T) {
	for _, row := range []struct {
		name, provider, usage string
		billed                int64 // nano-USD
		unknown               bool  // the cost is
	}{
		{"OpenRouter", "openrouter", `"cost":0.00000537,"is_byok":false,"cost_details":{"upstream_inference_cost":0.00000537}`, 5_370, false},
		{"with an exponent", "OpenRouter", `"cost":1.4e-7`, 140, false},
		{"less than a nano-USD", "openrouter", `"cost":1e-300`, 1, false},
		{"a fraction of one", "openrouter", `"cost":0.0000000011`, 2, false},
		{"in quotes", "openrouter", `"cost":"0.5"`, 500_000_000, false},
		{"dollars", "openrouter", `"cost":12`, 12_000_000_000, false},
		{"nothing", "openrouter", `"cost":0`, 0, false},
		{"null", "openrouter", `"cost":null`, 0, false},
		{"a provider's own key", "openrouter", `"cost":0.001,"is_byok":true,"cost_details":{"upstream_inference_cost":0.02}`, 21_000_000, false},
		{"a provider's own key, where that is not told", "openrouter", `"cost":0.95,"cost_details":{"upstream_inference_cost":19}`, 19_950_000_000, false},
		{"the provider is paid by OpenRouter", "openrouter", `"cost":0.007,"is_byok":false,"cost_details":{"upstream_inference_cost":0.010}`, 7_000_000, false},
		{"the same, told by its amount", "openrouter", `"cost":0.007,"cost_details":{"upstream_inference_cost":0.007}`, 7_000_000, false},
		{"xAI's ticks", "x-ai", `"cost_in_usd_ticks":1641500`, 164_150, false},
		{"part of a nano-USD in ticks", "xai", `"cost_in_usd_ticks":11`, 2, false},
		{"Perplexity", "perplexity", `"cost":{"input_tokens_cost":0.00001,"request_cost":0.005,"total_cost":0.00507}`, 5_070_000, false},
		{"Perplexity without one", "perplexity", `"cost":null`, 0, false},
		{"LiteLLM", "litellm", `"cost":0.25`, 250_000_000, false},
		{"Pydantic's gateway", "pydantic-gateway", `"pydantic_ai_gateway":{"cost_estimate":9.625000000000001e-05}`, 96_251, false},
		{"Vercel's gateway", "vercel", `"cost":0.0045`, 4_500_000, false},
		{"DeepInfra", "deepinfra", `"estimated_cost":2.68e-05`, 26_800, false},
		{"nobody knows in what money", "acme", `"cost":0.25,"cost_in_usd_ticks":7`, 0, false},
		{"no amount", "openrouter", `"cost":-1`, 0, true},
		{"words", "openrouter", `"cost":"free"`, 0, true},
		{"an object", "openrouter", `"cost":{}`, 0, true},
		{"more than there is", "openrouter", `"cost":1e12`, 0, true},
		{"more than can be written", "openrouter", `"cost":1e9223372036854775800`, 0, true},
		{"two that are too much together", "openrouter", `"cost":9000000,"is_byok":true,"cost_details":{"upstream_inference_cost":9000000}`, 0, true},
	} {
		usage := `"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,` + row.usage + `}`
		for kind, body := range map[string]string{
			"document": `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],` + usage + `}`,
			"stream":   `data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}` + "\n\n" + `data: {"choices":[],` + usage + "}\n\ndata: [DONE]\n\n",
		} {
			m := meterAt(t, row.provider)
			m.Feed([]byte(body))
			m.Close(io.EOF)
			if r := m.Report(); r.HasUsage == row.unknown || !row.unknown && r.Lines[0].Billed != row.billed {
				t.Errorf("%s, a %s: %d nano-USD, usage known: %v; want %d, %v", row.name, kind, r.Lines[0].Billed, r.HasUsage, row.billed, !row.unknown)
			}
		}
	}
}

// TestBilledAhead: what a gateway says in a header is the cost, whoever the provider is and
// whatever the body says less. Where that is no amount the cost is unknown, and an amount
// speaks for a bill.
func TestBilledAhead(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"cost":0.001}`
	bodies := map[string]string{
		"/v1/chat/completions": `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],` + usage + `}`,
		"/v1/responses":        `{"id":"r","object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7,"cost":0.001}}`,
	}
	for _, row := range []struct {
		name     string
		provider string
		header   []string
		billed   int64
		unknown  bool
	}{
		{"an amount", "openai", []string{"0.25"}, 250_000_000, false},
		{"an amount in a float's way", "litellm", []string{"3.45e-05"}, 1_000_000, false},
		{"more than the body says", "litellm", []string{"3.45e-03"}, 3_450_000, false},
		{"less than a nano-USD", "acme", []string{"1e-30"}, 1, false},
		{"not known yet", "litellm", []string{"None"}, 1_000_000, false},
		{"nothing yet", "litellm", []string{""}, 1_000_000, false},
		{"zero", "openai", []string{"0.0"}, 0, false},
		{"twice", "openai", []string{"0.25", "0.5"}, 500_000_000, false},
		{"no amount", "openai", []string{"-1"}, 0, true},
		{"words", "openai", []string{"free"}, 0, true},
		{"more than there is", "openai", []string{"1e12"}, 0, true},
	} {
		for path, body := range bodies {
			m := meterOf(t, row.provider, path, providers.Answer{Status: 200, Framed: true, Header: map[string][]string{"X-Litellm-Response-Cost": row.header}})
			m.Feed([]byte(body))
			m.Close(io.EOF)
			if r := m.Report(); r.HasUsage == row.unknown || !row.unknown && r.Lines[0].Billed != row.billed {
				t.Errorf("%s at %s: %d nano-USD, usage known: %v; want %d, %v", row.name, path, r.Lines[0].Billed, r.HasUsage, row.billed, !row.unknown)
			}
		}
	}
	for _, header := range []string{"0.25", "free"} {
		m := meterOf(t, "litellm", "/v1/chat/completions", providers.Answer{Status: 400, Framed: true, Header: map[string][]string{"X-Litellm-Response-Cost": {header}}})
		m.Feed([]byte(`{"error":{"message":"too long","code":400}}`))
		m.Close(io.EOF)
		if r := m.Report(); r.Refused() {
			t.Errorf("an error that costs %q is taken for free: %+v", header, r)
		}
	}
}

// TestBilledAlone: an amount is told too where the counts are missing or cannot be read.
func TestBilledAlone(t *testing.T) {
	for _, usage := range []string{
		`{"cost":0.25}`, `{"prompt_tokens":null,"completion_tokens":null,"cost":0.25}`, `{"prompt_tokens":0,"completion_tokens":0,"cost":0.25}`,
		`{"prompt_tokens":"three","completion_tokens":4,"cost":0.25}`, `{"prompt_tokens":-3,"completion_tokens":4,"cost":0.25}`,
	} {
		for kind, body := range map[string]string{
			"document": `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":` + usage + `}`,
			"stream":   `data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}` + "\n\n" + `data: {"choices":[],"usage":` + usage + "}\n\ndata: [DONE]\n\n",
			"cut off":  `data: {"choices":[{"delta":{"content":"hi"}}],"usage":` + usage + "}\n\n",
		} {
			m := meterAt(t, "openrouter")
			m.Feed([]byte(body))
			m.Close(io.EOF)
			if r := m.Report(); r.HasUsage || r.Lines[0].Billed != 250_000_000 || r.Refused() {
				t.Errorf("a %s with %s: %+v", kind, usage, r)
			}
		}
	}
}

// TestBilledTotals: of running totals the last is the whole, and is not added to others.
func TestBilledTotals(t *testing.T) {
	m := meterAt(t, "perplexity")
	for _, total := range []string{"0.001", "0.003", "0.00507"} {
		fmt.Fprintf(feeder{m}, `data: {"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"cost":{"total_cost":%s}}}`+"\n\n", total)
	}
	m.Feed([]byte("data: [DONE]\n\n"))
	m.Close(io.EOF)
	if r := m.Report(); !r.HasUsage || r.Lines[0].Billed != 5_070_000 {
		t.Errorf("%+v", r)
	}
}

type feeder struct{ providers.Meter }

func (f feeder) Write(p []byte) (int, error) { return len(f.Feed(p)), nil }

// recordedAmounts are where the answers of recordings name dollars, and how many of them.
var recordedAmounts = map[string]struct {
	path string
	of   int64 // in one dollar
}{
	"openrouter": {"cost", 1},
	"perplexity": {"cost.total_cost", 1},
	"pydantic":   {"pydantic_ai_gateway.cost_estimate", 1},
	"xai":        {"cost_in_usd_ticks", 1e10},
}

// TestBilledAsRecorded reads the amounts of recorded answers in a second way.
func TestBilledAsRecorded(t *testing.T) {
	read := 0
	for _, r := range providertest.Recordings(t, "testdata/recordings") {
		head, terms, ok := place(r)
		amount, known := recordedAmounts[terms.Provider]
		if !ok || !known {
			continue
		}
		provider := terms.Provider
		if provider == "pydantic" {
			provider = "pydanticgateway"
		}
		m := meterFor(t, provider, head.Path)
		m.Feed(r.Response.Bytes())
		m.Close(io.EOF)
		want := nanoIn(r.Response.Bytes(), strings.Split(amount.path, "."), amount.of)
		if got := m.Report(); got.HasUsage && got.Lines[0].Billed != want {
			t.Errorf("%s: %d nano-USD, the answer says %d", r.ID, got.Lines[0].Billed, want)
		}
		if want > 0 {
			read++
		}
	}
	t.Logf("%d amounts", read)
}

// nanoIn is the last amount of an answer, by arithmetic in fractions.
func nanoIn(answer []byte, path []string, of int64) (nano int64) {
	for _, payload := range append(dataLines(answer), answer) {
		var told map[string]any
		d := json.NewDecoder(strings.NewReader(string(payload)))
		d.UseNumber()
		if d.Decode(&told) != nil {
			continue
		}
		if response, ok := told["response"].(map[string]any); ok { // of an event
			told = response
		}
		var value any = told["usage"]
		for _, name := range path {
			object, _ := value.(map[string]any)
			value = object[name]
		}
		number, ok := value.(json.Number)
		if !ok {
			continue
		}
		exact, _ := new(big.Rat).SetString(number.String())
		if usage := told["usage"].(map[string]any); usage["is_byok"] == true {
			beside, _ := usage["cost_details"].(map[string]any)["upstream_inference_cost"].(json.Number)
			more, _ := new(big.Rat).SetString(beside.String())
			exact.Add(exact, more)
		}
		exact.Mul(exact, big.NewRat(1e9, of))
		up := new(big.Int).Add(exact.Num(), new(big.Int).Sub(exact.Denom(), big.NewInt(1)))
		nano = up.Quo(up, exact.Denom()).Int64()
	}
	return nano
}
