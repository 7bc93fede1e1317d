package main

import (
	"maps"
	"slices"
	"sync"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
)

// maxTallied bounds the models that are told apart, whose names come from clients.
const maxTallied = 100

// otherModels is what the models beyond these are called.
const otherModels = "other models"

// tally is a gate's telemetry that also counts what each model cost.
type tally struct {
	gate.Telemetry
	mu       sync.Mutex
	models   map[string]*modelSpend
	unserved int
	denied   map[string]int // by reason
}

// modelSpend is what calls of one model cost.
type modelSpend struct {
	Model string
	Calls int
	Nano  int64 // nano-USD
}

// Charged counts a settlement. A call that used nothing and cost nothing was refused by
// its upstream, or did not reach it: it is no call of its model that was served.
func (t *tally) Charged(tenant, model string, nano int64, usage call.Usage) {
	t.Telemetry.Charged(tenant, model, nano, usage)
	t.mu.Lock()
	defer t.mu.Unlock()
	if nano == 0 && usage == (call.Usage{}) {
		t.unserved++
		return
	}
	if t.models == nil {
		t.models = map[string]*modelSpend{}
	}
	if t.models[model] == nil && len(t.models) >= maxTallied {
		model = otherModels
	}
	if t.models[model] == nil {
		t.models[model] = &modelSpend{Model: model}
	}
	t.models[model].Calls++
	t.models[model].Nano += nano
}

// Decided counts a denial.
func (t *tally) Decided(tenant, verdict, reason string) {
	t.Telemetry.Decided(tenant, verdict, reason)
	if reason != "" {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.denied == nil {
			t.denied = map[string]int{}
		}
		t.denied[reason]++
	}
}

// tell fills in the models, the dearest first, and how many calls were not served and
// how many denied, by reason.
func (t *tally) tell(s *statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []modelSpend
	for _, name := range slices.Sorted(maps.Keys(t.models)) {
		list = append(list, *t.models[name])
	}
	slices.SortStableFunc(list, func(a, b modelSpend) int { return int(min(1, max(-1, b.Nano-a.Nano))) })
	s.Models, s.Unserved, s.Denied = list, t.unserved, maps.Clone(t.denied)
}
