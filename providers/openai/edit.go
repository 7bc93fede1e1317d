package openai

import (
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Edit says what a request must carry before it leaves.
type Edit struct {
	// CapField is the cap field that the upstream obeys in a chat:
	// FieldMaxCompletionTokens, or for anything else FieldMaxTokens. Completions
	// have only FieldMaxTokens.
	CapField string
	// OutputCap is the most tokens that one choice may have; 0 changes no cap.
	OutputCap int64
	// IncludeUsage asks a stream for its usage. Without stream it does nothing.
	IncludeUsage bool
	// Tier is the service tier to ask for in place of none, null or auto; "" leaves it.
	Tier string
	// More are changes of other members.
	More []wire.Splice
}

// Rewrite returns the body with the edit applied by the fewest splices, all
// other bytes as they were.
//
// No cap is raised. Afterwards CapField holds a cap of at most OutputCap, and the
// other field, which some upstreams obey too, none above it. A cap that the
// client put only into the other field is moved: the upstream does not enforce
// it there, and OpenAI refuses a request with both.
func (r *Request) Rewrite(e Edit) *wire.Edited {
	var splices []wire.Splice
	if e.OutputCap > 0 && r.Endpoint != Embeddings && r.Endpoint != CompactResponses {
		splices = r.capSplices(e)
	}
	if e.IncludeUsage && r.Stream && !r.IncludeUsage && r.Endpoint.asksForUsage() {
		splices = append(splices, r.usageSplice())
	}
	splices = append(append(splices, e.More...), r.rename()...)
	if e.Tier != "" {
		splices = append(splices, r.members.Set("service_tier", strconv.Quote(e.Tier)))
	}
	return wire.Apply(r.body, splices)
}

func (r *Request) capSplices(e Edit) []wire.Splice {
	own := r.capField(e.CapField)
	other := otherCap(own)
	_, ownSet := r.Cap(own)
	tokens, otherSet := r.Cap(other)
	switch {
	case !otherSet:
		return r.lowerCap(nil, own, e.OutputCap)
	case ownSet:
		return r.lowerCap(r.lowerCap(nil, other, e.OutputCap), own, e.OutputCap)
	default:
		return r.moveCap(other, own, min(tokens, e.OutputCap))
	}
}

// capField is the field that the edit means: only chats have more than one.
func (r *Request) capField(field string) string {
	if r.Endpoint == Responses {
		return FieldMaxOutputTokens
	}
	if r.Endpoint == ChatCompletions && field == FieldMaxCompletionTokens {
		return FieldMaxCompletionTokens
	}
	return FieldMaxTokens
}

// lowerCap sets a cap that is absent or above limit.
func (r *Request) lowerCap(splices []wire.Splice, field string, limit int64) []wire.Splice {
	if tokens, ok := r.Cap(field); ok && tokens <= limit {
		return splices
	}
	return append(splices, r.members.Set(field, strconv.FormatInt(limit, 10)))
}

// moveCap renames the member from to into, or where there is one by that name,
// which is null, swaps the two values.
func (r *Request) moveCap(from, into string, tokens int64) []wire.Splice {
	m, _ := r.members.Find(from)
	value := strconv.FormatInt(tokens, 10)
	if _, ok := r.members.Find(into); ok {
		return []wire.Splice{wire.Replace(m.Value, "null"), r.members.Set(into, value)}
	}
	return []wire.Splice{wire.Replace(m.At, `"`+into+`"`), wire.Replace(m.Value, value)}
}

func (r *Request) usageSplice() wire.Splice {
	const include = `"include_usage":true`
	options, present := r.members.Find("stream_options")
	switch {
	case !present || r.body[options.Value.Start] == 'n':
		return r.members.Set("stream_options", "{"+include+"}")
	case r.includes.value != wire.Span{}:
		return wire.Replace(r.includes.value, "true")
	case r.includes.last > 0:
		return wire.Insert(r.includes.last, ","+include)
	default:
		return wire.Insert(options.Value.Start+1, include)
	}
}
