package providers

import (
	"bytes"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// parser fills a Request from one pass of its scanner.
type parser struct {
	*scanner
	*Request
}

func (p *parser) request() error {
	if p.Endpoint != ChatCompletions && p.Endpoint != Completions && p.Endpoint != Embeddings {
		return parseErrorf("", "%s takes no request body", p.Endpoint)
	}
	if err := checkEncoding(p.scanner.body); err != nil {
		return err
	}
	p.members = make([]member, 0, 16)
	err := p.object("", func(name string) error {
		at, start := p.name, p.valueStart()
		if err := p.field(name); err != nil {
			return err
		}
		p.members = append(p.members, member{name, at, span{start, p.offset()}})
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.scanner.end(); err != nil {
		return err
	}
	return p.finish()
}

// valueStart is where the value begins whose name was just read.
func (p *parser) valueStart() int {
	rest := p.scanner.body[p.offset():]
	return len(p.scanner.body) - len(bytes.TrimLeft(rest, " \t\r\n:"))
}

// field reads one member of the body.
func (p *parser) field(name string) error {
	if read, err := p.commonField(name); read || err != nil {
		return err
	}
	switch p.Endpoint {
	case ChatCompletions:
		return p.chatField(name)
	case Completions:
		return p.completionsField(name)
	default:
		return p.embeddingsField(name)
	}
}

// commonField reads the members that every endpoint has, and those that mean
// the same wherever they appear.
func (p *parser) commonField(name string) (read bool, err error) {
	switch name {
	case "model":
		err = p.model()
	case "stream":
		p.Stream, err = p.optionalBool(name)
	case "stream_options":
		err = p.streamOptions()
	case "n":
		err = p.count(name, 1, &p.n)
	case "best_of":
		err = p.count(name, 0, &p.bestOf)
	case FieldMaxTokens, FieldMaxCompletionTokens:
		err = p.outputCap(name)
	case "service_tier":
		p.ServiceTier, err = p.optionalString(name)
	case "store":
		p.Store, err = p.optionalBool(name)
	case "reasoning_effort":
		p.ReasoningEffort, err = p.optionalString(name)
	case "logprobs", "top_logprobs":
		err = p.logprobs()
	case "cache_control":
		p.CacheControl = true
		err = p.unknown()
	case "user", "safety_identifier", "metadata", "logit_bias", "stop",
		"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options":
		_, err = p.skip() // never part of the prompt
	default:
		return p.billedField(name)
	}
	return true, err
}

// billedField reads extensions of compatible servers that can cost more than
// the body shows: searches, other models, prompts stored elsewhere.
func (p *parser) billedField(name string) (read bool, err error) {
	switch name {
	case "web_search_options", // OpenAI
		"data_sources",                    // Azure
		"search_parameters",               // xAI
		"enable_search", "search_options", // Alibaba
		"plugins", "models", "provider", "preset", // OpenRouter
		"compound_custom", "search_settings", // Groq
		"previous_response_id", "conversation", // Responses API
		"background", "deferred", // answered elsewhere, past the meter
		"chat_template", "mm_processor_kwargs", // vLLM
		"n_predict": // llama.cpp, where it overrides the cap
		return true, p.unboundedUnlessOff(name)
	}
	return false, nil
}

// unboundedUnlessOff reads a value that makes the cost unbounded unless it is
// null or false.
func (p *parser) unboundedUnlessOff(reason string) error {
	kind := p.dec.PeekKind()
	if _, err := p.skip(); err != nil {
		return err
	}
	if kind != 'n' && kind != 'f' {
		p.unbounded(reason)
	}
	return nil
}

// logprobs reads a flag in chats, a count in completions.
func (p *parser) logprobs() error {
	kind := p.dec.PeekKind()
	p.Logprobs = p.Logprobs || kind != 'n' && kind != 'f'
	return p.unknown()
}

func (p *parser) model() error {
	if err := p.expect("model", '"', "a string"); err != nil {
		return err
	}
	var err error
	p.Model, err = p.scanner.string()
	if err != nil {
		return err
	}
	if p.Model == "" || len(p.Model) > MaxModelBytes {
		return parseErrorf("model", "model must have 1 to %d bytes", MaxModelBytes)
	}
	return nil
}

func (p *parser) count(name string, low int64, into *int64) error {
	v, ok, err := p.optionalInteger(name, low, MaxChoices)
	if ok {
		*into = v
	}
	return err
}

// outputCap reads a cap. A cap of 0 means no output at OpenAI's completions, and
// no cap at all at some servers.
func (p *parser) outputCap(name string) error {
	tokens, set, err := p.optionalInteger(name, 0, MaxCap)
	if err != nil {
		return err
	}
	if set && tokens == 0 {
		if p.Endpoint == ChatCompletions {
			return parseErrorf(name, "%s must be from 1 to %d", name, int64(MaxCap))
		}
		p.unbounded(UnboundedZeroCap)
	}
	p.caps[capIndex(name)] = outputCap{tokens, set}
	return nil
}

func (p *parser) streamOptions() error {
	const param = "stream_options"
	if null, err := p.null(); null || err != nil {
		return err
	}
	return p.object(param, func(name string) error {
		start := p.valueStart()
		err := p.streamOption(name)
		p.includes.last = p.offset()
		if name == "include_usage" {
			p.includes.value = span{start, p.offset()}
		}
		return err
	})
}

func (p *parser) streamOption(name string) error {
	if name != "include_usage" {
		_, err := p.skip()
		return err
	}
	var err error
	p.IncludeUsage, err = p.optionalBool("stream_options.include_usage")
	return err
}

// text adds the string that comes next to the texts; null adds none.
func (p *parser) text(param string) error {
	if null, err := p.null(); null || err != nil {
		return err
	}
	if err := p.expect(param, '"', "a string"); err != nil {
		return err
	}
	return p.addText(param)
}

// addText adds the string that comes next.
func (p *parser) addText(param string) error {
	text, err := p.scanner.string()
	if err != nil {
		return err
	}
	if len(p.Texts) == MaxTexts {
		return parseErrorf(param, "request has more than %d texts", MaxTexts)
	}
	p.Texts = append(p.Texts, text)
	return nil
}

// rendered reads any value that a template may write into the prompt as JSON.
func (p *parser) rendered() error {
	at, err := p.skip()
	p.load.rendered += renderedBytes(p.scanner.body[at.start:at.end])
	return err
}

// unknown reads a member that this dialect does not know. A number or a boolean
// cannot add to a prompt.
func (p *parser) unknown() error {
	switch p.dec.PeekKind() {
	case '{', '[', '"':
		return p.rendered()
	}
	_, err := p.skip()
	return err
}

// finish checks what is required and computes what depends on several fields.
func (p *parser) finish() error {
	if _, ok := p.member("model"); !ok {
		return parseErrorf("model", "model is missing")
	}
	if _, ok := p.member("messages"); !ok && p.Endpoint == ChatCompletions {
		return parseErrorf("messages", "messages is missing")
	}
	if _, ok := p.member("input"); !ok && p.Endpoint == Embeddings {
		return parseErrorf("input", "input is missing")
	}
	if p.Endpoint != Embeddings {
		p.Choices = p.prompts * max(p.n, p.bestOf)
		p.MultipleChoices = max(p.n, p.bestOf) > 1
	}
	if strings.Contains(names.Fold(p.Model), "-search-") {
		p.unbounded(UnboundedWebSearch) // these models search without being asked
	}
	return p.nameResults()
}
