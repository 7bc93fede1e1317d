package openai_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a golden file.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot  %s\nwant %s", path, got, want)
	}
}

// meter feeds chunks and returns all that passed, and the report.
func meter(e openai.Endpoint, stream, strip bool, chunks ...[]byte) ([]byte, providers.Report) {
	m := openai.MeterOf(e, stream, strip)
	var out []byte
	for _, c := range chunks {
		out = append(out, m.Feed(c)...)
	}
	out = append(out, m.Close(io.EOF)...)
	return out, m.Report()
}

// bytewise cuts b into chunks of one byte.
func bytewise(b []byte) (chunks [][]byte) {
	for i := range b {
		chunks = append(chunks, b[i:i+1])
	}
	return chunks
}

func files(t testing.TB, pattern string) map[string][]byte {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %d files", pattern, err, len(paths))
	}
	content := map[string][]byte{}
	for _, path := range paths {
		if content[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return content
}

// Each stream's stripped form and report are in the files beside it, and are the
// same wherever the reads cut the stream, with each kind of line end.
func TestMeterStreams(t *testing.T) {
	for path, lf := range files(t, "testdata/streams/*.sse") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			stripped, report := meter(openai.ChatCompletions, true, true, lf)
			golden(t, path+".stripped", stripped)
			golden(t, path+".report", fmt.Appendf(nil, "%+v\n", report))
			for _, end := range []string{"\n", "\r\n", "\r"} {
				in := bytes.ReplaceAll(lf, []byte("\n"), []byte(end))
				want := bytes.ReplaceAll(stripped, []byte("\n"), []byte(end))
				checkSplits(t, in, true, want, report)
				checkSplits(t, in, false, in, report)
			}
		})
	}
}

func checkSplits(t *testing.T, in []byte, strip bool, want []byte, report providers.Report) {
	t.Helper()
	check := func(where string, chunks ...[]byte) {
		t.Helper()
		got, r := meter(openai.ChatCompletions, true, strip, chunks...)
		if !bytes.Equal(got, want) {
			t.Fatalf("%s, strip %v: got %q, want %q", where, strip, got, want)
		}
		if !reflect.DeepEqual(r, report) {
			t.Fatalf("%s, strip %v: got %+v, want %+v", where, strip, r, report)
		}
	}
	check("in single bytes", bytewise(in)...)
	for i := range in {
		check(fmt.Sprintf("cut at %d", i), in[:i], in[i:])
	}
}

// What include_usage has added is gone and the rest is what a stream without it
// would have been.
func TestMeterUndoesIncludeUsage(t *testing.T) {
	const tail = `,"obfuscation":"x"}` + "\n\n"
	without := `data: {"choices":[{"delta":{"content":"a"}}]` + tail + "data: [DONE]\n\n"
	with := `data: {"choices":[{"delta":{"content":"a"}}],"usage":null` + tail +
		`data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}` + tail + "data: [DONE]\n\n"
	got, report := meter(openai.ChatCompletions, true, true, []byte(with))
	if string(got) != without {
		t.Errorf("got  %q\nwant %q", got, without)
	}
	if !report.HasUsage || report.Lines[0].Usage[call.Output] != 1 {
		t.Errorf("report %+v", report)
	}
}

// Random streams of known events: the events that must pass do, byte for byte.
func TestMeterStripProperty(t *testing.T) {
	type event struct{ in, out string }
	events := []event{
		{"data: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\n", "data: {\"choices\":[{\"delta\":{}}]}\n\n"},
		{"data: {\"usage\": null, \"a\": 1}\r\n\r\n", "data: {\"a\": 1}\r\n\r\n"},
		{"data: {\"choices\":[],\"usage\":{}}\n\n", ""},
		{"data: {\"choices\":[],\"usage\":{}}\r\n\r\n", ""},
		{"data: {\"choices\":[],\"usage\":{}}\r\r", ""},
		{": note\ndata: {\"choices\":[],\"usage\":{}}\n\n", ": note\n"},
		{"data: {\"choices\":[{}],\"usage\":{}}\n\n", "data: {\"choices\":[{}],\"usage\":{}}\n\n"},
		{"data: {\"usage\":{}}\n\n", ""},
		{"data: {\"usage\":{},\"choices\": null}\n\n", ""},
		{"data: {\"usage\":{}}\n: note\nid: 1\n\n", ": note\n"},
		{"data: {\"usage\":{},\"error\":{}}\n\n", "data: {\"usage\":{},\"error\":{}}\n\n"},
		{"data: {\"a\":1}\ndata: {\"usage\":{}}\ndata: [DONE]\n\n", "data: {\"a\":1}\ndata: [DONE]\n\n"},
		{"data: {\"usage\":\r\ndata: {}}\r\n\r\n", ""},
		{"data: {\"a\":{\"usage\":null},\"choices\":[]}\n\n", "data: {\"a\":{\"usage\":null},\"choices\":[]}\n\n"},
		{"data: \"usage\":null\r\r", "data: \"usage\":null\r\r"},
		{"\n", "\n"}, {"\r\n", "\r\n"}, {": ping\n\n", ": ping\n\n"}, {"event: x\ndata\n\n", "event: x\ndata\n\n"},
		{"data: " + strings.Repeat("x", wire.MaxEventBytes) + "\n\n", "data: " + strings.Repeat("x", wire.MaxEventBytes) + "\n\n"},
	}
	rapid.Check(t, func(t *rapid.T) {
		var in, want []byte
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(events)-1), 0, 12).Draw(t, "events") {
			e := events[i]
			if n := len(in); n > 0 && in[n-1] == '\r' && e.in[0] == '\n' {
				continue // a CR and a LF would be one line end
			}
			in, want = append(in, e.in...), append(want, e.out...)
		}
		var chunks [][]byte
		for rest := in; len(rest) > 0; {
			n := rapid.IntRange(1, min(len(rest), 80)).Draw(t, "read")
			if len(rest) > 100_000 {
				n = len(rest) / 2
			}
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		if got, _ := meter(openai.ChatCompletions, true, true, chunks...); !bytes.Equal(got, want) {
			t.Fatalf("in   %.500q\ngot  %.500q\nwant %.500q", in, got, want)
		}
	})
}

func TestMeterPassesTheSameSlice(t *testing.T) {
	for _, stream := range []bool{true, false} {
		m := openai.MeterOf(openai.ChatCompletions, stream, false)
		chunk := []byte("data: {\"choices\":[")
		if got := m.Feed(chunk); &got[0] != &chunk[0] || len(got) != len(chunk) {
			t.Errorf("stream %v: the chunk was copied or held", stream)
		}
		if tail := m.Close(io.EOF); len(tail) != 0 {
			t.Errorf("stream %v: tail %q", stream, tail)
		}
	}
}

// With stripping, what is complete passes at once.
func TestMeterHoldsOnlyPartialEvents(t *testing.T) {
	m := openai.MeterOf(openai.ChatCompletions, true, true)
	steps := []struct{ in, out string }{
		{"data: {\"a\"", ""},
		{":1}\n", "data: {\"a\":1}\n"},
		{"\ndata: {}", "\n"},
		{"\r\n\r", "data: {}\r\n\r"},
		{"\n: ", "\n"},
	}
	for _, s := range steps {
		if got := m.Feed([]byte(s.in)); string(got) != s.out {
			t.Errorf("after %q: got %q, want %q", s.in, got, s.out)
		}
	}
	if got := m.Close(io.EOF); string(got) != ": " {
		t.Errorf("tail %q", got)
	}
}

// An event beyond the limit is not read, and may have held the usage.
func TestMeterForgetsUsageBeforeAnEventTooLong(t *testing.T) {
	const usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"
	long := "data: {\"a\":\"" + strings.Repeat("x", wire.MaxEventBytes) + "\"}\n\n"
	const done = "data: [DONE]\n\n"
	if _, r := meter(openai.ChatCompletions, true, false, []byte(usage+long+done)); r.HasUsage || !r.Complete {
		t.Errorf("usage before it: %+v", r)
	}
	if _, r := meter(openai.ChatCompletions, true, false, []byte(long+usage+done)); !r.HasUsage {
		t.Errorf("usage after it: %+v", r)
	}
}

// A running total beside choices is not the last word, also where the stream
// breaks off before the first of them.
func TestMeterOfChoicesThatBreakOff(t *testing.T) {
	const usage = `data: {"usage":{"prompt_tokens":1,"completion_tokens":1},"choices":[`
	for _, tail := range []string{"", " ", "{", `{"delta":{"content":"a"}}`} {
		got, r := meter(openai.ChatCompletions, true, true, []byte(usage+tail))
		if r.HasUsage || string(got) != usage+tail {
			t.Errorf("after %q: %q, %+v", tail, got, r)
		}
	}
	if _, r := meter(openai.ChatCompletions, true, true, []byte(usage+"]")); !r.HasUsage {
		t.Errorf("whole: %+v", r)
	}
}

// Each response's report is in the file beside it, wherever the reads cut it.
func TestMeterObjects(t *testing.T) {
	for path, body := range files(t, "testdata/objects/*.json") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			endpoint := openai.ChatCompletions
			if strings.Contains(path, "embeddings") {
				endpoint = openai.Embeddings
			}
			_, report := meter(endpoint, false, false, body)
			golden(t, path+".report", fmt.Appendf(nil, "%+v\n", report))
			check := func(chunks ...[]byte) {
				if got, r := meter(endpoint, false, true, chunks...); !reflect.DeepEqual(r, report) || !bytes.Equal(got, body) {
					t.Fatalf("got %+v, want %+v", r, report)
				}
			}
			check(bytewise(body)...)
			for i := range body {
				check(body[:i], body[i:])
			}
		})
	}
}

func TestMeterReadsOddObjects(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":3,"completion_tokens":2}`
	long := strings.Repeat(" ", wire.MaxValueBytes)
	tests := []struct {
		name, body string
		hasUsage   bool
	}{
		{"only usage", `{` + usage + `}`, true},
		{"blanks around", " {" + usage + "}\r\n", true},
		{"usage below", `{"a":{` + usage + `}}`, false},
		{"usage in an array", `[{` + usage + `}]`, false},
		{"usage in a string", `{"a":"{\"usage\":{\"prompt_tokens\":3}"}`, false},
		{"a value named usage", `{"a":"usage","b":{"prompt_tokens":3}}`, false},
		{"name begins like usage", `{"usage_x":{"prompt_tokens":3,"completion_tokens":2}}`, false},
		{"usage null", `{"usage": null}`, false},
		{"usage without output", `{"usage":{"prompt_tokens":3}}`, false},
		{"usage with a string", `{"usage":{"prompt_tokens":"3","completion_tokens":2}}`, false},
		{"usage with a fraction", `{"usage":{"prompt_tokens":3.5,"completion_tokens":2}}`, false},
		{"usage beyond all sense", `{"usage":{"prompt_tokens":1e30,"completion_tokens":2}}`, false},
		{"usage too long to hold", `{"usage":` + long + `{"prompt_tokens":3,"completion_tokens":2}}`, false},
		{"two objects", `{` + usage + `}{}`, false},
		{"closed once too often", `{` + usage + `}}`, false},
		{"cut off", `{` + usage, false},
		{"cut off in a string", `{` + usage + `,"a":"}`, false},
		{"empty", ``, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, r := meter(openai.ChatCompletions, false, false, []byte(tt.body))
			if r.HasUsage != tt.hasUsage {
				t.Errorf("HasUsage %v, want %v: %+v", r.HasUsage, tt.hasUsage, r)
			}
		})
	}
}

// Whatever an upstream says, no count is negative, so that no price becomes so, and
// nothing that it says is left out: only what is cached, which costs less, gives way.
func TestMeterUsageLeavesNothingOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string, least int64) int64 { return rapid.Int64Range(least, 20).Draw(t, name) }
		in, out, total := n("input", 1), n("output", 0), n("total", 0)
		cached, audio, write, reasoning, spoken := n("cached", 0), n("audio", 0), n("write", 0), n("reasoning", 0), n("spoken", 0)
		body := fmt.Sprintf(`{"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,
			"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":%d,"cache_write_tokens":%d},
			"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":%d}}}`, in, out, total, cached, audio, write, reasoning, spoken)
		_, r := meter(openai.ChatCompletions, false, false, []byte(body))
		u := r.Lines[0].Usage
		both := u[call.AudioCacheWrite]
		switch {
		case !r.HasUsage, slices.Min(u[:]) < 0,
			u[call.AudioInput]+both != audio || u[call.CacheWrite]+both != write || u[call.Reasoning] != reasoning || u[call.AudioOutput] != spoken,
			u[call.CachedInput] > cached,
			u.InputTokens() < max(in, cached+write, audio) || u.OutputTokens() < max(out, reasoning+spoken, total-u.InputTokens()):
			t.Fatalf("%s: %+v", body, r)
		}
	})
}

// A response of many megabytes costs no memory that grows with it.
func TestMeterMemory(t *testing.T) {
	chunk := []byte(strings.Repeat(`{"embedding":[0.1234567,-0.7654321],"object":"embedding"},`, 500))
	m := openai.MeterOf(openai.Embeddings, false, false)
	m.Feed([]byte(`{"data":[`))
	if n := testing.AllocsPerRun(100, func() { m.Feed(chunk) }); n != 0 {
		t.Errorf("%v allocations a chunk", n)
	}
	m.Feed([]byte(`{}],"usage":{"prompt_tokens":8,"total_tokens":8}}`))
	if r := m.Report(); !r.HasUsage || r.Lines[0].Usage != (call.Usage{call.Input: 8}) {
		t.Errorf("report %+v", r)
	}
}

// What is whole and speaks for no bill is refused, whatever its shape; what does
// is not.
func TestRefused(t *testing.T) {
	const cut = true
	tests := []struct {
		name, body  string
		cut, stream bool
		want        bool
	}{
		{"an error", `{"error":{"message":"x","code":"rate_limit_exceeded"}}`, !cut, false, true},
		{"an error and nothing else it could be", `{"error":"x","choices":[],"usage":null}`, !cut, false, true},
		{"another shape", `{"detail":[{"loc":["body"],"input":{"messages":[{"content":"a"}]}}]}`, !cut, false, true},
		{"a list", `[{"error":{"code":400}}]`, !cut, false, true},
		{"a string", `"too many requests"`, !cut, false, true},
		{"a page", `<html>{"choices":[{"text":"a"}]}</html>`, !cut, false, true},
		{"nothing", ``, !cut, false, true},
		{"an error that closes, before its end was seen", `{"error":{"message":"x"}}`, cut, false, true},
		{"usage of zeros", `{"message":"x","usage":{"prompt_tokens":0,"completion_tokens":0}}`, !cut, false, true},
		{"an error in a stream", "data: {\"error\":{}}\n\n", !cut, true, true},
		{"an error in a stream that goes on to its end", "data: {\"error\":\"x\"}\n\ndata: [DONE]\n\n", cut, true, true},

		{"an object that is never closed", `{"error":{"message":"x"}`, !cut, false, true},

		{"a page that breaks off", `<html>`, cut, false, false},
		{"an object that breaks off", `{"error":{"message":"x"}`, cut, false, false},
		{"usage that is never closed", `{"error":{},"usage":{"prompt_tokens":3`, !cut, false, false},
		{"output that is never closed", `{"choices":[{"text":"a`, !cut, false, false},
		{"output that is closed, in what is not", `{"choices":[{"text":"a"`, !cut, false, false},
		{"output in a list that is never closed", `[{"choices":[{"text":"a`, !cut, false, false},
		{"a filter's code that is not closed, but ends", `{"error":{"code":"content_filter"`, !cut, false, false},
		{"guidelines in an error that is never closed", `{"error":"Content violates usage guidelines.`, !cut, false, false},
		{"output", `{"error":{},"choices":[{"index":0,"message":{"role":"assistant","content":"a"}}]}`, !cut, false, false},
		{"output in a list", `[{"choices":[{"text":"a"}]}]`, !cut, false, false},
		{"output in a member of no name", `{"choices":[{"message":{"x":[{"y":"a"}]}}],"error":null}`, !cut, false, false},
		{"usage", `{"error":{},"usage":{"prompt_tokens":3}}`, !cut, false, false},
		{"usage that cannot be read", `{"error":{},"usage":{"prompt_tokens":"3"}}`, !cut, false, false},
		{"usage in a list", `[{"usage":{"prompt_tokens":3,"completion_tokens":1}}]`, !cut, false, false},
		{"a filtered prompt", `{"error":{"code":"content_filter"}}`, !cut, false, false},
		{"a filtered prompt, said below", `{"error":{"code":null,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, !cut, false, false},
		{"a filtered prompt, said flat", `{"code":"content_filter","message":"x"}`, !cut, false, false},
		{"a stream that breaks off", "data: {\"error\":{}}\n\n", cut, true, false},
		{"an error behind output", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{}}\n\n", !cut, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := openai.MeterOf(openai.ChatCompletions, tt.stream, false)
			m.Feed([]byte(tt.body))
			end := io.EOF
			if tt.cut {
				end = io.ErrUnexpectedEOF
			}
			m.Close(end)
			if r := m.Report(); r.Refused() != tt.want {
				t.Errorf("%+v", r)
			}
		})
	}
}

// An error that was cut off before it was sent has come whole all the same, where
// the length or the chunks of the response say so. Its text alone frees nothing.
func TestRefusedWhereverItIsCut(t *testing.T) {
	for _, whole := range []string{
		`{"error":{"message":"a \"b\" {c}","type":"x","param":null,"code":429},"usage":null,"choices":[],"model":"m"}`,
		`[{"error":{"code":400,"details":[{"@type":"x"}]}}]`,
		`{"detail":[{"loc":["body"],"input":{"messages":[{"content":"a"}]}}]}`,
	} {
		for end := range len(whole) {
			for unframed, want := range map[bool]bool{false: true, true: end == 0} {
				m := openai.NewMeter(openai.ChatCompletions, providers.Answer{Framed: !unframed}, false, false)
				m.Feed([]byte(whole[:end]))
				m.Close(io.EOF)
				if r := m.Report(); r.Refused() != want || r.Failed || r.ErrorObject || r.Lines[0].Model != "" {
					t.Errorf("%s, unframed %v: %+v", whole[:end], unframed, r)
				}
			}
		}
	}
}

// An embeddings response is output of numbers.
func TestEmbeddingsAreOutput(t *testing.T) {
	for body, want := range map[string]bool{
		`{"data":[{"embedding":[0.5],"index":0}]}`:          true,
		`{"data":[{"embedding":"AAAA","object":"x"}]}`:      true,
		`{"data":[],"error":{"code":400}}`:                  false,
		`{"data":null,"object":"error","message":"no 400"}`: false,
	} {
		if _, r := meter(openai.Embeddings, false, false, []byte(body)); r.Ran != want || r.HasUsage {
			t.Errorf("%s: %+v", body, r)
		}
	}
}

func FuzzMeter(f *testing.F) {
	for _, body := range files(f, "testdata/*/*.[sj]*[en]") {
		f.Add(body, uint16(len(body)/2), true)
		f.Add(body, uint16(7), false)
	}
	f.Add([]byte("data: {\"usage\":null,\"usage\":null}\r\n\r\n"), uint16(3), true)
	f.Add([]byte("\ufeffdata: {\"choices\":[],\"usage\":{}}\r\r\n\n"), uint16(9), true)
	f.Add([]byte(strings.Repeat("[", 2000)), uint16(1), false)
	f.Fuzz(func(t *testing.T, body []byte, cut uint16, stream bool) {
		at := min(int(cut), len(body))
		for _, strip := range []bool{false, true} {
			whole, r1 := meter(openai.ChatCompletions, stream, strip, body)
			parts, r2 := meter(openai.ChatCompletions, stream, strip, body[:at], body[at:])
			single, r3 := meter(openai.ChatCompletions, stream, strip, bytewise(body)...)
			if !bytes.Equal(whole, parts) || !bytes.Equal(whole, single) {
				t.Fatalf("%q: whole %q, in two %q, in bytes %q", body, whole, parts, single)
			}
			if !reflect.DeepEqual(r1, r2) || !reflect.DeepEqual(r1, r3) {
				t.Fatalf("%q: whole %+v, in two %+v, in bytes %+v", body, r1, r2, r3)
			}
			if !strip && !bytes.Equal(whole, body) {
				t.Fatalf("%q became %q", body, whole)
			}
		}
	})
}
