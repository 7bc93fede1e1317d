// Package anthropic is the dialect of Anthropic's Messages API, and of the servers that
// speak like it: what a client sends and gets passes unchanged but for what
// docs/transparency.md lists.
//
// It promises a bound of every call that it offers. The output is at most max_tokens,
// which the API requires and which holds for thinking too. The input is at most the bytes
// of its texts, since no tokenizer is published and every token covers at least one byte,
// beside what the API writes around them; images, each by what its model fits it into;
// and where a body brings pages that it does not show, what the policy says of a document,
// or all that the model reads. Fallbacks and summaries are runs of their own, and a web
// search that the policy prices is so many rounds of the model. What else a body does not
// show (files in containers, other tools that run at the provider, models that it does not
// name, tiers without a price) has no bound, and is refused by name, or taken out where the
// policy says so: members, content blocks, tools, query parameters and betas are read by
// lists of what is known. Where the account chooses the region, a call is bounded at the
// dearest that the model's price knows; where it chooses the service tier, at the dearest
// that the policy names.
//
// Its counts stand beside each other: input_tokens are those that no cache has, and what
// was read from a cache or written to it is beside them. The counts of a stream are
// running totals, each the last that was told, and none falls but where the runs of a
// model are told one by one.
package anthropic

import (
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Name is the dialect's, in policies and receipts.
const Name = "anthropic"

// Dialect is the dialect of the Messages API.
type Dialect struct{}

var _ providers.Dialect = Dialect{}

// Name returns the dialect's name.
func (Dialect) Name() string { return Name }

// Routes returns the operations.
func (Dialect) Routes() []providers.Route { return routes }

// Parse reads a body, and of the head what can cost money.
func (Dialect) Parse(op providers.Operation, h providers.Head, body []byte) (providers.Request, error) {
	return parse(op.Operation, h, body)
}
