package gemini

import (
	"slices"
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// splices are the edits of the body: the output cap, where it has to be another, the model, where an alias stands for
// it and the body names it too, and tools that are taken out.
func (o *offer) splices(outputCap int64) (splices []wire.Splice) {
	r := o.request
	splices = o.toolSplices()
	if r.model != r.asked {
		for _, at := range r.modelsAt {
			splices = append(splices, wire.Replace(at, strconv.Quote(collected(r.model))))
		}
	}
	limit := o.bound.Output.Cap
	if outputCap > 0 {
		limit = min(limit, outputCap)
	}
	if limit == 0 || limit == r.maxOutput || o.hops && limit == o.bound.Output.Cap {
		return splices
	}
	number := strconv.FormatInt(limit, 10)
	switch {
	case r.capAt.End > r.capAt.Start:
		splices = append(splices, wire.Replace(r.capAt, number))
	case r.configured:
		splices = append(splices, wire.Insert(r.configAt.End-1, `,"maxOutputTokens":`+number))
	case r.configAt.End > r.configAt.Start:
		splices = append(splices, wire.Replace(r.configAt, `{"maxOutputTokens":`+number+`}`))
	default:
		splices = append(splices, r.setConfig(`{"maxOutputTokens":`+number+`}`))
	}
	return splices
}

// setConfig gives generationConfig a value where it has none, in the spelling that is there.
func (r *request) setConfig(value string) wire.Splice {
	name := "generationConfig"
	if _, ok := r.members.Find(snake(name)); ok {
		name = snake(name)
	}
	return r.members.Set(name, value)
}

// toolSplices take tools out: a member of an entry, the entry where it has no other, and all that is said of tools
// where none is left.
func (o *offer) toolSplices() (splices []wire.Splice) {
	r := o.request
	gone := make([][]int, len(r.entries)) // of the members of each
	for _, i := range o.stripped {
		h := &r.hosted[i]
		gone[h.at] = append(gone[h.at], h.in)
	}
	at, empty := make([]wire.Span, len(r.entries)), []int(nil)
	for i, members := range gone {
		at[i] = r.entries[i].at
		if len(members) > 0 && len(members) == len(r.entries[i].members) {
			empty = append(empty, i)
			gone[i] = nil
		}
	}
	if len(empty) > 0 && len(empty) == len(r.entries) {
		return r.members.Drop("tools", "toolConfig", "tool_config")
	}
	for i, members := range gone {
		splices = append(splices, wire.Drop(r.entries[i].members, slices.Sorted(slices.Values(members)))...)
	}
	return append(splices, wire.Drop(at, empty)...)
}
