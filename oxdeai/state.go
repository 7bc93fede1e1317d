package oxdeai

import (
	"errors"
	"maps"
	"math/big"
	"slices"
)

// ErrStateInvalid: a state lacks a part, or a part has the wrong type. The message names it.
var ErrStateInvalid = errors.New("invalid state")

// State is everything the policy counts. Maps have the agent id as key, and a missing entry is absent whatever its
// name is. Amounts are never changed in place, so states may share them.
type State struct {
	PolicyVersion string // has to equal the version of the engine
	PeriodID      string // label of the budget period, set by the host; carried, never interpreted, not hashed

	KillSwitch         KillSwitch
	Allowlists         Allowlists
	Budget             Budget
	MaxAmountPerAction map[string]*big.Int // cap of one action
	Velocity           Velocity
	Replay             Replay
	Concurrency        Concurrency
	MaxDepth           map[string]int64 // deepest nesting of an action, in calls
	ToolLimits         ToolLimits

	// released holds the authorizations that were given back, for each agent. It is not hashed: the protocol keeps a
	// released id among the active ones, and without this set the same id could be released twice.
	released map[string]map[string]bool

	structure error // what the structural check found, if the state was read from JSON
	unhashed  error // why the state has no hash, if it was read from JSON
	oddGlobal Value // kill_switch.global, if it is no boolean
}

// KillSwitch stops everything, or one agent.
type KillSwitch struct {
	Global bool
	Agents map[string]bool
}

// Allowlists restrict what an intent may name. An empty list does not restrict.
type Allowlists struct {
	ActionTypes, Assets, Targets []string
}

// Budget is the spending of a period. A missing entry of Spent is 0.
type Budget struct {
	Limit, Spent map[string]*big.Int
}

// Velocity counts actions in a fixed window that starts with the first of them.
type Velocity struct {
	WindowSeconds, MaxActions int64
	Counters                  map[string]VelocityCounter
}

// VelocityCounter is the window of one agent: its start in Unix seconds, and the actions in it.
type VelocityCounter struct {
	WindowStart, Count int64
}

// Replay remembers nonces for a while, at most so many for each agent. A limit of 0 remembers none and so detects no
// replay; one below the number of actions that the velocity allows in the window forgets nonces that still count.
type Replay struct {
	WindowSeconds, MaxNoncesPerAgent int64
	Nonces                           map[string][]NonceRecord
}

// NonceRecord is one nonce, as decimal text, and when it was used in Unix seconds.
type NonceRecord struct {
	Nonce string
	TS    int64
}

// Concurrency counts the actions that run. ActiveAuths maps an agent to its authorization ids and their expiry in
// Unix seconds. The protocol never takes an id out, not after its release and not after its expiry, and nothing gives a
// slot back but a release: the host repairs the slots of clients that crashed, and deletes old ids when no release of
// them can come any more. An evaluation takes time linear in their number.
type Concurrency struct {
	MaxConcurrent, Active map[string]int64
	ActiveAuths           map[string]map[string]int64
}

// ToolLimits counts tool calls in a sliding window. MaxCallsByTool maps an agent to its tools and their limits.
type ToolLimits struct {
	WindowSeconds  int64
	MaxCalls       map[string]int64
	MaxCallsByTool map[string]map[string]int64
	Calls          map[string][]ToolCall
}

// ToolCall is one call in Unix seconds. A call without a tool and a call of the tool "" are two different things.
type ToolCall struct {
	TS    int64
	Tool  string
	Named bool
}

// Clone returns a copy that shares nothing with s but the amounts.
func (s *State) Clone() *State {
	c := *s
	c.KillSwitch.Agents = maps.Clone(s.KillSwitch.Agents)
	c.Allowlists.ActionTypes = slices.Clone(s.Allowlists.ActionTypes)
	c.Allowlists.Assets = slices.Clone(s.Allowlists.Assets)
	c.Allowlists.Targets = slices.Clone(s.Allowlists.Targets)
	c.Budget = Budget{maps.Clone(s.Budget.Limit), maps.Clone(s.Budget.Spent)}
	c.MaxAmountPerAction = maps.Clone(s.MaxAmountPerAction)
	c.Velocity.Counters = maps.Clone(s.Velocity.Counters)
	c.Replay.Nonces = cloneLists(s.Replay.Nonces)
	c.Concurrency.MaxConcurrent = maps.Clone(s.Concurrency.MaxConcurrent)
	c.Concurrency.Active = maps.Clone(s.Concurrency.Active)
	c.Concurrency.ActiveAuths = cloneMaps(s.Concurrency.ActiveAuths)
	c.MaxDepth = maps.Clone(s.MaxDepth)
	c.ToolLimits.MaxCalls = maps.Clone(s.ToolLimits.MaxCalls)
	c.ToolLimits.MaxCallsByTool = cloneMaps(s.ToolLimits.MaxCallsByTool)
	c.ToolLimits.Calls = cloneLists(s.ToolLimits.Calls)
	c.released = cloneMaps(s.released)
	return &c
}

func cloneLists[T any](m map[string][]T) map[string][]T {
	c := maps.Clone(m)
	for k, list := range c {
		c[k] = slices.Clone(list)
	}
	return c
}

func cloneMaps[T any](m map[string]map[string]T) map[string]map[string]T {
	c := maps.Clone(m)
	for k, inner := range c {
		c[k] = maps.Clone(inner)
	}
	return c
}

// Check returns why the state cannot be evaluated for any agent or has no hash, or nil. An engine denies such a state.
func (s *State) Check() error {
	if s == nil {
		return ErrStateInvalid
	}
	if s.structure != nil {
		return s.structure
	}
	return new(moduleHashes).hash(s, allModules)
}

// knows tells whether the state has the entries that an intent of this agent needs.
func (s *State) knows(agent string) bool {
	limit, most := s.Budget.Limit[agent], s.MaxAmountPerAction[agent]
	_, slots := s.Concurrency.MaxConcurrent[agent]
	_, depth := s.MaxDepth[agent]
	_, calls := s.ToolLimits.MaxCalls[agent]
	return limit != nil && most != nil && slots && depth && calls
}
