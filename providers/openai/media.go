package openai

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/bill"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// mediaBody is the body of an operation on images or sound. What it does not list has no
// bound.
func mediaBody(own map[string]wire.Reader[*parser]) *wire.Level[*parser] {
	own["model"] = func(p *parser, _ string) error { return p.model() }
	own["stream"] = func(p *parser, name string) error { return p.Flag(&p.Stream, name) }
	own["user"] = (*parser).label
	own["safety_identifier"] = (*parser).label
	return wire.NewLevel((*parser).unlisted, own)
}

// promptText reads a text that becomes input.
func (p *parser) promptText(name string) error { return p.text(name) }

// promptTexts reads one text that becomes input, or several.
func (p *parser) promptTexts(name string) error {
	if p.Peek() != '[' {
		return p.text(name)
	}
	return p.Array(name, func() error { return p.text(name) })
}

// finishMedia checks what is required.
func (p *parser) finishMedia() error {
	required := map[Endpoint]string{GenerateImages: "prompt", EditImages: "prompt", Speech: "input"}[p.Endpoint]
	if _, ok := p.members.Find(required); !ok && required != "" {
		return wire.Errorf(required, "%s is missing", required)
	}
	switch {
	case p.Endpoint == EditImages && len(p.drawing.given) == 0:
		return wire.Errorf("image", "there is no image to edit")
	case p.Endpoint.wantsForm() && !p.sound.brought:
		return wire.Errorf("file", "there is no recording")
	}
	return nil
}

// mediaOn bounds an operation on images or sound. A run writes nothing that a cap would
// lower: what it makes is known from its request.
func (r *Request) mediaOn(t providers.Terms) (providers.Offer, error) {
	o := &mediaOffer{offer: offer{request: r, terms: t}}
	bound := o.boundSound
	if r.Endpoint.draws() {
		bound = o.boundDrawing
	}
	if no := r.NoBound(&t).Join(bound()); no != nil {
		return nil, no
	}
	return o, nil
}

// mediaOffer is an operation on images or sound on one upstream.
type mediaOffer struct {
	offer
	spoken int64 // characters that are billed, which no answer tells; 0: none are
	timed  bool  // it is bounded by how long a recording is, and by no tokens
}

// input sets what the model reads: some texts, and so many tokens more, of any of some kinds.
func (o *mediaOffer) input(more int64, kinds call.Kinds) {
	o.bound.Input = providers.Input{
		Part: call.Part{Fixed: more, Texts: o.request.Texts, Kinds: call.Of(call.Input, call.CachedInput) | kinds}, Contexts: 1,
	}
}

// output sets what the model writes, in tokens of any of some kinds.
func (o *mediaOffer) output(tokens int64, kinds call.Kinds) {
	o.bound.Output = providers.Output{Part: call.Part{Fixed: tokens, Kinds: kinds}, Choices: 1}
}

// fee sets what is billed by number.
func (o *mediaOffer) fee(u call.Unit, n int64) {
	var usage call.Usage
	usage[u] = n
	o.bound.Beside = append(o.bound.Beside, call.Line{Usage: usage})
}

// Send sends the body as it came, but for a model that is an alias.
func (o *mediaOffer) Send(int64) providers.Sent {
	r := o.request
	header, betas := forward(&o.terms, r.head.Header)
	body := r.body
	if r.form != nil {
		body = r.form
		header["Content-Type"] = r.head.Header["Content-Type"]
	} else {
		header["Content-Type"] = []string{"application/json"}
	}
	endpoint, spoken, images, timed, amounts := r.Endpoint, o.spoken, r.n, o.timed, bill.Of(o.terms.Provider)
	return providers.Sent{
		Path: "/" + endpoint.String(), Query: r.query, Header: header,
		Removed: providers.Removed{Betas: betas},
		Body:    wire.Apply(body, r.rename()),
		Meter: func(a providers.Answer) providers.Meter {
			m := newMediaMeter(endpoint, a)
			m.spoken, m.images, m.timed, m.amounts = spoken, images, timed, amounts
			return m
		},
	}
}
