package anthropic_test

import (
	"io"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

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
