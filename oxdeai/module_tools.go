package oxdeai

import (
	"cmp"
	"slices"
)

// decideTools limits tool calls in a sliding window, over all tools and for each. An intent that is no tool call
// passes and leaves no record.
func decideTools(q *request) (ruling, error) {
	if q.intent.get("tool_call") != true {
		return allowed(nil)
	}
	tool, named, err := q.intent.optionalText("tool")
	if err != nil {
		return ruling{}, err
	}
	limits := &q.state.ToolLimits
	since := q.now - limits.WindowSeconds
	var keep []ToolCall
	var same int64
	for _, c := range limits.Calls[q.agent] {
		if c.TS < since {
			continue
		}
		if c.Tool == tool {
			same++
		}
		keep = append(keep, c)
	}
	if int64(len(keep))+1 > limits.MaxCalls[q.agent] {
		return denied(ToolCallsExceeded)
	}
	if most, ok := limits.MaxCallsByTool[q.agent][tool]; ok && tool != "" && same+1 > most {
		return denied(ToolCallsExceeded)
	}
	keep = append(keep, ToolCall{q.now, tool, named})
	return allowed(func(w *State) { w.ToolLimits.Calls = with(w.ToolLimits.Calls, q.agent, keep) })
}

func encodeTools(e *encoder, s *State) { encodeToolsOrdered(e, &s.ToolLimits, sortedCalls) }

// encodeToolsOrdered writes the module with the lists in the order that is wanted: a snapshot sorts them, the state
// keeps them.
func encodeToolsOrdered(e *encoder, t *ToolLimits, order func([]ToolCall) []ToolCall) {
	e.raw(`{"calls":`)
	encodeMap(e, t.Calls, func(e *encoder, list []ToolCall) { encodeList(e, order(list), (*encoder).call) })
	e.raw(`,"max_calls":`)
	encodeNumbers(e, t.MaxCalls, (*encoder).count)
	e.raw(`,"max_calls_by_tool":`)
	encodeMap(e, t.MaxCallsByTool, (*encoder).counts)
	e.raw(`,"window_seconds":`)
	e.window(t.WindowSeconds)
	e.raw("}")
}

func (e *encoder) counts(m map[string]int64) { encodeNumbers(e, m, (*encoder).count) }

func (e *encoder) call(c ToolCall) {
	e.raw("{")
	if c.Named {
		e.raw(`"tool":`)
		e.text(c.Tool)
		e.raw(",")
	}
	e.raw(`"ts":`)
	e.int(c.TS)
	e.raw("}")
}

// sortedCalls returns the list by time, then by tool. Equal entries keep their order.
func sortedCalls(list []ToolCall) []ToolCall {
	order := func(a, b ToolCall) int { return cmp.Or(cmp.Compare(a.TS, b.TS), compareUTF16(a.Tool, b.Tool)) }
	if slices.IsSortedFunc(list, order) {
		return list
	}
	out := slices.Clone(list)
	slices.SortStableFunc(out, order)
	return out
}

func resetTools(s *State) {
	s.ToolLimits = ToolLimits{
		WindowSeconds:  1,
		MaxCalls:       map[string]int64{},
		MaxCallsByTool: map[string]map[string]int64{},
		Calls:          map[string][]ToolCall{},
	}
}

func loadTools(s *State, o *Object) error {
	window, err1 := readField(o, "window_seconds", "tool_limits.window_seconds", readWindow)
	most, err2 := readMap(o, "max_calls", "tool_limits.max_calls", readCount)
	byTool, err3 := readMaps(o, "max_calls_by_tool", "tool_limits.max_calls_by_tool", readCount)
	calls, err4 := readMap(o, "calls", "tool_limits.calls", func(v Value) ([]ToolCall, bool) {
		list, ok := readList(v, readCall)
		return sortedCalls(list), ok
	})
	s.ToolLimits = ToolLimits{window, most, byTool, calls}
	return cmp.Or(err1, err2, err3, err4)
}
