package admission

import (
	"crypto/sha256"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Chains remember what providers keep of answers: whose each is, and how much of it a
// request goes on with that names it. All tenants share the upstreams' keys, so that a
// provider tells no tenant from another.
//
// They are in memory, of this process, and of the last maxChains answers and parts of them. What they do not
// know is bounded by the model's context, which holds on every replica and after a restart.
// The zero Chains are empty. They are safe for concurrent use.
type Chains struct {
	mu    sync.Mutex
	known map[chainID]chain
	order []chainID // the oldest first, from next on, once it is full
	next  int
}

// maxChains is how many answers, and parts of them, are remembered: about 10 MB.
const maxChains = 1 << 16

// chainID is the first half of the SHA-256 of an id.
type chainID [16]byte

type chain struct {
	tenant string
	model  string
	tokens int64
}

func idOf(name string) (id chainID) {
	sum := sha256.Sum256([]byte(name))
	copy(id[:], sum[:])
	return id
}

// Earlier is what is known of an answer that a request of this tenant goes on from.
func (c *Chains) Earlier(tenant string) func(name string) providers.Earlier {
	return func(name string) providers.Earlier {
		c.mu.Lock()
		defer c.mu.Unlock()
		found, ok := c.known[idOf(name)]
		if ok && found.tenant != tenant {
			return providers.Earlier{Foreign: true}
		}
		return providers.Earlier{Tokens: found.tokens, Model: found.model}
	}
}

// Note remembers what an answer to this tenant has left with its provider, if anything.
// What is told twice is remembered as it was told last; nobody else's becomes this
// tenant's.
func (c *Chains) Note(tenant string, r *providers.Report) {
	if r.Left == "" {
		return
	}
	var in, out int64
	if r.HasUsage {
		for i := range r.Lines {
			in, out = in+r.Lines[i].Usage.InputTokens(), out+r.Lines[i].Usage.OutputTokens()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(r.Left, chain{tenant, r.LeftBy, in + out})
	for _, item := range r.Items {
		c.keep(item, chain{tenant, r.LeftBy, out})
	}
}

// keep remembers one id.
func (c *Chains) keep(name string, known chain) {
	id := idOf(name)
	before, there := c.known[id]
	if !there {
		c.enter(id)
	} else if before.tenant != known.tenant {
		return
	}
	c.known[id] = known
}

// enter makes room for an answer: the oldest is forgotten.
func (c *Chains) enter(id chainID) {
	if c.known == nil {
		c.known = map[chainID]chain{}
	}
	if len(c.order) < maxChains {
		c.order = append(c.order, id)
		return
	}
	delete(c.known, c.order[c.next])
	c.order[c.next] = id
	c.next = (c.next + 1) % maxChains
}
