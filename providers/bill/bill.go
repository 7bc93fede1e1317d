// Package bill reads what answers say that they cost: in their usage object, where the
// provider that gave them is known to say so, in whatever dialect; and in a header that
// names who says it.
//
// Amounts are in nano-USD, rounded up, and below 2^53. They pass through no float.
package bill

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// A Reader reads the amount in a usage object. It is not told where there is none, and odd
// where it is no amount.
type Reader func(usage gjson.Result) wire.Count

// Of is how a provider's answers are read, by the name that the policy gives it; nil where
// none is known to name an amount.
func Of(provider string) Reader { return readers[wire.Squeezed(provider)] }

// readers are the providers by their plain names.
var readers = func() map[string]Reader {
	all := map[string]Reader{}
	for names, read := range map[string]Reader{
		// https://openrouter.ai/docs/use-cases/usage-accounting.
		"openrouter": router,
		// Package xai_sdk 1.21.0, cost.py.
		"xai grok": ticks("cost_in_usd_ticks"),
		// https://docs.perplexity.ai/api-reference/chat-completions-post.
		"perplexity": usd("cost", "total_cost"),
		// LiteLLM, where its setting include_cost_in_streaming_usage has it do so.
		"litellm": usd("cost"),
		// Vercel's gateway and DeepInfra, as their clients read it.
		"vercel":    usd("cost"),
		"deepinfra": usd("estimated_cost"),
		// Pydantic's gateway, as it was recorded.
		"pydanticgateway": usd("pydantic_ai_gateway", "cost_estimate"),
	} {
		for name := range strings.FieldsSeq(names) {
			all[name] = read
		}
	}
	return all
}()

// headers are those in which gateways say in dollars what an answer costs. Nobody else
// sends them, so they are read whatever the policy calls the provider.
var headers = []string{
	"X-Litellm-Response-Cost", // https://docs.litellm.ai/docs/proxy/response_headers
}

// Ahead is what the head of an answer says that it costs. It is not told where a gateway
// writes that it does not know yet, as of a stream.
func Ahead(header map[string][]string) (all wire.Count) {
	for _, name := range headers {
		for _, text := range header[name] {
			text = strings.TrimSpace(text)
			if text != "" && !strings.EqualFold(text, "none") && !strings.EqualFold(text, "null") {
				all.Add(wire.Amount(gjson.Result{Type: gjson.String, Str: text}, dollar))
			}
		}
	}
	return all
}

// Powers of ten of the currencies in which amounts are written, over nano-USD.
const (
	dollar = 9
	tick   = -1 // xAI's: a dollar has 1e10
)

// usd reads a number of dollars at a path of the usage object.
func usd(path ...string) Reader {
	return func(usage gjson.Result) wire.Count { return wire.Amount(at(usage, path), dollar) }
}

// ticks reads a number of xAI's ticks.
func ticks(name string) Reader {
	return func(usage gjson.Result) wire.Count { return wire.Amount(wire.Get(usage, name), tick) }
}

func at(v gjson.Result, path []string) gjson.Result {
	for _, name := range path {
		v = wire.Get(v, name)
	}
	return v
}

// router reads OpenRouter's: what its own account is charged, and where the call went to
// a provider with a key of the operator's (is_byok) what that one charges beside. Answers
// that do not say which it was are such calls if the provider charged more.
func router(usage gjson.Result) wire.Count {
	cost := usd("cost")(usage)
	beside := usd("cost_details", "upstream_inference_cost")(usage)
	own := wire.Get(usage, "is_byok")
	if !cost.Told || own.Type == gjson.False || own.Type != gjson.True && beside.N <= cost.N {
		return cost
	}
	sum := wire.Count{N: cost.N + beside.N, Told: true, Odd: cost.Odd || beside.Odd}
	if sum.N > wire.MaxInteger {
		sum = wire.Count{Told: true, Odd: true}
	}
	return sum
}
