package oxdeai

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
)

// DecodeState reads a state from JSON and checks it. Amounts may be an integer or a decimal text with an optional
// trailing n. The errors are those of Parse and of State.Check.
func DecodeState(text []byte) (*State, error) {
	v, err := Parse(text)
	if err != nil {
		return nil, err
	}
	s := ReadState(v)
	if err := s.Check(); err != nil {
		return nil, err
	}
	return s, nil
}

// ReadState reads a state from a JSON value. It never fails: what is wrong is kept with the state, Check reports it,
// and an engine denies the state for it with the reason of the protocol.
func ReadState(v Value) *State {
	r := stateReader{s: &State{}}
	root, ok := v.(*Object)
	if !ok {
		r.bad("state")
		return r.s
	}
	s := r.s
	s.PolicyVersion = r.label(root, "policy_version")
	if _, ok := root.Get("period_id"); !ok {
		r.structural("period_id")
	}
	s.PeriodID, _ = root.Text("period_id")
	r.killSwitch(r.part(root, "kill_switch"))
	r.allowlists(r.part(root, "allowlists"))
	r.budget(root)
	r.velocity(r.part(root, "velocity"))
	r.replay(r.part(root, "replay"))
	r.concurrency(r.part(root, "concurrency"))
	s.MaxDepth = numbers(&r, r.part(r.part(root, "recursion"), "max_depth"))
	r.toolLimits(r.part(root, "tool_limits"))
	r.released(root)
	return s
}

// stateReader collects what is wrong with a state.
type stateReader struct {
	s *State
}

var noMembers = &Object{}

// structural notes a fault of the structural check, which comes before every evaluation.
func (r *stateReader) structural(name string) {
	if r.s.structure == nil {
		r.s.structure = fmt.Errorf("%w: %s", ErrStateInvalid, name)
	}
}

// leaf notes a value that keeps the state from having a hash. Such a state never allows anything.
func (r *stateReader) leaf(name string) {
	if r.s.unhashed == nil {
		r.s.unhashed = fmt.Errorf("%w: %s", ErrStateInvalid, name)
	}
}

func (r *stateReader) bad(name string) {
	r.structural(name)
	r.leaf(name)
}

func (r *stateReader) label(o *Object, name string) string {
	v, _ := o.Get(name)
	s, ok := v.(string)
	if !ok {
		r.structural(name)
	}
	return s
}

// part returns a member that has to be an object.
func (r *stateReader) part(o *Object, name string) *Object {
	v, _ := o.Get(name)
	p, ok := v.(*Object)
	if !ok {
		r.bad(name)
		return noMembers
	}
	return p
}

// number returns a member that has to be a number. A number that is no safe integer is kept as the integer that
// decides the same way, and the state gets no hash.
func (r *stateReader) number(o *Object, name string, round func(float64) float64) int64 {
	v, _ := o.Get(name)
	f, ok := v.(float64)
	if !ok {
		r.bad(name)
		return 0
	}
	return r.integer(name, f, round)
}

func (r *stateReader) integer(name string, f float64, round func(float64) float64) int64 {
	if _, ok := SafeInt(f); !ok {
		r.leaf(name)
	}
	return int64(max(-MaxSafeInteger, min(round(f), MaxSafeInteger)))
}

// entries reads a map of the state. An entry of the wrong type is left out, and the state gets no hash.
func entries[T any](r *stateReader, o *Object, read func(name string, v Value) (T, bool)) map[string]T {
	m := make(map[string]T, len(o.Members))
	for _, e := range o.Members {
		t, ok := read(e.Name, e.Value)
		if !ok {
			r.leaf(e.Name)
			continue
		}
		m[e.Name] = t
	}
	return m
}

func numbers(r *stateReader, o *Object) map[string]int64 {
	return entries(r, o, func(name string, v Value) (int64, bool) {
		f, ok := v.(float64)
		if !ok {
			return 0, false
		}
		return r.integer(name, f, math.Floor), true
	})
}

func amounts(r *stateReader, o *Object) map[string]*big.Int {
	return entries(r, o, func(_ string, v Value) (*big.Int, bool) {
		n, err := readBig(v)
		return n, err == nil
	})
}

func (r *stateReader) killSwitch(o *Object) {
	global, _ := o.Get("global")
	on, ok := global.(bool)
	if !ok {
		r.structural("kill_switch.global")
		r.s.oddGlobal = global
	}
	if !ok && global == nil {
		r.leaf("kill_switch.global")
	}
	r.s.KillSwitch.Global = on
	r.s.KillSwitch.Agents = entries(r, r.part(o, "agents"), func(_ string, v Value) (bool, bool) {
		on, ok := v.(bool)
		return on, ok
	})
}

func (r *stateReader) allowlists(o *Object) {
	a := &r.s.Allowlists
	a.ActionTypes = r.strings(o, "action_types")
	a.Assets = r.strings(o, "assets")
	a.Targets = r.strings(o, "targets")
}

// strings returns a list that may be absent or null.
func (r *stateReader) strings(o *Object, name string) []string {
	v, _ := o.Get(name)
	if v == nil {
		return nil
	}
	list, ok := readStrings(v)
	if !ok {
		r.bad("allowlists." + name)
	}
	return list
}

func (r *stateReader) budget(root *Object) {
	b := r.part(root, "budget")
	r.s.Budget.Limit = amounts(r, r.part(b, "budget_limit"))
	r.s.Budget.Spent = amounts(r, r.part(b, "spent_in_period"))
	r.s.MaxAmountPerAction = amounts(r, r.part(root, "max_amount_per_action"))
}

func (r *stateReader) velocity(o *Object) {
	v := &r.s.Velocity
	config := r.part(o, "config")
	v.WindowSeconds = r.number(config, "window_seconds", math.Ceil)
	v.MaxActions = r.number(config, "max_actions", math.Floor)
	v.Counters = entries(r, r.part(o, "counters"), func(name string, v Value) (VelocityCounter, bool) {
		c, ok := v.(*Object)
		if !ok {
			return VelocityCounter{}, false
		}
		start, ok1 := c.float("window_start")
		count, ok2 := c.float("count")
		return VelocityCounter{r.integer(name, start, math.Ceil), r.integer(name, count, math.Ceil)}, ok1 && ok2
	})
}

// float returns a member that is a JSON number.
func (o *Object) float(name string) (float64, bool) {
	v, _ := o.Get(name)
	f, ok := v.(float64)
	return f, ok
}

func (r *stateReader) replay(o *Object) {
	p := &r.s.Replay
	p.WindowSeconds = r.number(o, "window_seconds", math.Floor)
	p.MaxNoncesPerAgent = r.number(o, "max_nonces_per_agent", math.Floor)
	p.Nonces = entries(r, r.part(o, "nonces"), func(_ string, v Value) ([]NonceRecord, bool) {
		return readList(v, readNonce)
	})
}

func (r *stateReader) concurrency(o *Object) {
	c := &r.s.Concurrency
	c.MaxConcurrent = numbers(r, r.part(o, "max_concurrent"))
	c.Active = numbers(r, r.part(o, "active"))
	c.ActiveAuths = entries(r, r.part(o, "active_auths"), func(_ string, v Value) (map[string]int64, bool) {
		auths, ok := v.(*Object)
		if !ok {
			return nil, false
		}
		return entries(r, auths, func(_ string, v Value) (int64, bool) { return readExpiry(v) }), true
	})
}

func (r *stateReader) toolLimits(o *Object) {
	t := &r.s.ToolLimits
	t.WindowSeconds = r.number(o, "window_seconds", math.Floor)
	t.MaxCalls = numbers(r, r.part(o, "max_calls"))
	t.Calls = entries(r, r.part(o, "calls"), func(_ string, v Value) ([]ToolCall, bool) {
		return readList(v, readCall)
	})
	if byTool, _ := o.Get("max_calls_by_tool"); byTool == nil {
		return
	}
	t.MaxCallsByTool = entries(r, r.part(o, "max_calls_by_tool"), func(_ string, v Value) (map[string]int64, bool) {
		tools, ok := v.(*Object)
		if !ok {
			return nil, false
		}
		return numbers(r, tools), true
	})
}

func (r *stateReader) released(root *Object) {
	v, ok := root.Get("released_auths")
	if !ok {
		return
	}
	set, err := readReleased(v)
	if err != nil {
		r.bad("released_auths")
	}
	r.s.released = set
}

// Encode returns the state as canonical JSON, amounts as decimal text with a trailing n. If an authorization was
// released there is one member more than the protocol names, released_auths: the ids for each agent. The errors are
// those of State.Check.
func (s *State) Encode() ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	e := newEncoder()
	defer e.release()
	e.state(s)
	if e.err != nil {
		return nil, e.err
	}
	return bytes.Clone(e.buf), nil
}

func (e *encoder) state(s *State) {
	e.raw(`{"allowlists":{"action_types":`)
	encodeList(e, s.Allowlists.ActionTypes, (*encoder).text)
	e.raw(`,"assets":`)
	encodeList(e, s.Allowlists.Assets, (*encoder).text)
	e.raw(`,"targets":`)
	encodeList(e, s.Allowlists.Targets, (*encoder).text)
	e.raw(`},"budget":{"budget_limit":`)
	encodeMap(e, s.Budget.Limit, (*encoder).suffixed)
	e.raw(`,"spent_in_period":`)
	encodeMap(e, s.Budget.Spent, (*encoder).suffixed)
	e.raw(`},"concurrency":{"active":`)
	encodeNumbers(e, s.Concurrency.Active, (*encoder).count)
	e.raw(`,"active_auths":`)
	encodeMap(e, s.Concurrency.ActiveAuths, (*encoder).expiries)
	e.raw(`,"max_concurrent":`)
	encodeNumbers(e, s.Concurrency.MaxConcurrent, (*encoder).count)
	e.raw(`},"kill_switch":`)
	encodeKillSwitch(e, s)
	e.raw(`,"max_amount_per_action":`)
	encodeMap(e, s.MaxAmountPerAction, (*encoder).suffixed)
	e.raw(`,"period_id":`)
	e.text(s.PeriodID)
	e.raw(`,"policy_version":`)
	e.text(s.PolicyVersion)
	e.raw(`,"recursion":`)
	encodeRecursion(e, s)
	if len(s.released) > 0 {
		e.raw(`,"released_auths":`)
		e.released(s.released)
	}
	e.raw(`,"replay":`)
	encodeReplayOrdered(e, &s.Replay, identity)
	e.raw(`,"tool_limits":`)
	encodeToolsOrdered(e, &s.ToolLimits, identity)
	e.raw(`,"velocity":`)
	encodeVelocity(e, s)
	e.raw("}")
}

// suffixed writes an amount as text with a trailing n.
func (e *encoder) suffixed(n *big.Int) {
	e.amount(n)
	e.buf = append(e.buf[:len(e.buf)-1], `n"`...)
}

// released writes the released authorizations: the ids for each agent, sorted.
func (e *encoder) released(set map[string]map[string]bool) {
	encodeMap(e, set, func(e *encoder, ids map[string]bool) {
		encodeList(e, slices.Sorted(maps.Keys(ids)), (*encoder).text)
	})
}

func identity[T any](list []T) []T { return list }
