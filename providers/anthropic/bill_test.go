package anthropic_test

import (
	"io"
	"maps"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// costing is an answer whose header says what it costs.
func costing(a providers.Answer, dollars string) providers.Answer {
	a.Header = maps.Clone(a.Header)
	if a.Header == nil {
		a.Header = map[string][]string{}
	}
	a.Header["X-Litellm-Response-Cost"] = []string{dollars}
	return a
}

// TestBilledAlone: an amount is told too where the counts are missing or cannot be read, and
// speaks for a bill.
func TestBilledAlone(t *testing.T) {
	r, err := parse(t, "")
	if err != nil {
		t.Fatal(err)
	}
	at := terms
	at.Provider = "openrouter"
	o, err := r.On(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, usage := range []string{`{"cost":0.25}`, `{"input_tokens":null,"output_tokens":7,"cost":0.25}`, `{"input_tokens":-5,"output_tokens":7,"cost":0.25}`} {
		m := o.Send(0).Meter(jsonAnswer)
		m.Feed([]byte(`{"type":"message","model":"m","content":[],"usage":` + usage + `}`))
		m.Close(io.EOF)
		if report := m.Report(); report.HasUsage || report.Lines[0].Billed != 250_000_000 || report.Refused() {
			t.Errorf("%s: %+v", usage, report)
		}
	}
}

// TestBilled: what an answer says that it costs is read where its provider says so, of a
// stream as it is told last.
func TestBilled(t *testing.T) {
	r, err := parse(t, "")
	if err != nil {
		t.Fatal(err)
	}
	const document = `{"type":"message","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":5,"output_tokens":7,"cost":0.00123,"is_byok":false,"pydantic_ai_gateway":{"cost_estimate":0.00019199999999999998}}}`
	begins := `{"type":"message_start","message":{"model":"m","content":[],"usage":{"input_tokens":5,"output_tokens":1,"cost":0.001}}}`
	ends := `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7,"cost":0.00123}}`
	events := sse(begins, textStart, text, blockEnd, ends, stop)
	for _, row := range []struct {
		name, provider, body string
		answer               providers.Answer
		billed               int64
		unknown              bool
	}{
		{"a document", "openrouter", document, jsonAnswer, 1_230_000, false},
		{"a stream", "openrouter", events, sseAnswer, 1_230_000, false},
		{"an estimate", "pydantic-gateway", document, jsonAnswer, 192_000, false},
		{"nobody knows in what money", "acme", document, jsonAnswer, 0, false},
		{"Vercel's gateway", "vercel", document, jsonAnswer, 1_230_000, false},
		{"in a header, and more", "openrouter", document, costing(jsonAnswer, "0.25"), 250_000_000, false},
		{"in a header, of a stream", "acme", events, costing(sseAnswer, "0.25"), 250_000_000, false},
		{"in a header, and less", "openrouter", events, costing(sseAnswer, "0.0"), 1_230_000, false},
		{"a header that does not know yet", "openrouter", events, costing(sseAnswer, "None"), 1_230_000, false},
		{"no amount in the header", "acme", document, costing(jsonAnswer, "-1"), 0, true},
		{"no amount", "openrouter", `{"type":"message","model":"m","content":[],"usage":{"input_tokens":5,"output_tokens":7,"cost":-1}}`, jsonAnswer, 0, true},
	} {
		at := terms
		at.Provider = row.provider
		o, err := r.On(at)
		if err != nil {
			t.Fatal(err)
		}
		m := o.Send(0).Meter(row.answer)
		m.Feed([]byte(row.body))
		m.Close(io.EOF)
		if report := m.Report(); report.HasUsage == row.unknown || !row.unknown && report.Lines[0].Billed != row.billed {
			t.Errorf("%s: %+v", row.name, report)
		}
	}
}
