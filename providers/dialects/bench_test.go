package dialects_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
)

// BenchmarkMeterStream is what a meter takes for an event, by API: of streams with the same text.
func BenchmarkMeterStream(b *testing.B) {
	for _, row := range []struct{ name, path, provider, body string }{
		{"chat", "/v1/chat/completions", "openai", `{"model":"gpt-4o-mini","max_completion_tokens":200,"stream":true,"messages":[{"role":"user","content":"Say it."}]}`},
		{"messages", "/v1/messages", "anthropic", `{"model":"claude-sonnet-4-5","max_tokens":200,"stream":true,"messages":[{"role":"user","content":"Say it."}]}`},
		{"responses", "/v1/responses", "openai", `{"model":"gpt-4o-mini","max_output_tokens":200,"stream":true,"input":"Say it."}`},
	} {
		b.Run(row.name, func(b *testing.B) {
			sent := leave(b, row.path, row.provider, row.body)
			answer, events := streamOf(b, row.path, sent)
			b.ReportAllocs()
			for b.Loop() {
				m := sent.Meter(answer)
				for _, event := range events {
					m.Feed(event)
				}
				m.Close(io.EOF)
				if !m.Report().HasUsage {
					b.Fatal("no usage")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
		})
	}
}

// leave is what a request sends.
func leave(b *testing.B, path, provider, body string) providers.Sent {
	b.Helper()
	head := providers.Head{Method: http.MethodPost, Path: path, Header: map[string][]string{"Anthropic-Version": {"2023-06-01"}}}
	dialect, op, ok := dialects.All().Match(head)
	if !ok {
		b.Fatalf("%s is no operation", path)
	}
	request, err := dialect.Parse(op, head, []byte(body))
	if err != nil {
		b.Fatal(err)
	}
	offer, err := request.On(providers.Terms{Provider: provider, Obeys: providers.Obeys{StreamUsage: true}, Context: 128_000, MaxOutput: 16_000})
	if err != nil {
		b.Fatal(err)
	}
	return offer.Send(200)
}

// streamOf is the simulator's answer, cut behind each event.
func streamOf(b *testing.B, path string, sent providers.Sent) (providers.Answer, [][]byte) {
	b.Helper()
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(sent.Body.Join()))
	r.Header.Set("Anthropic-Version", "2023-06-01")
	w := httptest.NewRecorder()
	simulator.New(simulator.Config{}).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.Fatalf("status %d: %s", w.Code, w.Body)
	}
	events := bytes.SplitAfter(w.Body.Bytes(), []byte("\n\n"))
	return providers.Answer{Status: w.Code, Header: w.Header(), Framed: true}, events[:len(events)-1]
}
