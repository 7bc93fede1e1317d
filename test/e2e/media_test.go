package e2e

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// mediaPolicy has OpenAI's models of images and sound at the prices of the table.
const mediaPolicy = `generation: %d
upstreams:
  - {name: sim, base_url: %s/v1, api_key_env: SIM_KEY, provider: openai, cap_field: max_completion_tokens}
models: [{match: "*", upstreams: [sim]}]
tenants:
  - name: acme
    keys: [{id: acme-1, sha256: "%s"}]
%s
`

// mediaForm is a form with a recording of four seconds.
func mediaForm(t *testing.T, model, format string) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	file, err := w.CreateFormFile("file", "a.wav")
	if err != nil {
		t.Fatal(err)
	}
	const wav = "RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\xff\xff\xff\xff"
	fmt.Fprint(file, wav)
	file.Write(make([]byte, 4*16_000-len(wav)))
	for name, value := range map[string]string{"model": model, "response_format": format} {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

// mediaUpstream answers as OpenAI was recorded to.
func mediaUpstream() http.Handler {
	mux := http.NewServeMux()
	answer := func(route, kind, body string) {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", kind)
			io.WriteString(w, body)
		})
	}
	answer("POST /v1/images/generations", "application/json",
		`{"created":1,"data":[{"b64_json":"eA=="}],"usage":{"input_tokens":12,"input_tokens_details":{"image_tokens":0,"text_tokens":12},"output_tokens":196,"total_tokens":208}}`)
	answer("POST /v1/audio/speech", "audio/mpeg", "\xff\xfbsound")
	mux.HandleFunc("POST /v1/audio/transcriptions", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("response_format") == "text" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			io.WriteString(w, "Hello.\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"text":"Hello.","usage":{"type":"duration","seconds":4}}`)
	})
	return mux
}

// trimmedUSD is an amount without the noughts at its end.
func trimmedUSD(amount string) string { return strings.TrimRight(amount, "0") }

// TestMedia: images and sound are charged what their answers tell, or what their requests do, and
// the hold where neither tells; nothing is held at the end, and the receipts can be made again.
func TestMedia(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(mediaUpstream())
	t.Cleanup(upstream.Close)
	w := newWorld(t, simulator.Config{}, monthly(ample))
	w.upstream.URL, w.layout = upstream.URL, mediaPolicy
	w.writePolicy(1, monthly(ample))
	r := w.start("replica0")

	form := func(model, format string) func() (string, []byte) {
		return func() (string, []byte) { return mediaForm(t, model, format) }
	}
	text := func(body string) func() (string, []byte) {
		return func() (string, []byte) { return "application/json", []byte(body) }
	}
	var spent int64
	for _, c := range []struct {
		name, path string
		body       func() (string, []byte)
		status     int
		cost       int64 // nano-USD
	}{
		{"an image", "/v1/images/generations", text(`{"model":"gpt-image-2","prompt":"a cat","size":"1024x1024","quality":"low"}`), 200, 12*5_000 + 196*30_000},
		{"speech by the character", "/v1/audio/speech", text(`{"model":"tts-1","input":"hello","voice":"alloy"}`), 200, 5 * 15_000},
		{"a transcription", "/v1/audio/transcriptions", form("whisper-1", "json"), 200, 4 * 100_000},
		{"a transcription without usage", "/v1/audio/transcriptions", form("whisper-1", "text"), 200, 5 * 100_000},
		{"an image of a model that nothing bounds", "/v1/images/generations", text(`{"model":"dall-e-3","prompt":"a cat"}`), 403, 0},
		{"a form for another operation", "/v1/images/generations", form("gpt-image-2", ""), 400, 0},
	} {
		kind, body := c.body()
		req, err := http.NewRequest("POST", r.url+c.path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Authorization", "Bearer "+w.secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: %d %s: %v", c.name, resp.StatusCode, answer, err)
		}
		spent += c.cost
		eventuallyAtRest(t, r)
		if b := r.balances()["daily"]; trimmedUSD(b.Spent) != trimmedUSD(usd(spent)) {
			t.Errorf("%s: %s USD are spent, want %s", c.name, b.Spent, usd(spent))
		}
	}
	endsClean(t, r)
}
