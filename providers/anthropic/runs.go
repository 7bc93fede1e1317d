package anthropic

import (
	"cmp"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// lines are the runs that a usage tells of, the one that answered first. What is told at
// the top is that run, or the sum of several; what others used stands in iterations alone.
func (u *usage) lines(model string, of asked) []call.Line {
	key := call.Key{Model: model, Service: u.service(of.fast), Region: regionOf(cmp.Or(u.region, of.region))}
	top := u.counts.usage(of.long)
	lines := []call.Line{{Key: key, Billed: u.counts.billed.N}}
	var own, sum call.Usage // of the model that answered, and of all that may be in the top
	for _, i := range u.iterations {
		part := i.counts.usage(of.long)
		if i.answers() {
			add(&sum, &part)
		}
		if i.answers() && (i.model == "" || i.model == model) {
			add(&own, &part)
			continue
		}
		line := call.Line{Key: key, Usage: part}
		line.Model = cmp.Or(i.model, model)
		lines = append(lines, line)
	}
	if sameTokens(&sum, &top) { // run by run is then all of it
		lines[0].Usage = asRuns(own, &top)
	} else {
		lines[0].Usage = dearer(top, own)
	}
	return lines
}

// answers reports whether a run may be part of what is told at the top.
func (i *iteration) answers() bool { return i.kind == "message" || i.kind == "fallback_message" }

func add(sum, part *call.Usage) {
	for unit, n := range part {
		sum[unit] += n
	}
}

// sameTokens reports whether two usages have as many tokens of each kind that is told apart
// everywhere.
func sameTokens(x, y *call.Usage) bool {
	return x[call.Input] == y[call.Input] && x[call.CachedInput] == y[call.CachedInput] &&
		x.InputTokens() == y.InputTokens() && x.OutputTokens() == y.OutputTokens()
}

// asRuns is what runs used, which divide writes as the top may not, with what the top alone
// tells: thoughts and fees.
func asRuns(own call.Usage, top *call.Usage) call.Usage {
	output := own.OutputTokens()
	own[call.Reasoning] = min(output, top[call.Reasoning])
	own[call.Output] = output - own[call.Reasoning]
	own[call.Searches], own[call.CodeSessions] = top[call.Searches], top[call.CodeSessions]
	return own
}

// dearer is the larger of two accounts of the same, unit by unit.
func dearer(top, own call.Usage) call.Usage {
	own[call.Reasoning], own[call.Output] = 0, own[call.Output]+own[call.Reasoning]
	own[call.Output] -= min(own[call.Output], top[call.Reasoning])
	for unit := range own {
		top[unit] = max(top[unit], own[unit])
	}
	return top
}
