package anthropic

import (
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// splices are the edits of the body, with the cap at most limit, in tokens.
func (o *offer) splices(limit int64) []wire.Splice {
	r := o.request
	splices, gone := o.toolSplices()
	if limit < r.maxTokens {
		splices = append(splices, wire.Replace(r.capAt, strconv.FormatInt(limit, 10)))
	}
	if r.model != r.asked {
		splices = append(splices, r.members.Set("model", strconv.Quote(r.model)))
	}
	return append(splices, r.members.Drop(gone...)...)
}

// toolSplices are the edits of tools: those that are stripped are gone, and the one that
// is priced says how often it may be called. gone are members that go as a whole.
func (o *offer) toolSplices() (splices []wire.Splice, gone []string) {
	r := o.request
	gone = o.dropped
	switch n := len(o.stripped); {
	case n > 0 && n == len(r.toolsAt):
		gone = append(gone[:len(gone):len(gone)], "tools", "tool_choice")
	case n > 0:
		splices = wire.Drop(r.toolsAt, o.stripped)
	}
	if h := o.searching; h != nil && o.searches != h.uses {
		splices = append(splices, o.capSearches(h))
	}
	return splices, gone
}

// capSearches says in a tool how often it may be called.
func (o *offer) capSearches(h *hostedTool) wire.Splice {
	uses := strconv.FormatInt(o.searches, 10)
	if h.usesAt.End > h.usesAt.Start {
		return wire.Replace(h.usesAt, uses)
	}
	return wire.Insert(o.request.toolsAt[h.at].End-1, `,"max_uses":`+uses)
}
