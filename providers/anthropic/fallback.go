package anthropic

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// fallback is a model that runs where those before it declined.
type fallback struct {
	model     string
	maxTokens int64 // 0: the request's
	fast      bool
}

// maxFallbacks bounds the list, which has a few.
const maxFallbacks = 16

// fallbackLevel is one fallback. What it says of thinking and the output stays within its
// own cap.
var fallbackLevel = level("fallbacks", map[string]wire.Reader[*parser]{
	"model":         func(p *parser, _ string) error { return p.Word(&p.next.model, "fallbacks.model") },
	"max_tokens":    (*parser).fallbackCap,
	"speed":         (*parser).fallbackSpeed,
	"thinking":      (*parser).skipped,
	"output_config": func(p *parser, name string) error { return outputLevel.Optional(p, name) },
})

// fallbackList reads models that run where the one asked for declines. Which ones the API
// would choose by itself nobody knows.
func (p *parser) fallbackList(name string) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	if p.Peek() == '"' {
		return p.cost(name, "which other models may run is not said")
	}
	return p.Array(name, p.readFallback)
}

func (p *parser) readFallback() error {
	p.next = fallback{}
	if err := fallbackLevel.Object(p, "fallbacks"); err != nil {
		return err
	}
	if p.next.model == "" || len(p.next.model) > providers.MaxModelBytes {
		return wire.Errorf("fallbacks.model", "a fallback's model must have 1 to %d bytes", providers.MaxModelBytes)
	}
	if len(p.fallbacks) == maxFallbacks {
		return wire.Errorf("fallbacks", "request has more than %d fallbacks", maxFallbacks)
	}
	p.next.model = strings.Clone(p.next.model)
	p.fallbacks = append(p.fallbacks, p.next)
	return nil
}

func (p *parser) fallbackCap(string) (err error) {
	p.next.maxTokens, _, err = p.OptionalInteger("fallbacks.max_tokens", 1, providers.MaxCap)
	return err
}

func (p *parser) fallbackSpeed(string) error {
	var speed string
	err := p.Word(&speed, "fallbacks.speed")
	switch p.next.fast = speed == fastSpeed; {
	case speed != "" && speed != standardSpeed && !p.next.fast:
		p.doubts.Costs(call.ExtraMember, "fallbacks.speed", "what it costs is not known")
	}
	return err
}

// fellBack reports whether a model that answered is another one than was asked for first.
// Its name may be longer than the one that was sent, by a date.
func (a *asked) fellBack(model string) bool {
	is := func(name string) bool { return model == name || strings.HasPrefix(model, name+"-20") }
	return !is(a.model) && slices.ContainsFunc(a.others, func(f fallback) bool { return is(f.model) })
}

// fallBack adds a run for each fallback. It reads the request, and what those before it
// wrote.
func (o *offer) fallBack() *providers.Unbounded {
	r, t, in := o.request, &o.terms, &o.bound.Input
	written := r.maxTokens
	for _, f := range r.fallbacks {
		if r.load.pages > 0 && t.MaxDocument == 0 || r.summaries > 0 {
			return o.hiddenFromFallbacks()
		}
		input := in.Fixed + in.Bytes() + written
		if r.load.images > 0 { // another model may read them larger
			each := imageTokens(f.model, t)
			if each <= 0 || each > providers.MaxCap/r.load.images {
				return providers.NoBound("fallbacks", "the tokens of an image are not known for "+strconv.QuoteToASCII(f.model), providers.Bounds("max_image_tokens")...)
			}
			input += r.load.images * each
		}
		run := call.Line{Key: call.Key{Model: f.model}, Usage: call.Usage{call.Input: input, call.Output: cmp.Or(f.maxTokens, r.maxTokens)}}
		if f.fast {
			run.Service = fastSpeed
		}
		o.bound.Beside = append(o.bound.Beside, run)
		written += run.Usage[call.Output]
	}
	return nil
}

// hiddenFromFallbacks says why nobody knows what another model would read.
func (o *offer) hiddenFromFallbacks() *providers.Unbounded {
	if o.request.summaries > 0 {
		return providers.NoBound("fallbacks", "what another model reads is not shown, because of compaction")
	}
	return providers.NoBound("fallbacks", "what another model reads is not shown, because of "+o.request.hidden, providers.Bounds("max_document_tokens")...)
}
