package gemini_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// drawn is an image of that size in base64.
func drawn(t testing.TB, width, height int, encode func(io.Writer, image.Image) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := encode(&out, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

func asJPEG(w io.Writer, i image.Image) error { return jpeg.Encode(w, i, nil) }
func asGIF(w io.Writer, i image.Image) error  { return gif.Encode(w, i, nil) }

// TestImages: what an image counts goes by its model, and before Gemini 3 by its size: a tile of 258 tokens, or one for
// each square and one for the whole, as recorded ones have.
func TestImages(t *testing.T) {
	const frame = 44 // beside the image
	for _, row := range []struct {
		name, model, data string
		max, want         int64
	}{
		{"a small one", "gemini-2.5-flash", drawn(t, 384, 384, png.Encode), 0, 258},
		{"as it was recorded", "gemini-2.0-flash", drawn(t, 540, 360, png.Encode), 0, 1806},
		{"as another was", "gemini-2.0-flash", drawn(t, 1024, 1024, asJPEG), 0, 1290},
		{"a large one", "gemini-2.5-pro", drawn(t, 4000, 3000, asGIF), 0, 25 * 258},
		{"a long one", "gemini-2.5-pro", drawn(t, 4000, 30, png.Encode), 0, (200*2 + 1) * 258},
		{"whose size nobody can read", "gemini-2.5-pro", base64.StdEncoding.EncodeToString([]byte("RIFF....WEBP")), 0, 1_000_000 - frame},
		{"none at all", "gemini-2.5-pro", "", 0, 1_000_000 - frame},
		{"cut short", "gemini-2.5-pro", drawn(t, 4000, 3000, png.Encode)[:20], 0, 1_000_000 - frame},
		{"as the policy says", "gemini-2.5-pro", "AAAA", 999, 999},
		{"of Gemini 3", "gemini-3.8-flash", drawn(t, 4000, 3000, png.Encode), 0, 2304},
		{"of a name that tells no version", "gemini-flash-latest", drawn(t, 540, 360, png.Encode), 0, 1806 + 2304},
	} {
		t.Run(row.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":%q}}]}]}`, row.data)
			r, err := parse("/v1beta/models/"+row.model+":generateContent", body)
			if err != nil {
				t.Fatal(err)
			}
			offer, err := r.On(providers.Terms{Provider: "google", MaxOutput: 100, Context: 1_000_000, MaxImage: row.max})
			if err != nil {
				t.Fatal(err)
			}
			if got := offer.Bound().Input.Fixed - frame; got != row.want {
				t.Errorf("%d tokens, want %d", got, row.want)
			}
		})
	}
}
