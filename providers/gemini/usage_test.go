package gemini

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// TestUsage: what usageMetadata comes to. What it does not tell for certain is charged the dearer way, or is no usage.
func TestUsage(t *testing.T) {
	const said = `{"candidates":[{"index":0,"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"usageMetadata":`
	for _, row := range []struct {
		name, usage string
		known       bool
		want        call.Usage
	}{
		{"plain", `{"promptTokenCount":10,"candidatesTokenCount":4,"totalTokenCount":14}`, true, call.Usage{call.Input: 10, call.Output: 4}},
		{"counts as strings", `{"promptTokenCount":"10","candidatesTokenCount":"4","totalTokenCount":"14"}`, true, call.Usage{call.Input: 10, call.Output: 4}},
		{"cached inside of the prompt", `{"promptTokenCount":10,"cachedContentTokenCount":7,"candidatesTokenCount":4}`, true,
			call.Usage{call.Input: 3, call.CachedInput: 7, call.Output: 4}},
		{"thoughts beside the candidates, tools beside the prompt", `{"promptTokenCount":10,"toolUsePromptTokenCount":5,"candidatesTokenCount":4,"thoughtsTokenCount":6,"totalTokenCount":25}`, true,
			call.Usage{call.Input: 15, call.Output: 4, call.Reasoning: 6}},
		{"thoughts alone", `{"promptTokenCount":10,"thoughtsTokenCount":6,"totalTokenCount":16}`, true, call.Usage{call.Input: 10, call.Reasoning: 6}},
		{"a total that is larger", `{"promptTokenCount":102,"candidatesTokenCount":4,"totalTokenCount":165}`, true, call.Usage{call.Input: 102, call.Output: 63}},
		{"a total that is smaller", `{"promptTokenCount":10,"candidatesTokenCount":4,"totalTokenCount":1}`, true, call.Usage{call.Input: 10, call.Output: 4}},
		{"audio and text read", `{"promptTokenCount":30,"candidatesTokenCount":4,"promptTokensDetails":[{"modality":"TEXT","tokenCount":5},{"modality":"AUDIO","tokenCount":25}]}`, true,
			call.Usage{call.Input: 5, call.AudioInput: 25, call.Output: 4}},
		{"words beside an image", `{"promptTokenCount":10,"candidatesTokenCount":1220,"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":100},{"modality":"IMAGE","tokenCount":1120}]}`, true,
			call.Usage{call.Input: 10, call.Output: 100, call.ImageOutput: 1120}},
		{"an image, and what nobody says", `{"promptTokenCount":10,"candidatesTokenCount":1780,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1120}]}`, true,
			call.Usage{call.Input: 10, call.ImageOutput: 1780}},
		{"modalities of more than there is", `{"promptTokenCount":10,"candidatesTokenCount":4,"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":900}]}`, true,
			call.Usage{call.Input: 10, call.Output: 4}},
		{"modalities as numbers", `{"promptTokenCount":30,"candidatesTokenCount":4,"promptTokensDetails":[{"modality":1,"tokenCount":5},{"modality":4,"tokenCount":25}]}`, true,
			call.Usage{call.Input: 5, call.AudioInput: 25, call.Output: 4}},
		{"more cached than read", `{"promptTokenCount":10,"cachedContentTokenCount":70,"candidatesTokenCount":4}`, true, call.Usage{call.CachedInput: 10, call.Output: 4}},
		{"a modality that nobody knows", `{"promptTokenCount":10,"candidatesTokenCount":4,"promptTokensDetails":[{"modality":"SMELL","tokenCount":5}]}`, false, call.Usage{}},
		{"a negative count", `{"promptTokenCount":10,"candidatesTokenCount":-4}`, false, call.Usage{}},
		{"half a token", `{"promptTokenCount":10,"candidatesTokenCount":4.5}`, true, call.Usage{call.Input: 10, call.Output: 5}},
		{"audio read, and what nobody says", `{"promptTokenCount":30,"candidatesTokenCount":4,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":20}]}`, true,
			call.Usage{call.AudioInput: 30, call.Output: 4}},
		{"images and text read, and what nobody says", `{"promptTokenCount":300,"candidatesTokenCount":4,"promptTokensDetails":[{"modality":"DOCUMENT","tokenCount":20},{"modality":"IMAGE","tokenCount":258}]}`, true,
			call.Usage{call.Input: 20, call.ImageInput: 280, call.Output: 4}},
		{"no number", `{"promptTokenCount":10,"candidatesTokenCount":"four"}`, false, call.Usage{}},
		{"no prompt", `{"candidatesTokenCount":4}`, false, call.Usage{}},
		{"output, and none counted", `{"promptTokenCount":10}`, false, call.Usage{}},
		{"null", `null`, false, call.Usage{}},
		{"a list", `[{"promptTokenCount":10,"candidatesTokenCount":4}]`, false, call.Usage{}},
		{"a count twice", `{"promptTokenCount":10,"candidatesTokenCount":400,"candidatesTokenCount":4}`, false, call.Usage{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for shape, bytes := range map[string]string{"document": said + row.usage + "}", "events": "data: " + said + row.usage + "}\r\n\r\n", "array": "[" + said + row.usage + "}]"} {
				r := read(shape, bytes, io.EOF)
				if r.HasUsage != row.known || row.known && (len(r.Lines) != 1 || r.Lines[0].Usage != row.want) || !r.Ran {
					t.Errorf("%s: %+v, known %v, want %v, known %v", shape, r.Lines, r.HasUsage, row.want, row.known)
				}
			}
		})
	}
}

// read is what a meter reports of an answer of a shape.
func read(shape, bytes string, err error) providers.Report {
	header := map[string][]string{"Content-Type": {"application/json"}}
	if shape == "events" {
		header["Content-Type"] = []string{"text/event-stream"}
	}
	m := newMeter(asked{array: shape == "array", candidates: 1}, providers.Answer{Status: 200, Header: header, Framed: true})
	m.Feed([]byte(bytes))
	m.Close(err)
	return m.Report()
}

// TestStreams: counts of a stream are running totals; one that breaks off has told too little.
func TestStreams(t *testing.T) {
	const first = `data: {"candidates":[{"index":0,"content":{"parts":[{"text":"Hi"}]}}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":40,"thoughtsTokenCount":6,"totalTokenCount":56}}` + "\r\n\r\n"
	last := func(counts string) string {
		return `data: {"candidates":[{"index":0,"content":{"parts":[]},"finishReason":"STOP"}],"usageMetadata":{` + counts + `}}` + "\r\n\r\n"
	}
	for _, row := range []struct {
		name, stream string
		err          error
		known        bool
		want         call.Usage
	}{
		{"the last total counts", first + last(`"promptTokenCount":10,"candidatesTokenCount":44,"thoughtsTokenCount":6,"totalTokenCount":60`), io.EOF, true, call.Usage{call.Input: 10, call.Output: 44, call.Reasoning: 6}},
		{"a member that is not told again", first + last(`"promptTokenCount":10,"candidatesTokenCount":44`), io.EOF, true, call.Usage{call.Input: 10, call.Output: 44, call.Reasoning: 6}},
		{"a total that falls", first + last(`"promptTokenCount":10,"candidatesTokenCount":4,"thoughtsTokenCount":6,"totalTokenCount":20`), io.EOF, true, call.Usage{call.Input: 10, call.Output: 40, call.Reasoning: 6}},
		{"cut behind the first", first, io.ErrUnexpectedEOF, false, call.Usage{}},
		{"ended without a reason", first, io.EOF, false, call.Usage{}},
		{"an error in its middle", first + `data: {"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}` + "\r\n\r\n", io.EOF, false, call.Usage{}},
		{"an error in its middle, as lines", first + "{\r\n  \"error\": {\r\n    \"code\": 503,\r\n    \"message\": \"overloaded\"\r\n  }\r\n}\r\n", io.EOF, false, call.Usage{}},
		{"a blocked prompt", `data: {"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":10,"totalTokenCount":10}}` + "\r\n\r\n", io.EOF, true, call.Usage{call.Input: 10}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := read("events", row.stream, row.err)
			if r.HasUsage != row.known || row.known && (len(r.Lines) != 1 || r.Lines[0].Usage != row.want) || !r.Ran {
				t.Errorf("%+v, known %v, want %v, known %v", r.Lines, r.HasUsage, row.want, row.known)
			}
		})
	}
}

// TestArrays: a stream that is an array tells the same as one of events, and one that is closed before its answer ended has
// told too little.
func TestArrays(t *testing.T) {
	part := func(n int, more string) string {
		return fmt.Sprintf(`{"candidates":[{"index":0,"content":{"parts":[{"text":"Hi"}]}%s}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":%d}}`, more, n)
	}
	var begun string
	for n := range 9 {
		begun += part(n+1, "") + ",\r\n"
	}
	const failed = `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`
	for _, row := range []struct {
		name, array string
		known, ran  bool
		output      int64
	}{
		{"the last total counts", begun + part(44, `,"finishReason":"STOP"`), true, true, 44},
		{"a reason as a number", begun + part(44, `,"finishReason":1`), true, true, 44},
		{"usage behind the end", begun + part(44, `,"finishReason":"STOP"`) + `,{"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":45}}`, true, true, 45},
		{"an end with an image in it", begun + part(44, `,"finishReason":"STOP","x":"`+strings.Repeat("A", wire.MaxValueBytes)+`"`), true, true, 44},
		{"no reason", begun + part(44, ""), false, true, 44},
		{"an error in its middle", begun + failed, false, true, 9},
		{"an error alone", failed, false, false, 0},
		{"a blocked prompt", `{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":10}}`, true, true, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := read("array", "["+row.array+"]", io.EOF)
			if r.HasUsage != row.known || r.Ran != row.ran || r.Lines[0].Usage[call.Output] != row.output {
				t.Errorf("%+v, want known %v, ran %v, output %d", r, row.known, row.ran, row.output)
			}
		})
	}
}
