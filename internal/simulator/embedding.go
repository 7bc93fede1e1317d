package simulator

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"math"
	"strings"
)

const (
	// defaultDimensions is the length of text-embedding-3-small's vectors.
	defaultDimensions = 1536

	// maxDimensions is the length of text-embedding-3-large's vectors.
	maxDimensions = 3072
)

type vector struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // []float32, or their base64
}

type embeddingBody struct {
	Object  string   `json:"object"`
	Data    []vector `json:"data"`
	Model   string   `json:"model"`
	Usage   any      `json:"usage,omitempty"`
	Padding string   `json:"padding,omitempty"`
}

// embeddings answers with one vector of unit length per input.
func embeddings(r *Request, a Answer, usage Usage) reply {
	body := embeddingBody{
		Object:  "list",
		Data:    []vector{},
		Model:   cmp.Or(a.Model, r.Model),
		Padding: strings.Repeat("x", a.PadBytes),
	}
	dimensions := min(cmp.Or(max(0, r.dimensions), defaultDimensions), maxDimensions)
	for i, input := range r.Inputs {
		v := vector{Object: "embedding", Index: i, Embedding: embed(input, dimensions)}
		if r.base64 {
			v.Embedding = inBase64(embed(input, dimensions))
		}
		body.Data = append(body.Data, v)
	}
	if !a.NoUsage {
		body.Usage = map[string]int64{"prompt_tokens": usage.Prompt, "total_tokens": usage.Prompt}
	}
	return document(body, usage, a)
}

// embed derives a vector from the text's hash: equal texts have equal vectors.
func embed(text string, dimensions int) []float32 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(text)) // a hash takes everything
	state := hash.Sum64()
	raw := make([]float64, dimensions)
	var squares float64
	for i := range raw {
		state = state*6364136223846793005 + 1442695040888963407 // Knuth's MMIX generator
		raw[i] = float64(int64(state)) / math.MaxInt64
		squares += raw[i] * raw[i]
	}
	unit := make([]float32, dimensions)
	for i, x := range raw {
		unit[i] = float32(x / math.Sqrt(squares))
	}
	return unit
}

// inBase64 is the encoding_format of that name: little-endian 32-bit floats.
func inBase64(v []float32) string {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
