package openai_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// chatBody is a chat request of about size bytes, in the shape SDKs send.
func chatBody(size int) []byte {
	const turn = `{"role":"user","content":"%s"},{"role":"assistant","content":"Certainly.\nHere it is."},`
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1+size/60)
	body := `{"model":"gpt-4o","messages":[{"role":"system","content":"You are terse."},` +
		fmt.Sprintf(turn, text[:size*3/4]) +
		`{"role":"user","content":"Go on."}],"temperature":0.2,"max_tokens":256,"stream":true}`
	return []byte(body)
}

// chunkStream is a stream of n deltas with usage, as OpenAI sends it.
func chunkStream(n int) []string {
	const head = `data: {"id":"chatcmpl-AbC123","object":"chat.completion.chunk","created":1731000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_1","choices":[`
	events := make([]string, 0, n+2)
	for range n {
		events = append(events, head+`{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"a1B2c3"}`+"\n\n")
	}
	events = append(events, head+`],"usage":{"prompt_tokens":19,"completion_tokens":50,"total_tokens":69,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"obfuscation":"Zz"}`+"\n\n")
	return append(events, "data: [DONE]\n\n")
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []int{1 << 10, 40 << 10} {
		body := chatBody(size)
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := openai.Parse(openai.ChatCompletions, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRewrite(b *testing.B) {
	r, err := openai.Parse(openai.ChatCompletions, chatBody(1<<10))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Rewrite(openai.Edit{CapField: openai.FieldMaxTokens, OutputCap: 100, IncludeUsage: true})
	}
}

func BenchmarkMeterStream(b *testing.B) {
	events := chunkStream(50)
	chunks := make([][]byte, len(events))
	for i, e := range events {
		chunks[i] = []byte(e)
	}
	for name, strip := range map[string]bool{"pass": false, "strip": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := openai.MeterOf(openai.ChatCompletions, true, strip)
				for _, c := range chunks {
					m.Feed(c)
				}
				m.Close(io.EOF)
				if !m.Report().HasUsage {
					b.Fatal("no usage")
				}
			}
		})
	}
}

func BenchmarkMeterEmbeddings(b *testing.B) {
	body := []byte(`{"object":"list","data":[` + strings.Repeat(`{"embedding":[`+strings.Repeat("0.0123456,", 1500)+`0]},`, 60) +
		`{}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		m := openai.MeterOf(openai.Embeddings, false, false)
		m.Feed(body)
		if !m.Report().HasUsage {
			b.Fatal("no usage")
		}
	}
}

func BenchmarkSeeHeaders(b *testing.B) {
	r, err := openai.Parse(openai.ChatCompletions, chatBody(1<<10))
	if err != nil {
		b.Fatal(err)
	}
	header := map[string][]string{
		"Accept": nil, "Accept-Encoding": nil, "Authorization": nil, "Connection": nil, "Content-Type": nil, "User-Agent": nil,
		"X-Stainless-Arch": nil, "X-Stainless-Async": nil, "X-Stainless-Lang": nil, "X-Stainless-Os": nil,
		"X-Stainless-Package-Version": nil, "X-Stainless-Retry-Count": nil, "X-Stainless-Runtime": nil, "X-Stainless-Runtime-Version": nil,
	}
	b.ReportAllocs()
	for b.Loop() {
		r.SeeHeaders(header)
	}
}

// BenchmarkParseHalves reads bodies of one escape after the other.
func BenchmarkParseHalves(b *testing.B) {
	for name, escape := range map[string]string{"half": `\ud83d`, "newline": `\n`} {
		body := []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"\ud83d` + strings.Repeat(escape, (8<<20)/len(escape)) + `"}]}`)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := openai.Parse(openai.ChatCompletions, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMeterResponse: a stream of 50 deltas, as that of a chat in BenchmarkMeterStream.
func BenchmarkMeterResponse(b *testing.B) {
	begun := `"response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-4o-2024-08-06","output":[],"tools":[],"usage":null}`
	chunks := [][]byte{[]byte(event("response.created", `,"sequence_number":0,`+begun)), []byte(event("response.in_progress", `,"sequence_number":1,`+begun))}
	for i := range 50 {
		chunks = append(chunks, fmt.Appendf(nil, "event: response.output_text.delta\ndata: "+
			`{"type":"response.output_text.delta","sequence_number":%d,"item_id":"msg_67e1642f00c481919045abc0c444972002d0aa1feb13fbfe","output_index":0,"content_index":0,"delta":" word","logprobs":[],"obfuscation":"6XJfbMLv0Q"}`+"\n\n", i+2))
	}
	chunks = append(chunks, []byte(event("response.completed", `,"sequence_number":53,"response":{"id":"resp_1","model":"gpt-4o-2024-08-06","output":[],"usage":{"input_tokens":9,"output_tokens":50,"total_tokens":59}}`)))
	b.ReportAllocs()
	_, offer, err := responseOn(b, "/v1/responses", `{"model":"gpt-4o","input":"hi"}`, responseTerms)
	if err != nil {
		b.Fatal(err)
	}
	sent := offer.Send(100)
	for b.Loop() {
		m := sent.Meter(providers.Answer{Status: 200, Framed: true, Header: map[string][]string{"Content-Type": {"text/event-stream"}}})
		for _, c := range chunks {
			m.Feed(c)
		}
		m.Close(io.EOF)
		if !m.Report().HasUsage {
			b.Fatal("no usage")
		}
	}
}
