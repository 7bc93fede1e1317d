package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// switchBytes bounds the body of a change.
	switchBytes = 8 << 10
	// reasonBytes bounds the reason in it.
	reasonBytes = 512
	// switchWorkers is how many tenants a global switch is thrown at at once.
	switchWorkers = 16
	// switchLimit bounds one order: verbs that come later fail.
	switchLimit = 2 * time.Minute
	// failuresShown bounds the failures that an answer lists.
	failuresShown = 100
)

// Actions and scopes of a SwitchOrder.
const (
	Throw = "throw"
	Lift  = "lift"

	ScopeGlobal = "global"
	ScopeTenant = "tenant"
	ScopeKey    = "key"
	ScopeRun    = "run"
)

// SwitchOrder is the body of POST /admin/v1/switches.
type SwitchOrder struct {
	Action string `json:"action"`
	Scope  string `json:"scope"`
	Tenant string `json:"tenant,omitempty"`
	Key    string `json:"key,omitempty"` // its id in the policy
	Run    string `json:"run,omitempty"` // as the client names it
	Reason string `json:"reason,omitempty"`
}

// SwitchResult is the answer. Done is true once every tenant concerned is as the
// order says; if it is not, send the order again.
type SwitchResult struct {
	Action  string    `json:"action"`
	Switch  string    `json:"switch"`
	Done    bool      `json:"done"`
	Tenants int       `json:"tenants"`         // that are as the order says
	Event   int64     `json:"event,omitempty"` // of the one tenant; 0 where it was not thrown
	Failed  []Failure `json:"failed,omitempty"`
	Failing int       `json:"failing,omitempty"` // all failures, also those not listed
}

// Failure is a tenant that is not as the order says.
type Failure struct {
	Tenant string `json:"tenant"`
	Error  string `json:"error"`
}

// Switches is the answer to GET /admin/v1/switches.
type Switches struct {
	Tenant   string   `json:"tenant"`
	Switches []Thrown `json:"switches"`
}

// Thrown is one thrown switch.
type Thrown struct {
	Switch string `json:"switch"`
	Event  int64  `json:"event"`
	At     string `json:"at"`
}

// listSwitches shows what is thrown at a tenant; at "*", what is thrown for all.
func (s server) listSwitches(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("tenant")
	if name != budget.EveryTenant && s.Policy().Tenant(name) == nil {
		http.Error(w, noTenantNamed(name), http.StatusNotFound)
		return
	}
	b, err := s.Ledger.Balances(r.Context(), name, nil)
	if name == budget.EveryTenant && errors.Is(err, budget.ErrLost) {
		http.Error(w, "no global switch was thrown since the ledger began, or its record is lost: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusOK, Switches{Tenant: name, Switches: thrownOf(b)})
}

func thrownOf(b budget.Balances) []Thrown {
	list := []Thrown{}
	for _, t := range b.Switches {
		list = append(list, Thrown{t.Name, t.Number, instant(t.At)})
	}
	return list
}

func (s server) changeSwitch(w http.ResponseWriter, r *http.Request) {
	o, err := readOrder(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name, err := s.switchOf(o)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	// An operator who hangs up has not changed their mind.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), switchLimit)
	defer cancel()
	result := s.carryOut(ctx, o, name)
	s.Logger.Warn("kill switch", "action", o.Action, "tenant", o.Tenant, "switch", name, "reason", o.Reason,
		"done", result.Done, "failing", result.Failing)
	status := http.StatusOK
	if !result.Done {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, result)
}

func readOrder(w http.ResponseWriter, r *http.Request) (*SwitchOrder, error) {
	var o SwitchOrder
	if err := readBody(w, r, switchBytes, &o); err != nil {
		return nil, fmt.Errorf("not an order: %w", err)
	}
	return &o, o.validate()
}

// validate refuses an order that names too little, or more than its scope has:
// whoever names a key does not mean the whole tenant.
func (o *SwitchOrder) validate() error {
	if o.Action != Throw && o.Action != Lift {
		return fmt.Errorf("action %q: want %s or %s", o.Action, Throw, Lift)
	}
	if len(o.Reason) > reasonBytes {
		return fmt.Errorf("reason: at most %d bytes", reasonBytes)
	}
	needs, known := map[string][]string{
		ScopeGlobal: {}, ScopeTenant: {"tenant"}, ScopeKey: {"tenant", "key"}, ScopeRun: {"tenant", "run"},
	}[o.Scope]
	if !known {
		return fmt.Errorf("scope %q: want %s, %s, %s or %s", o.Scope, ScopeGlobal, ScopeTenant, ScopeKey, ScopeRun)
	}
	for field, value := range map[string]string{"tenant": o.Tenant, "key": o.Key, "run": o.Run} {
		if slices.Contains(needs, field) != (value != "") {
			return fmt.Errorf("scope %s takes %v and no more", o.Scope, needs)
		}
	}
	return nil
}

// switchOf names the order's switch. Names that the policy does not have are
// refused, but for a key whose switch is to be lifted.
func (s server) switchOf(o *SwitchOrder) (string, error) {
	if o.Scope == ScopeGlobal {
		return budget.GlobalSwitch, nil
	}
	t := s.Policy().Tenant(o.Tenant)
	if t == nil {
		return "", errors.New(noTenant)
	}
	switch o.Scope {
	case ScopeKey:
		hasKey := slices.ContainsFunc(t.Keys, func(k *policy.Key) bool { return k.ID == o.Key })
		if !hasKey && o.Action == Throw {
			return "", errors.New(noKey(t))
		}
		return policy.KeySwitch(o.Key), nil
	case ScopeRun:
		return policy.RunSwitch(o.Run), nil
	}
	return policy.TenantSwitch, nil
}

func (s server) carryOut(ctx context.Context, o *SwitchOrder, name string) *SwitchResult {
	result := &SwitchResult{Action: o.Action, Switch: name}
	if o.Scope == ScopeGlobal {
		s.everywhere(ctx, result)
	} else {
		s.turn(ctx, result, o.Tenant)
	}
	result.Done = result.Failing == 0
	slices.SortFunc(result.Failed, func(a, b Failure) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return result
}

// everywhere throws or lifts a switch at every tenant: first for those to come,
// so that none is missed. While it is thrown for those it must not be lifted
// from others, at which it would be thrown again. A tenant that this replica's
// policy lacks follows by the upkeep of a replica whose policy has it.
func (s server) everywhere(ctx context.Context, result *SwitchResult) {
	toCome := &SwitchResult{Action: result.Action, Switch: result.Switch}
	if err := s.Ledger.Provision(ctx, budget.EveryTenant); err != nil {
		toCome.fail(budget.EveryTenant, err)
	} else {
		s.turn(ctx, toCome, budget.EveryTenant)
	}
	result.Failed, result.Failing = toCome.Failed, toCome.Failing
	if result.Failing > 0 && result.Action == Lift {
		return
	}
	var mu sync.Mutex
	atEach(s.Policy().Tenants, func(tenant string) {
		one := &SwitchResult{Action: result.Action, Switch: result.Switch}
		s.turnForAll(ctx, one, tenant)
		mu.Lock()
		defer mu.Unlock()
		result.add(one)
	})
}

// atEach does something for each tenant, for a few at a time.
func atEach(tenants []*policy.Tenant, do func(tenant string)) {
	next := make(chan string)
	var workers sync.WaitGroup
	for range min(switchWorkers, len(tenants)) {
		workers.Go(func() {
			for tenant := range next {
				do(tenant)
			}
		})
	}
	for _, t := range tenants {
		next <- t.Name
	}
	close(next)
	workers.Wait()
}

// turnForAll is turn for the global switch. Another order may have thrown it for
// all again since this one lifted it for those to come; then it stays.
func (s server) turnForAll(ctx context.Context, result *SwitchResult, tenant string) {
	if result.Action == Throw {
		s.turn(ctx, result, tenant)
		return
	}
	own, err := budget.Follow(ctx, s.Ledger, tenant)
	if err == nil && own.Number > 0 {
		err = errThrownAgain
	}
	s.turned(ctx, result, tenant, err)
}

var errThrownAgain = errors.New("the global switch was thrown again meanwhile")

// turn throws or lifts a switch at one tenant.
func (s server) turn(ctx context.Context, result *SwitchResult, tenant string) {
	var turned budget.Switch
	var err error
	if result.Action == Throw {
		turned, err = s.Ledger.Throw(ctx, tenant, result.Switch)
	} else {
		turned, err = s.Ledger.Lift(ctx, tenant, result.Switch, 0)
	}
	result.Event = turned.Number
	s.turned(ctx, result, tenant, err)
}

// turned notes how it went at one tenant and has that receipted. A receipt that
// cannot be written now is written later, by the replicas' upkeep.
func (s server) turned(ctx context.Context, result *SwitchResult, tenant string, err error) {
	if err != nil {
		result.fail(tenant, err)
		return
	}
	result.Tenants = 1
	if err := s.Receipt(ctx, tenant); err != nil {
		s.Logger.Warn("kill switch not receipted yet", "tenant", tenant, "err", err)
	}
}

func (r *SwitchResult) fail(tenant string, err error) {
	r.Failing++
	if len(r.Failed) < failuresShown {
		r.Failed = append(r.Failed, Failure{tenant, err.Error()})
	}
}

// add takes in how it went at one of many tenants.
func (r *SwitchResult) add(one *SwitchResult) {
	r.Tenants += one.Tenants
	r.Failing += one.Failing
	if len(r.Failed) < failuresShown {
		r.Failed = append(r.Failed, one.Failed...)
	}
}
