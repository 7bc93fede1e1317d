package gemini

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// soundTokens are the tokens of a second of sound, at most (https://ai.google.dev/gemini-api/docs/tokens).
const soundTokens = 32

// The head of a WAV file: RIFF, its size, WAVE, and the chunk that says how its samples are written, which comes first
// in what recorders and players write.
const (
	wavHeadBytes = 36
	pcm          = 1 // samples as they are, uncompressed
)

// wavTypes are the media types of such files.
var wavTypes = []string{"audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"}

// wavTokens bounds the tokens of a WAV file in base64, which is as long as its bytes at the rate that its head
// tells. ok is false for any other sound: compressed silence takes next to no bytes, so that a size bounds nothing.
func wavTokens(mime, data string) (tokens int64, ok bool) {
	if !slices.Contains(wavTypes, mime) {
		return 0, false
	}
	const encoded = (wavHeadBytes + 2) / 3 * 4
	if len(data) < encoded {
		return 0, false
	}
	head, err := base64.StdEncoding.DecodeString(data[:encoded])
	if err != nil || len(head) < wavHeadBytes || string(head[:4]) != "RIFF" || string(head[8:16]) != "WAVEfmt " || binary.LittleEndian.Uint16(head[20:]) != pcm {
		return 0, false
	}
	samples, frame := int64(binary.LittleEndian.Uint32(head[24:])), int64(binary.LittleEndian.Uint16(head[32:]))
	channels, bits := int64(binary.LittleEndian.Uint16(head[22:])), int64(binary.LittleEndian.Uint16(head[34:]))
	rate := min(samples*frame, int64(binary.LittleEndian.Uint32(head[28:])), samples*channels*((bits+7)/8))
	if rate <= 0 {
		return 0, false
	}
	seconds := int64(base64.StdEncoding.DecodedLen(len(data)))/rate + 1
	return seconds * soundTokens, true
}
