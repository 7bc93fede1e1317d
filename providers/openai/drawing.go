package openai

import (
	"bytes"
	"encoding/base64"
	"image"
	_ "image/gif"  // whose sizes are read
	_ "image/jpeg" // whose sizes are read
	_ "image/png"  // whose sizes are read
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// drawing is what a request for images says of them.
type drawing struct {
	size, quality, fidelity string
	partials                int64
	given                   []image.Config // images to edit, and the mask; without a size where it is not known
}

// MaxGivenImages is how many images one edit may bring, its mask among them; OpenAI takes 16
// and a mask.
const MaxGivenImages = 32

// maxPartials is how many unfinished images OpenAI sends on the way to one.
const maxPartials = 3

// UnboundedImageFormat is a format of images whose cost does not show.
const UnboundedImageFormat = "output_format"

// drawingMembers are those of requests for images
// (https://platform.openai.com/docs/api-reference/images).
var drawingMembers = map[string]wire.Reader[*parser]{
	"prompt":             (*parser).promptText,
	"n":                  func(p *parser, name string) error { return p.count(name, 1, &p.n) },
	"size":               func(p *parser, name string) error { return p.Word(&p.drawing.size, name) },
	"quality":            func(p *parser, name string) error { return p.Word(&p.drawing.quality, name) },
	"input_fidelity":     func(p *parser, name string) error { return p.Word(&p.drawing.fidelity, name) },
	"partial_images":     (*parser).partialImages,
	"output_format":      (*parser).imageFormat,
	"images":             (*parser).givenImages,
	"mask":               func(p *parser, name string) error { return givenLevel.Object(p, name) },
	"background":         (*parser).label,
	"moderation":         (*parser).label,
	"output_compression": (*parser).label,
	"response_format":    (*parser).label,
	"style":              (*parser).label,
}

func (p *parser) partialImages(name string) error {
	n, _, err := p.OptionalInteger(name, 0, maxPartials)
	p.drawing.partials = n
	return err
}

// imageFormat notes a format that costs more than a picture.
func (p *parser) imageFormat(name string) error {
	var format string
	if err := p.Word(&format, name); err != nil {
		return err
	}
	if !slices.Contains([]string{"", "png", "jpeg", "webp"}, format) {
		p.unbounded(UnboundedImageFormat)
	}
	return nil
}

func (p *parser) givenImages(name string) error {
	return p.Array(name, func() error { return givenLevel.Object(p, name) })
}

// givenLevel is an image in a JSON body.
var givenLevel = wire.NewLevel(noted("images"), map[string]wire.Reader[*parser]{
	"image_url": func(p *parser, name string) error {
		url, err := p.OptionalString("images.image_url")
		if err != nil || url == "" {
			return err
		}
		return p.give(sizeOfURL(url))
	},
	"file_id": func(p *parser, _ string) error {
		p.extra(call.ExtraMember, "images.file_id", true)
		return p.skipped("file_id")
	},
})

// give notes an image.
func (r *Request) give(size image.Config) error {
	if len(r.drawing.given) == MaxGivenImages {
		return wire.Errorf("image", "request has more than %d images", MaxGivenImages)
	}
	r.drawing.given = append(r.drawing.given, size)
	return nil
}

// sizeOfURL is the size of an image in a data URL; none where it does not show.
func sizeOfURL(url string) image.Config {
	head, data, found := strings.Cut(url, ",")
	if !found || !strings.HasPrefix(head, "data:") || !strings.HasSuffix(head, ";base64") {
		return image.Config{}
	}
	return sizeOf(base64.NewDecoder(base64.StdEncoding, strings.NewReader(data)))
}

// sizeOf is the size of an image that is a PNG, a JPEG or a GIF.
func sizeOf(r io.Reader) image.Config {
	size, _, err := image.DecodeConfig(r)
	if err != nil || size.Width <= 0 || size.Height <= 0 {
		return image.Config{}
	}
	return image.Config{Width: size.Width, Height: size.Height}
}

// boundDrawing bounds images that are made.
func (o *mediaOffer) boundDrawing() *providers.Unbounded {
	r, t := o.request, &o.terms
	maker, known := makerOf(bareModel(r.Model))
	if !known || !slices.Contains(exactProviders, t.Provider) {
		return providers.NoBound("", "nothing published tells how many tokens an image of model "+strconv.Quote(r.Model)+" has at provider "+strconv.Quote(t.Provider))
	}
	var given int64
	for _, size := range r.drawing.given {
		given += max(maker.reads(size, r.drawing.fidelity), t.MaxImage)
	}
	o.input(given+promptOverhead, call.Of(call.ImageInput, call.CachedImageInput))
	each := maker.draws(r.drawing.size, r.drawing.quality) + r.drawing.partials*partialTokens
	o.output(r.n*each+maker.writes, call.Of(call.ImageOutput, call.Output, call.Reasoning))
	return nil
}

// Tokens of images that depend on no size.
const (
	promptOverhead = 64  // more than was seen beside the prompt's own
	partialTokens  = 100 // of one that is unfinished (OpenAI, "Image generation", partial images)

	// givenTokens are those of an image that newer models read, for which nothing is published: a
	// hundred times what was seen of a small one.
	givenTokens = 6_500
	// plannedTokens are of text that gpt-image-1.5 writes beside its images, of which at
	// most 308 were seen; nothing published bounds it.
	plannedTokens = 2_000
)

// imageMaker is what images of one model come to, in tokens.
type imageMaker struct {
	model string
	// grades are the qualities that it knows: by the steps of the formula of newer models, or
	// the tokens of a square, an upright and a broad image of older ones.
	grades map[string][]int64
	writes int64 // of text
}

// steps are the shares of a quality in the formula of newer models.
func steps(qualities map[string]int64) map[string][]int64 {
	grades := map[string][]int64{}
	for name, n := range qualities {
		grades[name] = []int64{n}
	}
	return grades
}

var oldGrades = map[string][]int64{"low": {272, 408, 400}, "medium": {1056, 1584, 1568}, "high": {4160, 6240, 6208}}

// imageMakers are OpenAI's models that make images, from its guide "Image generation"
// (https://platform.openai.com/docs/guides/image-generation) and the calculator there.
var imageMakers = []imageMaker{
	{model: "gpt-image-1", grades: oldGrades},
	{model: "gpt-image-1.5", grades: oldGrades, writes: plannedTokens},
	{model: "chatgpt-image", grades: oldGrades, writes: plannedTokens},
	{model: "gpt-image-2", grades: steps(map[string]int64{"low": 16, "medium": 48, "high": 96})},
	{model: "gpt-image-2.5", grades: steps(map[string]int64{"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96})},
	{model: "gpt-image-2.6", grades: steps(map[string]int64{"low": 16, "medium": 48, "high": 96, "xhigh": 96, "max": 96})},
}

// makerOf finds the maker with the longest name that begins the model's, up to a dash.
func makerOf(model string) (maker imageMaker, ok bool) {
	for _, m := range imageMakers {
		rest, found := strings.CutPrefix(model, m.model)
		if found && (rest == "" || rest[0] == '-') && len(m.model) > len(maker.model) {
			maker, ok = m, true
		}
	}
	return maker, ok
}

// older reports whether a model's images come in three sizes.
func (m *imageMaker) older() bool { return len(m.grades["low"]) > 1 }

// draws is the most tokens of one image of a size and quality; what is left to the model
// is the most of all.
func (m *imageMaker) draws(size, quality string) (most int64) {
	for name, grade := range m.grades {
		if name != quality && m.grades[quality] != nil {
			continue
		}
		if m.older() {
			most = max(most, oldTokens(grade, size))
		} else {
			most = max(most, newTokens(grade[0], size))
		}
	}
	return most
}

// oldTokens are those of an image of an older model.
func oldTokens(grade []int64, size string) int64 {
	sizes := []string{"1024x1024", "1024x1536", "1536x1024"}
	if i := slices.Index(sizes, size); i >= 0 {
		return grade[i]
	}
	return slices.Max(grade)
}

// Limits of an image of a newer model.
const (
	minPixels = 655_360
	maxPixels = 8_294_400
	maxEdge   = 3_840
	maxRatio  = 3 // of its long side to its short one
)

// newTokens are those of an image of a newer model: q × round(q × short / long) × (2,000,000 +
// pixels) / 4,000,000, rounded up. A square at the limit of pixels has the most.
func newTokens(q int64, size string) int64 {
	w, h, ok := pixels(size)
	if !ok {
		return (q*q*(2_000_000+maxPixels) + 3_999_999) / 4_000_000
	}
	long, short := max(w, h), min(w, h)
	return (q*((2*q*short+long)/(2*long))*(2_000_000+w*h) + 3_999_999) / 4_000_000
}

// pixels reads a size that a newer model can have. For others nothing tells that the formula
// holds, by which a long and thin image has no tokens.
func pixels(size string) (w, h int64, ok bool) {
	width, height, found := strings.Cut(size, "x")
	w, errW := strconv.ParseInt(width, 10, 16)
	h, errH := strconv.ParseInt(height, 10, 16)
	if !found || errW != nil || errH != nil || min(w, h) <= 0 {
		return 0, 0, false
	}
	long, short := max(w, h), min(w, h)
	return w, h, long <= maxEdge && long <= maxRatio*short && w*h >= minPixels && w*h <= maxPixels
}

// Tokens of an image that an older model reads: a base and so many for each tile of 512 pixels,
// after its short side was made 512, and more where all of it is to be kept
// (OpenAI, "Images and vision", calculating costs, GPT Image 1).
const (
	readBase     = 65
	readTile     = 129
	keptOther    = 6_144
	tileEdge     = 512
	unknownTiles = 32 // of an image whose size does not show: a WebP of its greatest length, 16,383 pixels, by 512
)

// reads is the most tokens of one image that a model is given.
func (m *imageMaker) reads(size image.Config, fidelity string) int64 {
	if !m.older() {
		return givenTokens
	}
	tokens, tiles := int64(readBase), int64(unknownTiles)
	if long, short := int64(max(size.Width, size.Height)), int64(min(size.Width, size.Height)); short > 0 {
		tiles = (long + short - 1) / short
	}
	if fidelity != "" && fidelity != "low" {
		tokens += keptOther
	}
	return tokens + tiles*readTile
}

// sizeOfFile is the size of an image in a form.
func sizeOfFile(data []byte) image.Config { return sizeOf(bytes.NewReader(data)) }
