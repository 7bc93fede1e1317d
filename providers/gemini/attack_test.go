package gemini

import (
	"encoding/base64"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// metered is what is found in a stream of events, and in the same as an array.
func metered(of asked, end error, elements ...string) (reports [2]providers.Report) {
	bodies := [2]string{"data: " + strings.Join(elements, "\r\n\r\ndata: ") + "\r\n\r\n", "[" + strings.Join(elements, ",\r\n") + "]"}
	for i, body := range bodies {
		of.array = i == 1
		m := newMeter(of, providers.Answer{Status: 200, Framed: true})
		for at := range len(body) { // a byte at a time
			m.Feed([]byte(body[at : at+1]))
		}
		m.Close(end)
		reports[i] = m.Report()
	}
	return reports
}

// TestStreamsThatAreCharged: a stream is charged what it tells only where it tells it behind all output, without an
// error, and why each candidate ended; as events and as an array alike.
func TestStreamsThatAreCharged(t *testing.T) {
	const (
		one  = `{"candidates":[{"index":0,"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":1,"totalTokenCount":6}}`
		more = `{"candidates":[{"index":0,"content":{"parts":[{"text":"much more"}]}}]}`
		end  = `{"candidates":[{"index":0,"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3,"totalTokenCount":8}}`
		odd  = `{"candidates":[{"index":0,"content":{"parts":[{"text":"b"}]},"finishReason":"FINISH_REASON_UNSPECIFIED"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3,"totalTokenCount":8}}`
		fail = `{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}`
	)
	for _, row := range []struct {
		name       string
		candidates int64
		end        error
		elements   []string
		settled    bool
	}{
		{"whole", 1, io.EOF, []string{one, end}, true},
		{"many elements", 1, io.EOF, []string{one, one, one, one, one, end}, true},
		{"without an end", 1, io.EOF, []string{one, one}, false},
		{"output behind the usage", 1, io.EOF, []string{one, more}, false},
		{"output behind the end", 1, io.ErrUnexpectedEOF, []string{end, one}, false},
		{"an error behind the end", 1, io.EOF, []string{one, end, fail}, false},
		{"an error in its place", 1, io.EOF, []string{one, fail}, false},
		{"an end without a reason", 1, io.EOF, []string{one, odd}, false},
		{"one candidate of two", 2, io.EOF, []string{one, end}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			for i, r := range metered(asked{candidates: row.candidates}, row.end, row.elements...) {
				if r.HasUsage != row.settled {
					t.Errorf("%s: told %v, want %v: %+v", [...]string{"events", "array"}[i], r.HasUsage, row.settled, r)
				}
			}
		})
	}
}

// TestCountsOfStreams: each element counts, and what cannot be told is charged the dearer way.
func TestCountsOfStreams(t *testing.T) {
	end := func(usage string) string {
		return `{"candidates":[{"index":0,"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],"usageMetadata":` + usage + `}`
	}
	told := func(n string) string {
		return `{"candidates":[{"index":0,"content":{"parts":[{"text":"b"}]}}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":` + n + `}}`
	}
	for _, row := range []struct {
		name     string
		kinds    call.Kinds
		elements []string
		want     string
	}{
		{"a count in the middle that is larger", 0, []string{told("1"), told("2"), told("3"), told("500"), end(`{"promptTokenCount":5,"candidatesTokenCount":40,"totalTokenCount":45}`)}, "input 5, output 500"},
		{"a count that the end leaves out", 0, []string{told("1"), told("102"), told("65"), end(`{"promptTokenCount":5,"totalTokenCount":5}`)}, "input 5, output 102"},
		{"a cache that the end leaves out", 0, []string{
			`{"usageMetadata":{"promptTokenCount":1000,"cachedContentTokenCount":900}}`, end(`{"promptTokenCount":1000,"candidatesTokenCount":2,"totalTokenCount":1002}`),
		}, "input 1000, output 2"},
		{"images without details", call.Of(call.ImageOutput), []string{end(`{"promptTokenCount":5,"candidatesTokenCount":8,"totalTokenCount":13}`)}, "input 5, image_output 8"},
		{"details that leave images out", call.Of(call.ImageOutput), []string{
			end(`{"promptTokenCount":5,"candidatesTokenCount":1295,"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":5}]}`),
		}, "input 5, output 5, image_output 1290"},
		{"sound without details", call.Of(call.AudioInput), []string{end(`{"promptTokenCount":325,"candidatesTokenCount":1,"totalTokenCount":326}`)}, "audio_input 325, output 1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for i, r := range metered(asked{candidates: 1, kinds: row.kinds}, io.EOF, row.elements...) {
				if got := r.Lines[0].Usage.String(); !r.HasUsage || got != row.want {
					t.Errorf("%s: %v %s, want %s", [...]string{"events", "array"}[i], r.HasUsage, got, row.want)
				}
			}
		})
	}
}

// Of two tiers that an answer tells, the dearer counts, in whatever order.
func TestTwoTiers(t *testing.T) {
	for _, usage := range []string{
		`{"promptTokenCount":1,"candidatesTokenCount":1,"serviceTier":"priority","trafficType":"ON_DEMAND"}`,
		`{"promptTokenCount":1,"candidatesTokenCount":1,"trafficType":"ON_DEMAND","serviceTier":"priority"}`,
		`{"promptTokenCount":1,"candidatesTokenCount":1,"serviceTier":"priority","trafficType":"TRAFFIC_TYPE_UNSPECIFIED"}`,
	} {
		if u, ok := parseUsage([]byte(usage), nil); !ok || u.tier != "priority" {
			t.Errorf("%s: %q", usage, u.tier)
		}
	}
}

// The rate of a WAV file is the least that its head allows: its fields may say different ones.
func TestRateOfWAV(t *testing.T) {
	for _, row := range []struct {
		name        string
		rate, frame uint32
	}{
		{"as it is", 8000, 1},
		{"a rate that is too high", 524_280_000, 1},
		{"both", 524_280_000, 65_535},
	} {
		file := make([]byte, 44+4_000_000)
		copy(file, "RIFF....WAVEfmt ")
		binary.LittleEndian.PutUint16(file[20:], pcm)
		binary.LittleEndian.PutUint16(file[22:], 1) // channel
		binary.LittleEndian.PutUint32(file[24:], 8000)
		binary.LittleEndian.PutUint32(file[28:], row.rate)
		binary.LittleEndian.PutUint16(file[32:], uint16(row.frame))
		binary.LittleEndian.PutUint16(file[34:], 8) // bits
		tokens, ok := wavTokens("audio/wav", base64.StdEncoding.EncodeToString(file))
		if !ok || tokens < 500*soundTokens {
			t.Errorf("%s: %d tokens, %v; 500 seconds have %d", row.name, tokens, ok, 500*soundTokens)
		}
	}
}
