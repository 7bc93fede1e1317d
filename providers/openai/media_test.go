package openai_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	picture "image"
	"image/png"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// mediaTerms are those of OpenAI itself.
var mediaTerms = providers.Terms{Provider: "openai"}

func mediaHead(path, contentType string) providers.Head {
	return providers.Head{Method: "POST", Path: path, Header: map[string][]string{"Content-Type": {contentType}}}
}

// parseMedia reads a body as the dialect does.
func parseMedia(h providers.Head, body []byte) (providers.Request, error) {
	op, ok := openai.Dialect{}.Match(h)
	if !ok || op.Kind != providers.Governed {
		return nil, fmt.Errorf("%s is not governed", h.Path)
	}
	return openai.Dialect{}.Parse(op, h, body)
}

func mediaOffer(t *testing.T, h providers.Head, body []byte) (*providers.Bound, providers.Offer) {
	t.Helper()
	r, err := parseMedia(h, body)
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.On(mediaTerms)
	if err != nil {
		t.Fatal(err)
	}
	return o.Bound(), o
}

// A published count of tokens is what one image of that size and quality is held at.
func TestImagesAreHeldAtTheirPublishedTokens(t *testing.T) {
	for _, c := range []struct {
		model, size, quality string
		want                 int64
	}{
		{"gpt-image-2", "1024x1024", "low", 196},
		{"gpt-image-2", "1024x1024", "medium", 1_756},
		{"gpt-image-2", "1024x1024", "high", 7_024},
		{"gpt-image-2", "1536x864", "low", 120},
		{"gpt-image-2.5-flare", "3840x2160", "max", 13_342},
		{"gpt-image-2", "2880x2880", "high", 23_719},
		{"gpt-image-2", "auto", "high", 23_719},
		{"gpt-image-2", "", "", 23_719},
		{"gpt-image-2", "4000x4000", "high", 23_719},
		{"gpt-image-2", "3840x16", "high", 23_719},
		{"gpt-image-2", "16x16", "high", 23_719},
		{"gpt-image-2-2026-04-21", "1024x1024", "standard", 7_024},
		{"gpt-image-1", "1024x1024", "low", 272},
		{"gpt-image-1-mini", "1024x1536", "high", 6_240},
		{"gpt-image-1", "auto", "", 6_240},
		{"gpt-image-1.5", "1536x1024", "medium", 1_568 + 2_000},
	} {
		body := fmt.Sprintf(`{"model":%q,"prompt":"a cat","size":%q,"quality":%q}`, c.model, c.size, c.quality)
		bound, _ := mediaOffer(t, mediaHead("/v1/images/generations", "application/json"), []byte(body))
		if bound.Output.Fixed != c.want || !bound.Output.Kinds.Has(call.ImageOutput) {
			t.Errorf("%s %s %s: %d tokens of %v, want %d", c.model, c.size, c.quality, bound.Output.Fixed, bound.Output.Kinds, c.want)
		}
	}
}

func TestEachImageAndEachUnfinishedOneIsHeld(t *testing.T) {
	body := `{"model":"gpt-image-2","prompt":"a cat","size":"1024x1024","quality":"low","n":3,"stream":true,"partial_images":2}`
	bound, _ := mediaOffer(t, mediaHead("/v1/images/generations", "application/json"), []byte(body))
	if want := int64(3 * (196 + 2*100)); bound.Output.Fixed != want {
		t.Errorf("%d tokens, want %d", bound.Output.Fixed, want)
	}
}

func pngOf(t *testing.T, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, picture.NewGray(picture.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type formPart struct{ name, file, value string }

// formOf is a form as Go's own writer makes it.
func formOf(t testing.TB, parts ...formPart) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		var part io.Writer
		var err error
		if p.file != "" {
			part, err = w.CreateFormFile(p.name, p.file)
		} else {
			part, err = w.CreateFormField(p.name)
		}
		if err == nil {
			_, err = io.WriteString(part, p.value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// An image that is edited is held by its size, in a form as in JSON.
func TestImagesThatAreEditedAreHeldByTheirSize(t *testing.T) {
	square, broad := string(pngOf(t, 128, 128)), string(pngOf(t, 1200, 400))
	const overhead = 64
	for _, c := range []struct {
		name  string
		model string
		parts []formPart
		want  int64
	}{
		{"a square", "gpt-image-1.5", []formPart{{"image", "a.png", square}}, 194},
		{"two", "gpt-image-1.5", []formPart{{"image[]", "a.png", square}, {"image[]", "b.png", square}}, 388},
		{"a broad one", "gpt-image-1", []formPart{{"image", "a.png", broad}}, 65 + 3*129},
		{"with a mask", "gpt-image-1", []formPart{{"image", "a.png", square}, {"mask", "m.png", square}}, 388},
		{"of high fidelity", "gpt-image-1", []formPart{{"image", "a.png", square}, {"input_fidelity", "", "high"}}, 194 + 6_144},
		{"of no known size", "gpt-image-1", []formPart{{"image", "a.webp", "RIFF....WEBP"}}, 65 + 32*129},
		{"of a newer model", "gpt-image-2", []formPart{{"image", "a.png", square}}, 6_500},
	} {
		t.Run(c.name, func(t *testing.T) {
			kind, body := formOf(t, append(c.parts, formPart{"model", "", c.model}, formPart{"prompt", "", "green"})...)
			bound, _ := mediaOffer(t, mediaHead("/v1/images/edits", kind), body)
			if bound.Input.Fixed != c.want+overhead || !bound.Input.Kinds.Has(call.ImageInput) {
				t.Errorf("held %d tokens beside the prompt, want %d", bound.Input.Fixed-overhead, c.want)
			}
		})
	}
	url := "data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte(square))
	body := fmt.Sprintf(`{"model":"gpt-image-1.5","prompt":"green","images":[{"image_url":%q}]}`, url)
	bound, _ := mediaOffer(t, mediaHead("/v1/images/edits", "application/json"), []byte(body))
	if bound.Input.Fixed != 194+overhead {
		t.Errorf("a data URL: held %d tokens, want %d", bound.Input.Fixed, 194+overhead)
	}
}

func wav(seconds, rate int) string {
	var b bytes.Buffer
	b.WriteString("RIFF\xff\xff\xff\xffWAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(rate / 2), uint32(rate), uint16(2), uint16(16)} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	b.WriteString("data\xff\xff\xff\xff")
	b.Write(make([]byte, seconds*rate))
	return b.String()
}

// hasty is a WAV file that claims the most bytes a second.
func hasty(file string) string { return file[:28] + "\xff\xff\xff\xff" + file[32:] }

// extended is a WAV file whose format stands in the extension of its head.
func extended(file string, format byte) string {
	return file[:16] + "\x28\x00\x00\x00\xfe\xff" + file[22:36] + "\x16\x00\x10\x00\x00\x00\x00\x00" +
		string([]byte{format}) + "\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71" + file[36:]
}

// A recording is held for at least as long as it lasts.
func TestRecordingsAreHeldByTheirLength(t *testing.T) {
	flac := "fLaC\x00\x00\x00\x22" + strings.Repeat("\x00", 10) + "\x0a\xc4\x42\xf0\x01\xa5\xe0\xe0" + strings.Repeat("\x00", 16) // 627.2 s at 44,100
	for _, c := range []struct {
		name, model, data string
		unit              call.Unit
		least, most       int64
	}{
		{"WAV by its rate", "whisper-1", wav(4, 48_000), call.AudioTimeIn, 4_000, 6_000},
		{"WAV of a rate that no recording has", "whisper-1", wav(1000, 4), call.AudioTimeIn, 1_000_000, 1_020_000},
		{"WAV that tells more bytes a second than it has", "whisper-1", hasty(wav(100, 8_000)), call.AudioTimeIn, 100_000, 102_000},
		{"WAV that names its format behind", "whisper-1", extended(wav(4, 48_000), 1), call.AudioTimeIn, 4_000, 6_000},
		{"WAV of samples that are not plain", "whisper-1", extended(wav(4, 48_000), 0x11), call.AudioTimeIn, 256_000, 260_000},
		{"MP3", "whisper-1", "ID3" + strings.Repeat("x", 9_997), call.AudioTimeIn, 10_000, 12_000},
		{"MP4", "whisper-1", "\x00\x00\x00\x20ftypM4A " + strings.Repeat("x", 9_988), call.AudioTimeIn, 10_000, 12_000},
		{"what is not known", "whisper-1", "OggS" + strings.Repeat("x", 7_496), call.AudioTimeIn, 10_000, 12_000},
		{"FLAC by what it says", "gpt-transcribe", flac, call.AudioTimeIn, 600_000, 700_000},
		{"tokens of a short one", "gpt-4o-transcribe", wav(4, 48_000), call.AudioInput, 40, 400},
		{"tokens of a long one", "gpt-4o-mini-transcribe-2025-12-15", strings.Repeat("x", 1<<20), call.AudioInput, 16_000, 16_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			kind, body := formOf(t, formPart{"file", "a", c.data}, formPart{"model", "", c.model})
			bound, _ := mediaOffer(t, mediaHead("/v1/audio/transcriptions", kind), body)
			got := bound.Input.Fixed
			if c.unit == call.AudioTimeIn {
				got = bound.Beside[0].Usage[c.unit]
			} else if bound.Output.Fixed != 2_000 {
				t.Errorf("%d tokens of output", bound.Output.Fixed)
			}
			if got < c.least || got > c.most {
				t.Errorf("held %d %s, want %d to %d", got, c.unit, c.least, c.most)
			}
		})
	}
}

func TestSpeechIsHeldByItsCharactersOrItsLength(t *testing.T) {
	speech := func(body string) *providers.Bound {
		bound, _ := mediaOffer(t, mediaHead("/v1/audio/speech", "application/json"), []byte(body))
		return bound
	}
	b := speech(`{"model":"tts-1-hd","input":"Grüße, 日本","voice":"alloy","instructions":"slowly"}`)
	if n := b.Beside[0].Usage[call.CharactersIn]; n != 9 {
		t.Errorf("%d characters, want 9", n)
	}
	plain := speech(`{"model":"gpt-4o-mini-tts","input":"ruby is a programming language","voice":"alloy"}`).Output.Fixed
	slow := speech(`{"model":"gpt-4o-mini-tts","input":"ruby is a programming language","voice":{"id":"v"},"speed":0.25}`).Output.Fixed
	if want := int64(30*125*20_833/1_000_000 + 1); plain != want || slow < 4*(plain-1) {
		t.Errorf("%d tokens of speech, at a fourth of the speed %d; want %d and four times that", plain, slow, want)
	}
	for _, long := range []string{"1", "%", "&", "@", "#", "*", "W", "$"} {
		body := fmt.Sprintf(`{"model":"gpt-4o-mini-tts","input":%q,"voice":"alloy"}`, strings.Repeat(long, 30))
		if held := speech(body).Output.Fixed; held < 3*plain {
			t.Errorf("%s is held at %d tokens, small letters at %d", long, held, plain)
		}
	}
}

// What nothing bounds is denied, and what is malformed refused.
func TestMediaWithoutABound(t *testing.T) {
	form := func(parts ...formPart) (string, string) {
		kind, body := formOf(t, parts...)
		return kind, string(body)
	}
	fileKind, withoutFile := form(formPart{"model", "", "whisper-1"})
	twiceKind, twice := form(formPart{"model", "", "whisper-1"}, formPart{"model", "", "gpt-4o-transcribe"}, formPart{"file", "a", "x"})
	otherKind, other := form(formPart{"model", "", "whisper-1"}, formPart{"voice", "a", "x"}, formPart{"file", "a", "x"})
	for _, c := range []struct{ name, path, kind, body, want string }{
		{"no model", "/v1/images/generations", "application/json", `{"prompt":"a cat"}`, "model is missing"},
		{"no prompt", "/v1/images/generations", "application/json", `{"model":"gpt-image-2"}`, "prompt is missing"},
		{"another model", "/v1/images/generations", "application/json", `{"model":"dall-e-3","prompt":"x"}`, "nothing published tells how many tokens"},
		{"an SVG", "/v1/images/generations", "application/json", `{"model":"gpt-image-2.6-x","prompt":"x","output_format":"svg"}`, "output_format"},
		{"a member that is not known", "/v1/images/generations", "application/json", `{"model":"gpt-image-2","prompt":"x","complexity":"high"}`, "complexity"},
		{"a file by id", "/v1/images/edits", "application/json", `{"model":"gpt-image-2","prompt":"x","images":[{"file_id":"file-1"}]}`, "there is no image"},
		{"a file by id beside an image", "/v1/images/edits", "application/json", `{"model":"gpt-image-2","prompt":"x","images":[{"image_url":"https://x"},{"file_id":"file-1"}]}`, "file_id"},
		{"no input", "/v1/audio/speech", "application/json", `{"model":"tts-1","voice":"alloy"}`, "input is missing"},
		{"a speed that is none", "/v1/audio/speech", "application/json", `{"model":"tts-1","input":"x","voice":"a","speed":0.1}`, "speed must be"},
		{"another voice of another", "/v1/audio/speech", "application/json", `{"model":"kokoro","input":"x","voice":"a"}`, `price: {characters_in: "N"}`},
		{"a transcription in JSON", "/v1/audio/transcriptions", "application/json", `{"model":"whisper-1"}`, "multipart/form-data"},
		{"no recording", "/v1/audio/transcriptions", fileKind, withoutFile, "there is no recording"},
		{"a model twice", "/v1/audio/transcriptions", twiceKind, twice, "twice"},
		{"another file", "/v1/audio/translations", otherKind, other, `file named "voice"`},
		{"no boundary", "/v1/audio/transcriptions", "multipart/form-data", "x", "Content-Type"},
		{"a body that is no form", "/v1/audio/transcriptions", "multipart/form-data; boundary=a", "--b\r\n", "begin with its boundary"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := parseMedia(mediaHead(c.path, c.kind), []byte(c.body))
			if err == nil {
				_, err = r.On(mediaTerms)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A form whose parts another server could find elsewhere is refused: Werkzeug takes a lone LF or CR
// for the end of a line before a boundary, and leaves out a backslash in it.
func TestFormsThatAreDividedInTwoWays(t *testing.T) {
	const more = "Content-Disposition: form-data; name=\"n\"\r\n\r\n10"
	for _, c := range []struct{ name, kind, mark, prompt, want string }{
		{"a form", "boundary=b", "--b", "a cat", ""},
		{"a form with a quoted boundary", `boundary="=_b.1:?"`, "--=_b.1:?", "a cat", ""},
		{"a boundary behind LF", "boundary=b", "--b", "a cat\n--b\r\n" + more, "boundary inside"},
		{"a boundary behind CR", "boundary=b", "--b", "a cat\r--b\r\n" + more, "boundary inside"},
		{"a boundary in its extended form", "boundary*=utf-8''b; boundary=c", "--b", "a cat\r\n--c\r\n" + more + "\r\n--c--", "one boundary"},
		{"a boundary in pieces", "boundary*0=b; boundary=c", "--b", "a cat\r\n--c\r\n" + more + "\r\n--c--", "one boundary"},
		{"a boundary with a backslash", `boundary="b\c"`, `--b\c`, "a cat\r\n--bc\r\n" + more + "\r\n--bc--", "one boundary"},
	} {
		t.Run(c.name, func(t *testing.T) {
			part := func(name, value string) string {
				return c.mark + "\r\nContent-Disposition: form-data; name=" + name + "\r\n\r\n" + value + "\r\n"
			}
			body := part("model", "gpt-image-2") + part("prompt", c.prompt) + part("image; filename=a", "x") + c.mark + "--\r\n"
			_, err := parseMedia(mediaHead("/v1/images/edits", "multipart/form-data; "+c.kind), []byte(body))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// One usage in a stream that was cut tells the cost of one image, and no more.
func TestStreamsOfImagesThatAreCut(t *testing.T) {
	const event = `data: {"type":"image_generation.completed","b64_json":"AA==","usage":{"input_tokens":1,"output_tokens":196,"total_tokens":197}}` + "\n\n"
	for _, c := range []struct {
		name, n string
		end     error
		known   bool
	}{
		{"one image, cut", "1", io.ErrUnexpectedEOF, true},
		{"several, cut", "5", io.ErrUnexpectedEOF, false},
		{"several, to the end", "5", io.EOF, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, offer := mediaOffer(t, mediaHead("/v1/images/generations", "application/json"), []byte(`{"model":"gpt-image-2","prompt":"x","stream":true,"n":`+c.n+`}`))
			m := offer.Send(0).Meter(providers.Answer{Status: 200, Header: map[string][]string{"Content-Type": {"text/event-stream"}}})
			m.Feed([]byte(event))
			m.Close(c.end)
			if known := m.Report().HasUsage; known != c.known {
				t.Errorf("the cost is known: %v, want %v", known, c.known)
			}
		})
	}
}

// A part that another server could read otherwise is refused.
func TestPartsThatAreReadInTwoWays(t *testing.T) {
	for name, head := range map[string]string{
		"a field that some take for a file": "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: application/octet-stream",
		"a field in another charset":        "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=utf-16",
		"a name in its extended form":       "Content-Disposition: form-data; name*=utf-8''model",
		"two names":                         "Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\"",
		"a name that goes on":               "Content-Disposition: form-data;\r\n name=\"model\"",
		"a transfer encoding":               "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64",
		"a name of another case":            "Content-Disposition: form-data; name=\"Model\"",
		"a list of models":                  "Content-Disposition: form-data; name=\"model[0]\"",
		"two content types":                 "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain\r\nContent-Type: text/plain; charset=utf-8",
		"a file without a name":             "Content-Disposition: form-data; name=\"file\"; filename=\"\"",
		"a word for a file elsewhere":       "Content-Disposition: form-data; name=\"file\"; x=filename",
		"another length":                    "Content-Disposition: form-data; name=\"model\"\r\nContent-Length: 3",
	} {
		rest := "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nID3"
		if strings.Contains(head, "name=\"file\"") {
			rest = "Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1"
		}
		body := "--b\r\n" + head + "\r\n\r\nwhisper-1\r\n--b\r\n" + rest + "\r\n--b--\r\n"
		if _, err := parseMedia(mediaHead("/v1/audio/transcriptions", "multipart/form-data; boundary=b"), []byte(body)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// FuzzForm holds that what is read as a form has the parts that Go's own reader finds.
func FuzzForm(f *testing.F) {
	for _, parts := range [][]formPart{
		{{"model", "", "whisper-1"}, {"file", "a.wav", wav(1, 8_000)}},
		{{"file", "a", "x"}, {"model", "", "gpt-4o-transcribe"}, {"include[]", "", "logprobs"}, {"stream", "", "true"}},
	} {
		kind, body := formOf(f, parts...)
		f.Add(kind, body)
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r, err := parseMedia(mediaHead("/v1/audio/transcriptions", kind), body)
		if err != nil {
			var wrong *providers.ParseError
			if !errors.As(err, &wrong) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		_, boundary, _ := strings.Cut(kind, "boundary=")
		reader := multipart.NewReader(bytes.NewReader(body), strings.Trim(boundary, `"`))
		form, err := reader.ReadForm(1 << 20)
		if err != nil {
			t.Skip("Go reads less")
		}
		if models := form.Value["model"]; len(models) != 1 || models[0] != r.Facts().Model {
			t.Errorf("Go reads the models %q, and we %q", models, r.Facts().Model)
		}
		if len(form.File["file"]) != 1 {
			t.Errorf("Go reads %d recordings", len(form.File["file"]))
		}
	})
}

// What an answer tells is charged, in whatever shape it comes.
func TestMediaAnswers(t *testing.T) {
	for _, c := range []struct {
		name, path, body, kind, answer string
		want                           call.Usage
		unknown                        bool
	}{
		{name: "an image", path: "/v1/images/generations", body: `{"model":"gpt-image-2","prompt":"x"}`, kind: "application/json",
			answer: `{"created":1,"data":[{"b64_json":"aGk="}],"usage":{"input_tokens":76,"input_tokens_details":{"image_tokens":64,"text_tokens":12},"output_tokens":120,"total_tokens":196}}`,
			want:   call.Usage{call.Input: 12, call.ImageInput: 64, call.ImageOutput: 120}},
		{name: "an image with text beside it", path: "/v1/images/generations", body: `{"model":"gpt-image-1.5","prompt":"x"}`, kind: "application/json",
			answer: `{"data":[],"usage":{"input_tokens":43,"output_tokens":1364,"output_tokens_details":{"image_tokens":1056,"text_tokens":308},"total_tokens":1407}}`,
			want:   call.Usage{call.Input: 43, call.ImageOutput: 1056, call.Output: 308}},
		{name: "an image by URL, without usage", path: "/v1/images/generations", body: `{"model":"gpt-image-1-mini","prompt":"x"}`, kind: "application/json",
			answer: `{"created":1760092079,"data":[{"url":"https://x"}]}`, unknown: true},
		{name: "a stream of one image", path: "/v1/images/generations", body: `{"model":"gpt-image-2","prompt":"x","stream":true}`, kind: "text/event-stream",
			answer: "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"aGk=\"}\n\n" +
				"event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"" + strings.Repeat("A", 2<<20) +
				"\",\"usage\":{\"input_tokens\":12,\"output_tokens\":296,\"total_tokens\":308}}\n\n",
			want: call.Usage{call.Input: 12, call.ImageOutput: 296}},
		{name: "a stream of several images", path: "/v1/images/generations", body: `{"model":"gpt-image-2","prompt":"x","stream":true,"n":2}`, kind: "text/event-stream",
			answer: strings.Repeat("data: {\"type\":\"image_generation.completed\",\"usage\":{\"input_tokens\":12,\"output_tokens\":296,\"total_tokens\":308}}\n\n", 2), unknown: true},
		{name: "speech by the character", path: "/v1/audio/speech", body: `{"model":"tts-1","input":"hello","voice":"alloy"}`, kind: "audio/mpeg",
			answer: "\xff\xfb...", want: call.Usage{call.CharactersIn: 5}},
		{name: "speech by the token, as sound", path: "/v1/audio/speech", body: `{"model":"gpt-4o-mini-tts","input":"hello","voice":"alloy"}`, kind: "audio/mpeg",
			answer: "\xff\xfb...", unknown: true},
		{name: "speech by the token, as events", path: "/v1/audio/speech", body: `{"model":"gpt-4o-mini-tts","input":"hello","voice":"alloy","stream_format":"sse"}`, kind: "text/event-stream",
			answer: "data: {\"type\":\"speech.audio.delta\",\"audio\":\"aGk=\"}\n\ndata: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n",
			want:   call.Usage{call.Input: 14, call.AudioOutput: 101}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, offer := mediaOffer(t, mediaHead(c.path, "application/json"), []byte(c.body))
			checkMedia(t, offer, c.kind, c.answer, c.want, c.unknown)
		})
	}
	for _, c := range []struct {
		name, model, kind, answer string
		want                      call.Usage
		unknown                   bool
	}{
		{name: "by the second", model: "whisper-1", kind: "application/json", answer: `{"text":"Hi","usage":{"type":"duration","seconds":4}}`, want: call.Usage{call.AudioTimeIn: 4_000}},
		{name: "by the token", model: "gpt-4o-transcribe", kind: "application/json",
			answer: `{"text":"Hi","usage":{"type":"tokens","total_tokens":181,"input_tokens":37,"input_token_details":{"text_tokens":0,"audio_tokens":37},"output_tokens":144}}`,
			want:   call.Usage{call.AudioInput: 37, call.Output: 144}},
		{name: "as events", model: "gpt-4o-transcribe", kind: "text/event-stream; charset=utf-8",
			answer: "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"type\":\"tokens\",\"total_tokens\":49,\"input_tokens\":37,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":37},\"output_tokens\":12}}\n\ndata: [DONE]\n\n",
			want:   call.Usage{call.AudioInput: 37, call.Output: 12}},
		{name: "as text", model: "whisper-1", kind: "text/plain; charset=utf-8", answer: "Hi\n", unknown: true},
		{name: "cut off", model: "whisper-1", kind: "application/json", answer: `{"text":"Hi","usage":{"type":"duration","seconds":4}`, unknown: true},
	} {
		t.Run("a transcription "+c.name, func(t *testing.T) {
			kind, body := formOf(t, formPart{"file", "a.wav", wav(4, 48_000)}, formPart{"model", "", c.model})
			_, offer := mediaOffer(t, mediaHead("/v1/audio/transcriptions", kind), body)
			if sent := offer.Send(0); !bytes.Equal(sent.Body.Join(), body) || sent.Header["Content-Type"][0] != kind {
				t.Error("the form was changed on its way")
			}
			checkMedia(t, offer, c.kind, c.answer, c.want, c.unknown)
		})
	}
}

// checkMedia feeds an answer whole, and byte by byte.
func checkMedia(t *testing.T, offer providers.Offer, kind, answer string, want call.Usage, unknown bool) {
	t.Helper()
	for _, step := range []int{len(answer), 1 + len(answer)/5_000} {
		m := offer.Send(0).Meter(providers.Answer{Status: 200, Header: map[string][]string{"Content-Type": {kind}}, Framed: true})
		for rest := []byte(answer); len(rest) > 0; {
			n := min(step, len(rest))
			if passed := m.Feed(rest[:n]); !bytes.Equal(passed, rest[:n]) {
				t.Fatal("the answer was changed on its way")
			}
			rest = rest[n:]
		}
		m.Close(io.EOF)
		r := m.Report()
		if r.HasUsage == unknown || !unknown && r.Lines[0].Usage != want || !r.Ran && r.Complete {
			t.Errorf("in pieces of %d: %+v, want %v", step, r, want)
		}
	}
}

// Where a part says how long it is, it says so of another model too.
func TestRenameAPartOfASaidLength(t *testing.T) {
	body := "--b\r\nContent-Disposition: form-data; name=\"model\"\r\ncontent-length:  4\r\nContent-Type: text/plain\r\n\r\nhear\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nID3\r\n--b--\r\n"
	r, err := parseMedia(mediaHead("/v1/audio/transcriptions", "multipart/form-data; boundary=b"), []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Rename("whisper-1")
	o, err := r.On(mediaTerms)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("hear", "whisper-1", "content-length:  4", "content-length:  9").Replace(body)
	if got := string(o.Send(0).Body.Join()); got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// A model that is an alias is replaced in its place, in a form as in JSON.
func TestRenameInAForm(t *testing.T) {
	kind, body := formOf(t, formPart{"model", "", "hear"}, formPart{"file", "a", "ID3"}, formPart{"language", "", "hear"})
	r, err := parseMedia(mediaHead("/v1/audio/transcriptions", kind), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Rename("whisper-1")
	o, err := r.On(mediaTerms)
	if err != nil {
		t.Fatal(err)
	}
	if want := bytes.Replace(body, []byte("hear"), []byte("whisper-1"), 1); !bytes.Equal(o.Send(0).Body.Join(), want) {
		t.Errorf("sent %s", o.Send(0).Body.Join())
	}
}
