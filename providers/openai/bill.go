package openai

import (
	"github.com/tidwall/gjson"

	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// A bill reads what a usage object says that the answer cost, in nano-USD.
type bill func(usage gjson.Result) wire.Count

// usd reads a number of dollars at a path of the usage object.
func usd(path ...string) bill {
	return func(usage gjson.Result) wire.Count { return wire.Amount(at(usage, path), wire.USD) }
}

// ticks reads a number of xAI's ticks.
func ticks(name string) bill {
	return func(usage gjson.Result) wire.Count { return wire.Amount(wire.Get(usage, name), wire.Tick) }
}

func at(v gjson.Result, path []string) gjson.Result {
	for _, name := range path {
		v = wire.Get(v, name)
	}
	return v
}

// routerBill is OpenRouter's: what its own account is charged, and where the call went to
// a provider with a key of the operator's (is_byok) what that one charges beside. Answers
// that do not say which it was are such calls if the provider charged more.
func routerBill(usage gjson.Result) wire.Count {
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
