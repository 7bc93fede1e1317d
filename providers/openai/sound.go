package openai

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// sound is what a request for speech or a transcription says of it.
type sound struct {
	characters int64 // that are to be spoken
	lasts      int64 // how long speaking them can take, in milliseconds, at the plain speed
	speed      int64 // in thousandths, 0 where it is not said
	recorded   int64 // how long the recording can be, in milliseconds
	brought    bool  // there is a recording
}

// speechMembers are those of a request for speech
// (https://platform.openai.com/docs/api-reference/audio/createSpeech).
var speechMembers = map[string]wire.Reader[*parser]{
	"input":           (*parser).spoken,
	"instructions":    (*parser).promptText,
	"voice":           (*parser).voice,
	"response_format": (*parser).label,
	"stream_format":   (*parser).streamFormat,
	"speed":           (*parser).speed,
}

// voice reads a name, or the id of one that is stored.
func (p *parser) voice(name string) error {
	if p.Peek() != '{' {
		return p.label(name)
	}
	return voiceLevel.Object(p, name)
}

var voiceLevel = wire.NewLevel(noted("voice"), map[string]wire.Reader[*parser]{"id": scalarAt("voice")})

// streamFormat notes that the answer is a stream of events.
func (p *parser) streamFormat(name string) error {
	var format string
	err := p.Word(&format, name)
	p.Stream = p.Stream || format == "sse"
	return err
}

// spoken reads the text that is to be spoken.
func (p *parser) spoken(name string) error {
	before := len(p.Texts)
	err := p.text(name)
	for _, text := range p.Texts[before:] {
		p.sound.characters += int64(utf8.RuneCountInString(text))
		p.sound.lasts += speaking(text)
	}
	return err
}

// Limits of the speed of speech, in thousandths.
const (
	leastSpeed = 250
	mostSpeed  = 4000
)

func (p *parser) speed(name string) error {
	at, err := p.Skip()
	if err != nil {
		return err
	}
	value := p.Scanner.Body[at.Start:at.End]
	speed := wire.Amount(wire.Parse(value), 3)
	if string(value) != "null" && (value[0] == '"' || speed.Odd || speed.N < leastSpeed || speed.N > mostSpeed) {
		return wire.Errorf(name, "%s must be a number from 0.25 to 4", name)
	}
	p.sound.speed = max(0, speed.N-1) // it was rounded up
	return nil
}

// How long speaking takes, in milliseconds a character: eight letters a second is slow
// speech. A figure, a sign that has a name, a capital, which may be spelled, or a character of
// a script that writes whole syllables or words takes as long as four letters.
const (
	letterTime = 125
	signTime   = 4 * letterTime
)

// speaking is how long slow speech of a text takes, in milliseconds.
func speaking(text string) (lasts int64) {
	for _, c := range text {
		if c < firstSyllabic && (unicode.IsLetter(c) && !unicode.IsUpper(c) || unicode.IsSpace(c) || strings.ContainsRune(silent, c)) {
			lasts += letterTime
		} else {
			lasts += signTime
		}
	}
	return lasts
}

// silent are signs that are not spoken by their names.
const silent = `.,;:!?'"()-`

// firstSyllabic begins the scripts of East Asia.
const firstSyllabic = 0x1100

// transcriptionMembers are those of a request for what a recording says, or that in English
// (https://platform.openai.com/docs/api-reference/audio/createTranscription).
var transcriptionMembers = map[string]wire.Reader[*parser]{
	"prompt":                   (*parser).promptText,
	"language":                 (*parser).label,
	"response_format":          (*parser).label,
	"temperature":              (*parser).label,
	"include":                  (*parser).stops,
	"timestamp_granularities":  (*parser).stops,
	"chunking_strategy":        (*parser).stops,
	"known_speaker_names":      (*parser).stops,
	"known_speaker_references": (*parser).speakers,
	"keywords":                 (*parser).promptTexts,
	"languages":                (*parser).stops,
}

// speakerTime is how long a sample of a speaker's voice can be, in milliseconds.
const speakerTime = 10_000

// speakers reads samples of voices, which are listened to as the recording is.
func (p *parser) speakers(name string) error {
	return p.Array(name, func() error {
		p.sound.recorded += speakerTime
		return p.label(name)
	})
}

// soundMaker is how a model that speaks or listens is billed.
type soundMaker struct {
	model string
	bound func(o *mediaOffer) *providers.Unbounded
}

// soundMakers are OpenAI's, by its pages of models and prices.
var soundMakers = map[Endpoint][]soundMaker{
	Speech:         {{"tts-1", (*mediaOffer).byCharacters}, {"gpt-4o-mini-tts", (*mediaOffer).bySpeech}},
	Transcriptions: {{"whisper", (*mediaOffer).byTime}, {"gpt-transcribe", (*mediaOffer).byTime}, {"gpt-4o-transcribe", (*mediaOffer).byTokens}, {"gpt-4o-mini-transcribe", (*mediaOffer).byTokens}},
	Translations:   {{"whisper", (*mediaOffer).byTime}},
}

// boundSound bounds what is spoken, or written down.
func (o *mediaOffer) boundSound() *providers.Unbounded {
	r := o.request
	if slices.Contains(exactProviders, o.terms.Provider) {
		for _, m := range soundMakers[r.Endpoint] {
			if rest, found := strings.CutPrefix(bareModel(r.Model), m.model); found && (rest == "" || rest[0] == '-') {
				return m.bound(o)
			}
		}
	}
	switch {
	case !o.terms.Priced:
		return providers.NoBound("", "nothing published tells what model "+strconv.Quote(r.Model)+" bills at provider "+strconv.Quote(o.terms.Provider)+
			"; a price of the policy's own does", providers.Line{Text: "price: {" + o.billedBy().String() + `: "N"}`, At: providers.AtModel})
	case r.Endpoint == Speech:
		return o.byCharacters()
	}
	return o.byTime()
}

// billedBy is the unit that a model is billed by where the operator's own price says so.
func (o *mediaOffer) billedBy() call.Unit {
	if o.request.Endpoint == Speech {
		return call.CharactersIn
	}
	return call.AudioTimeIn
}

// byCharacters bounds speech that is billed by the characters that are spoken.
func (o *mediaOffer) byCharacters() *providers.Unbounded {
	o.spoken = o.request.sound.characters
	o.fee(call.CharactersIn, o.spoken)
	return nil
}

// Tokens of a second of speech, in thousandths: 1,250 a minute.
const speechTokens = 1_250_000 / 60

// bySpeech bounds speech that is billed by its tokens.
func (o *mediaOffer) bySpeech() *providers.Unbounded {
	s := &o.request.sound
	lasts := s.lasts
	if s.speed > 0 && s.speed < 1000 {
		lasts = lasts * 1000 / s.speed
	}
	o.input(promptOverhead, 0)
	o.output(lasts*speechTokens/1_000_000+1, call.Of(call.AudioOutput))
	return nil
}

// Most tokens that a model which bills them reads and writes of one recording, however long
// (https://platform.openai.com/docs/models/gpt-4o-transcribe).
const (
	heardTokens   = 16_000
	writtenTokens = 2_000
)

// byTokens bounds a transcription that is billed by its tokens. So many are read of a second.
func (o *mediaOffer) byTokens() *providers.Unbounded {
	o.input(min(heardTokens, o.request.sound.recorded*heardPerSecond/1000+promptOverhead), call.Of(call.AudioInput, call.CachedAudioInput))
	o.output(writtenTokens, call.Of(call.Output, call.Reasoning))
	return nil
}

// heardPerSecond is more than the ten tokens that were seen of a second.
const heardPerSecond = 32

// byTime bounds a transcription that is billed by the second.
func (o *mediaOffer) byTime() *providers.Unbounded {
	const second = 1000
	o.timed = true
	o.fee(call.AudioTimeIn, (o.request.sound.recorded+second-1)/second*second)
	return nil
}

// Bytes of a second of the thinnest recordings, by their containers: a constant bit rate of
// 8 kbit/s in MP3 and AAC, 6 kbit/s in Opus.
const (
	thinMP3  = 1_000
	thinOpus = 750
)

// lasting is how long a recording can be, in milliseconds.
func lasting(data []byte) int64 {
	rate := int64(thinOpus)
	switch {
	case bytes.HasPrefix(data, []byte("RIFF")):
		if own, ok := wavRate(data); ok {
			rate = own
		}
	case bytes.HasPrefix(data, []byte("fLaC")):
		return max(flacTime(data), int64(len(data))*1000/thinOpus)
	case bytes.HasPrefix(data, []byte("ID3")), len(data) > 1 && data[0] == 0xff && data[1]&0xe0 == 0xe0,
		len(data) > 8 && string(data[4:8]) == "ftyp":
		rate = thinMP3
	}
	return int64(len(data))*1000/rate + 1000
}

// wavRate is how many bytes a WAV file of plain samples has of a second: so many samples of so
// many bytes. The rate of bytes, which it tells too, no decoder of plain samples reads.
func wavRate(data []byte) (rate int64, ok bool) {
	const fmtChunk = 12 // behind RIFF, a size and WAVE
	if len(data) < fmtChunk+24 || string(data[8:16]) != "WAVEfmt " {
		return 0, false
	}
	chunk := data[fmtChunk+8:]
	format, channels := binary.LittleEndian.Uint16(chunk), int64(binary.LittleEndian.Uint16(chunk[2:]))
	samples, frame := int64(binary.LittleEndian.Uint32(chunk[4:])), int64(binary.LittleEndian.Uint16(chunk[12:]))
	depth := int64(binary.LittleEndian.Uint16(chunk[14:]))
	size := binary.LittleEndian.Uint32(data[fmtChunk+4:])
	if format == wavExtensible && size >= 40 && len(chunk) >= 40 && string(chunk[26:40]) == wavSubformat {
		format = binary.LittleEndian.Uint16(chunk[24:])
	}
	plain := (format == wavInteger || format == wavFloat) && frame == channels*((depth+7)/8)
	return samples * frame, plain && samples*frame > 0
}

// Formats of a WAV file: two whose samples are plain, and one that names its format behind, with
// an end that all such names share.
const (
	wavInteger    = 1
	wavFloat      = 3
	wavExtensible = 0xfffe
	wavSubformat  = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
)

// flacTime is how long a FLAC file says that it is, in milliseconds (RFC 9639, section 8.2).
func flacTime(data []byte) int64 {
	const info = 8 // behind fLaC and the head of its first block
	if len(data) < info+18 {
		return 0
	}
	packed := binary.BigEndian.Uint64(data[info+10:]) // 20 bits of rate, 3 of channels, 5 of depth, 36 of samples
	rate, samples := int64(packed>>44), int64(packed&(1<<36-1))
	if rate == 0 {
		return 0
	}
	return samples * 1000 / rate
}
