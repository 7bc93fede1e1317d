package admission

import (
	"container/list"
	"crypto/sha256"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Chains remember what providers keep of answers: whose each is, and how much of it a
// request goes on with that names it. All tenants share the upstreams' keys, so that a
// provider tells no tenant from another.
//
// They are in memory, of this process, and of the last maxChains answers and parts of them.
// Where those are of several tenants, who has more than an even share forgets its own, so
// that nobody's answers push out all of another's. What they do not know, on another replica
// and after a restart, is bounded by the model's context, or denied, as the policy says. The zero Chains are
// empty. They are safe for concurrent use.
type Chains struct {
	mu    sync.Mutex
	known map[chainID]chain
	order list.List             // of chainID, the oldest first
	own   map[string]*list.List // each tenant's elements of order, the oldest first
}

// maxChains is how many answers, and parts of them, are remembered: about 20 MB.
const maxChains = 1 << 16

// chainID is the first half of the SHA-256 of an id.
type chainID [16]byte

type chain struct {
	tenant string
	reader string
	tokens int64
	kinds  call.Kinds
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
		return providers.Earlier{Own: ok, Tokens: found.tokens, Reader: found.reader, Kinds: found.kinds}
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
	c.keep(r.Left, chain{tenant, r.LeftBy, in + out, r.LeftKinds})
	for _, item := range r.Items {
		tokens := [...]int64{providers.Written: out, providers.Found: in + out}[item.Content]
		c.keep(item.ID, chain{tenant, r.LeftBy, tokens, r.LeftKinds})
	}
}

// keep remembers one id.
func (c *Chains) keep(name string, known chain) {
	id := idOf(name)
	before, there := c.known[id]
	if !there {
		c.enter(id, known.tenant)
	} else if before.tenant != known.tenant {
		return
	}
	c.known[id] = known
}

// enter puts in an answer, for which one is forgotten where there is no room.
func (c *Chains) enter(id chainID, tenant string) {
	if c.known == nil {
		c.known, c.own = map[chainID]chain{}, map[string]*list.List{}
	}
	if c.order.Len() == maxChains {
		c.forget(c.yielding(tenant))
	}
	if c.own[tenant] == nil {
		c.own[tenant] = list.New()
	}
	c.own[tenant].PushBack(c.order.PushBack(id))
}

// yielding is the tenant whose oldest answer is forgotten for one of this tenant: itself
// where it has more than an even share, else whose answer is the oldest of all.
func (c *Chains) yielding(tenant string) string {
	if own := c.own[tenant]; own != nil && own.Len() >= maxChains/len(c.own) {
		return tenant
	}
	return c.known[c.order.Front().Value.(chainID)].tenant
}

// forget makes a tenant's oldest answer one that is not known.
func (c *Chains) forget(tenant string) {
	own := c.own[tenant]
	oldest := own.Remove(own.Front()).(*list.Element)
	delete(c.known, c.order.Remove(oldest).(chainID))
	if own.Len() == 0 {
		delete(c.own, tenant)
	}
}
