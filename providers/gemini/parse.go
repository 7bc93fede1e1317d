package gemini

import (
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// parser reads one body.
type parser struct {
	*wire.Scanner
	*request
	part     part
	role     string // of the content at hand
	member   int    // the place of the one at hand, in an entry of tools
	function string // the name of the one at hand
}

// parse reads a body and a head. The error is a *providers.ParseError.
//
// It is strict where money depends on the meaning: no duplicate names in either spelling, no bad UTF-8, nothing after
// the object. What is not known is noted as having no bound.
func parse(op providers.Operation, h providers.Head, body []byte) (*request, error) {
	r := &request{operation: op.Operation, head: h, body: body, candidates: 1, prompts: 1}
	r.asked = modelOf(op)
	if r.model = r.asked; len(r.model) > providers.MaxModelBytes {
		return nil, wire.Errorf("model", "model must have 1 to %d bytes", providers.MaxModelBytes)
	}
	if strings.ContainsFunc(r.model, oddInPaths) {
		return nil, wire.Errorf("model", "the model in the path has a character that servers may read in more than one way: write letters, digits and . _ - @ / alone")
	}
	if err := wire.CheckEncoding(body); err != nil {
		return nil, err
	}
	p := &parser{Scanner: wire.NewScanner(body), request: r}
	defer p.Free()
	if err := p.Object("", p.topMember); err != nil {
		return nil, err
	}
	if err := p.End(); err != nil {
		return nil, err
	}
	if required := requiredOf[r.operation]; required != "" && !p.has(required) {
		return nil, wire.Errorf(required, "%s is required", required)
	}
	r.load.halves = wire.Halves(body)
	r.copied += p.Scanner.Copied
	return r, r.seeHead()
}

// requiredOf are the members without which an operation asks for nothing.
var requiredOf = map[string]string{
	generate: "contents", stream: "contents", call.EmbedContent: "content", call.BatchEmbedContents: "requests",
}

// has reports whether the body has a member.
func (r *request) has(name string) bool {
	_, ok := r.members.Find(name)
	return ok
}

// oddInPaths reports whether a character of a model's name may end it, or stand for another, where somebody reads the
// path anew.
func oddInPaths(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return !strings.ContainsRune("._-@/", c)
}

// modelOf is the model that the path names; one that somebody has tuned has its collection in front.
func modelOf(op providers.Operation) string {
	model := strings.Clone(op.Params["model"])
	collection, _, _ := strings.Cut(strings.TrimPrefix(op.Path, "/"), "/")
	if collection != "models" {
		return collection + "/" + model
	}
	return model
}

// Object reads an object in which no member stands in both its spellings.
func (p *parser) Object(place string, member func(name string) error) error {
	var seen map[string]bool // members of several words
	return p.Scanner.Object(place, func(name string) error {
		if plain := camel(name); plain != name || strings.ToLower(name) != name {
			if seen[plain] {
				return wire.Errorf(wire.Under(place, name), "%s and %s are one member; send one of them", plain, snake(plain))
			}
			if seen == nil {
				seen = map[string]bool{}
			}
			seen[plain] = true
		}
		return member(name)
	})
}

// camel is the spelling of a member with capitals, as the API's reference has it.
func camel(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	var b strings.Builder
	upper := false
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_' && i > 0:
			upper = true
		case upper && 'a' <= c && c <= 'z':
			b.WriteByte(c - 'a' + 'A')
			upper = false
		default:
			b.WriteByte(c)
			upper = false
		}
	}
	return b.String()
}

// snake is the spelling with underscores, as protobuf's own is.
func snake(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b.WriteByte('_')
			b.WriteByte(c - 'A' + 'a')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// reader reads the value of a member.
type reader = wire.Reader[*parser]

// level is an object whose members are known in both spellings; those that are in no list are noted.
func level(place string, members map[string]reader) *wire.Level[*parser] {
	both := make(map[string]reader, 2*len(members))
	for name, read := range members {
		both[name], both[snake(name)] = read, read
	}
	return wire.NewLevel(unlisted(place), both)
}

// unlisted reads a member that is in no list at its place. null is as good as absent.
func unlisted(place string) reader {
	return func(p *parser, name string) error {
		path := wire.Under(place, camel(name))
		at, err := p.Skip()
		if err != nil {
			return err
		}
		if value := p.Scanner.Body[at.Start:at.End]; value[0] != 'n' {
			p.load.bytes += int64(len(name)) + wire.MemberBytes + wire.RenderedBytes(value)
			p.doubts.Unknown(call.ExtraMember, path, value[0] != '{' && value[0] != '[')
			if wire.Secret(name) {
				p.doubts.Costs(call.ExtraMember, path, secret)
			}
			if place == "" && wire.HidesUsage(name) {
				p.doubts.Costs(call.ExtraMember, path, "it can hide the usage")
			}
			p.examine(value)
		}
		return nil
	}
}

const secret = "it may hold a credential"

// examine looks, in a value that nobody reads, for what is more input than its text, and for what may hold a
// credential.
func (p *parser) examine(value []byte) {
	wire.EachMember(value, func(name, _ string) {
		if wire.Secret(name) {
			p.doubts.Costs(call.ExtraMember, name, secret)
		}
		switch plain := camel(name); plain {
		case "inlineData", "fileData", "fileUri", "cachedContent", "continuationToken":
			p.load.stored, p.load.other = true, true
			p.brings(plain + ", in what is in no list")
		}
	})
}

// cost is a member that is known to cost. What asks for nothing is as good as absent.
func cost(path, why string) reader {
	return func(p *parser, _ string) error {
		at, err := p.Skip()
		if err == nil && !isNothing(p.Scanner.Body[at.Start:at.End]) {
			p.doubts.Costs(call.ExtraMember, path, why)
		}
		return err
	}
}

// isNothing reports whether a value is null, or an empty list or text.
func isNothing(value []byte) bool {
	switch value[0] {
	case 'n':
		return true
	case '[', '"':
		return len(strings.TrimSpace(wire.View(value[1:len(value)-1]))) == 0
	}
	return false
}

// skipped reads what says nothing to a bound.
func skipped(p *parser, _ string) error {
	_, err := p.Skip()
	return err
}

// opaque reads a value that may become part of the prompt, as JSON.
func opaque(p *parser, _ string) error {
	at, err := p.Skip()
	if err == nil {
		p.load.bytes += wire.RenderedBytes(p.Scanner.Body[at.Start:at.End])
	}
	return err
}

// each reads an array, or one element in its place, as protobuf's JSON readers take it; null is none.
func (p *parser) each(name string, read func() error) error {
	if null, err := p.Null(); null || err != nil {
		return err
	}
	if p.Peek() == '{' {
		return read()
	}
	return p.Array(name, read)
}

// integer reads an integer from 0 on, which may be written as a string, as protobuf's JSON has those of 64 bits;
// ok is false for null.
func (p *parser) integer(name string) (n int64, ok bool, err error) {
	if p.Peek() != '"' {
		return p.OptionalInteger(name, 0, providers.MaxCap)
	}
	text, err := p.ReadString()
	if err != nil {
		return 0, false, err
	}
	n, bad := strconv.ParseInt(text, 10, 64)
	if bad != nil || n < 0 || n > providers.MaxCap || text[0] == '+' {
		return 0, false, wire.Errorf(name, "%s must be an integer from 0 to %d", name, int64(providers.MaxCap))
	}
	return n, true, nil
}

// topMember reads a member of the body and keeps where it is.
func (p *parser) topMember(name string) error {
	at, start := p.NameAt, p.ValueStart()
	err := bodies[p.operation].Member(p, "", name)
	p.members = append(p.members, wire.Member{Name: strings.Clone(name), At: at, Value: p.Since(start)})
	return err
}

// bodies are the bodies of the operations.
var bodies = map[string]*wire.Level[*parser]{
	generate: contentLevel, stream: contentLevel, call.CountContents: countLevel,
	call.EmbedContent: embedLevel(""), call.BatchEmbedContents: batchLevel,
}

// contentLevel is the body of what generates content.
var contentLevel = level("", map[string]reader{
	"contents":          func(p *parser, name string) error { return p.each(name, func() error { return p.turn(name) }) },
	"systemInstruction": func(p *parser, name string) error { return p.instruction(name) },
	"tools":             func(p *parser, name string) error { return p.each(name, p.tool) },
	"toolConfig":        func(p *parser, name string) error { return toolConfigLevel.Optional(p, name) },
	"generationConfig":  func(p *parser, name string) error { return p.config(name) },
	"serviceTier":       func(p *parser, name string) error { return p.serviceTier(name) },
	"model":             func(p *parser, name string) error { return p.sameModel(name) },
	"cachedContent":     func(p *parser, name string) error { return p.hides(name, "it is a stored context") },
	"continuationToken": func(p *parser, name string) error { return p.hides(name, "it goes on from an earlier answer") },
	// Never part of the prompt.
	"safetySettings":         skipped,
	"labels":                 skipped,
	"store":                  skipped,
	"modelSelectionConfig":   cost("modelSelectionConfig", "another model may answer"),
	"generateContentRequest": cost("generateContentRequest", "it is the body of another operation"),
})

// countLevel is the body of a count of tokens. Nothing in it costs anything.
var countLevel = wire.NewLevel(skipped, map[string]reader{"contents": skipped, "generateContentRequest": counted, "generate_content_request": counted})

// counted reads the request whose tokens are counted, which names its model too.
func counted(p *parser, name string) error { return countedLevel.Optional(p, name) }

var countedLevel = wire.NewLevel(skipped, map[string]reader{
	"model": func(p *parser, name string) error { return p.sameModel(name) },
})

// embedLevel is the body of an embedding, or an element of a batch of them.
func embedLevel(place string) *wire.Level[*parser] {
	return level(place, map[string]reader{
		"content": func(p *parser, name string) error { return p.instruction(name) },
		"model":   func(p *parser, name string) error { return p.sameModel(name) },
		"title":   func(p *parser, name string) error { return p.text(name) },
		// Never part of the prompt, or words of a few tokens.
		"taskType":             opaque,
		"outputDimensionality": skipped,
		"autoTruncate":         skipped,
		"embedContentConfig":   opaque,
	})
}

var requestsLevel = embedLevel("requests")

// batchLevel is a batch of embeddings that is answered at once.
var batchLevel = level("", map[string]reader{
	"requests": func(p *parser, name string) error {
		p.prompts = 0
		err := p.each(name, func() error {
			p.prompts++
			return requestsLevel.Object(p, "requests")
		})
		p.prompts = max(1, p.prompts)
		return err
	},
})

// sameModel refuses a body that names another model than the path, and keeps where it names that.
func (p *parser) sameModel(name string) error {
	start := p.ValueStart()
	model, err := p.OptionalString(name)
	if err != nil || model == "" {
		return err
	}
	if strings.TrimPrefix(model, "models/") != p.model {
		return wire.Errorf(name, "%s names another model than the path", name)
	}
	p.modelsAt = append(p.modelsAt, p.Since(start))
	return nil
}

// hides reads a member that stands for input which the body does not show: the context bounds it.
func (p *parser) hides(name, what string) error {
	text, err := p.OptionalString(name)
	if err == nil && text != "" {
		p.hidden, p.load.stored, p.load.other = camel(name)+", "+what, true, true
	}
	return err
}

// brings notes one thing whose tokens the body does not show.
func (p *parser) brings(what string) {
	p.hidden = what
	p.load.hidden++
}

// text reads a text of the input.
func (p *parser) text(name string) error {
	text, err := p.OptionalString(name)
	if err == nil && text != "" {
		if len(p.texts) == providers.MaxTexts {
			return wire.Errorf(name, "the body has more than %d texts", providers.MaxTexts)
		}
		p.texts = append(p.texts, text)
	}
	return err
}

func (p *parser) serviceTier(name string) error {
	if p.Peek() != '"' && p.Peek() != 'n' {
		return wire.Errorf(name, "%s must be a string", name)
	}
	tier, err := p.OptionalString(name)
	if err != nil {
		return err
	}
	if len(tier) > providers.MaxTierBytes {
		return wire.Errorf(name, "%s is longer than %d bytes", name, providers.MaxTierBytes)
	}
	p.tier = strings.ToLower(strings.TrimPrefix(strings.ToUpper(tier), "SERVICE_TIER_"))
	switch p.tier {
	case "", "unspecified", "standard":
		p.tier = ""
	}
	return nil
}
