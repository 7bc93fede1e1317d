package gemini

import (
	"encoding/base64"
	"image"
	_ "image/gif"  // whose sizes are read
	_ "image/jpeg" // alike
	_ "image/png"  // alike
	"io"
	"strings"
)

// What an image is to Gemini 2, in tokens (https://ai.google.dev/gemini-api/docs/tokens): one tile where both sides
// have up to 384 pixels, else a tile for each square of it and one for the whole. A square is two thirds of the
// shorter side, and at most 768 pixels. Recorded images of 540 by 360 and of 1024 by 1024 are just that much;
// newer models of that generation have one tile for smaller ones.
const (
	tileTokens  = 258
	oneTile     = 384 // pixels
	largestTile = 768 // pixels
)

// maxSide is the longest side of an image that is believed, in pixels: ten times what cameras have.
const maxSide = 100_000

// maxHeadBytes is how much of an image is read for its size: more than the largest colour profiles and previews take.
const maxHeadBytes = 1 << 20

// tiled bounds the tokens of an image in base64 by its size; ok is false where nobody can tell that.
func tiled(data string) (tokens int64, ok bool) {
	pixels := base64.NewDecoder(base64.StdEncoding, strings.NewReader(data))
	size, _, err := image.DecodeConfig(io.LimitReader(pixels, maxHeadBytes))
	if err != nil || size.Width <= 0 || size.Height <= 0 || size.Width > maxSide || size.Height > maxSide {
		return 0, false
	}
	if size.Width <= oneTile && size.Height <= oneTile {
		return tileTokens, true
	}
	side := max(1, min(largestTile, min(size.Width, size.Height)*2/3))
	across, down := (size.Width+side-1)/side, (size.Height+side-1)/side
	return (int64(across)*int64(down) + 1) * tileTokens, true
}
