package gemini

import (
	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// searched is what an answer says of the searches that were made for it.
type searched struct {
	queries map[call.Name]bool // different ones: a stream may tell one again
	found   bool               // there are results
	unclear bool               // not all of it was read
}

// maxQueries bounds how many searches are told apart: more than any answer was seen to have.
const maxQueries = 1 << 10

// read reads what candidates are grounded on.
func (s *searched) read(candidates []byte) {
	for _, c := range wire.Parse(candidates).Array() {
		grounding := wire.Get(c, "groundingMetadata")
		s.found = s.found || len(wire.Get(grounding, "groundingChunks").Array()) > 0
		for _, list := range [...]string{"webSearchQueries", "imageSearchQueries"} {
			for _, query := range wire.Get(grounding, list).Array() {
				s.add(list, query)
			}
		}
	}
}

func (s *searched) add(list string, query gjson.Result) {
	if s.queries == nil {
		s.queries = map[call.Name]bool{}
	}
	if len(s.queries) == maxQueries {
		s.unclear = true
		return
	}
	s.queries[call.HashName(list+" "+query.Raw)] = true
}

// fees are how many searches are billed. What was not read may be all that are held.
func (s *searched) fees(of *asked) int64 {
	n := int64(len(s.queries))
	if s.found {
		n = max(1, n)
	}
	if of.once {
		n = min(1, n)
	}
	if s.unclear {
		n = max(n, of.searches)
	}
	return n
}
