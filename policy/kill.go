package policy

import (
	"fmt"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
)

// OnKill says what becomes of requests in flight when a kill switch is thrown.
// Requests that come later are denied either way, also under Observe.
type OnKill string

const (
	Finish OnKill = "finish" // let them end
	Cut    OnKill = "cut"    // cut them off
)

// TenantSwitch stops all of a tenant's requests.
const TenantSwitch = budget.TenantSwitch

// KeySwitch names the switch that stops the requests of one key.
func KeySwitch(id string) string { return "key:" + id }

// RunSwitch names the switch that stops the requests of one run.
func RunSwitch(run string) string { return runSwitch + string(call.HashName(run)) }

const runSwitch = "run:"

// Switches returns the kill switches that stop a request of the key, the widest
// first, in the room that is given as far as it goes.
func (k *Key) Switches(room []string, f *call.Facts) []string {
	list := k.switches
	if list == nil {
		list = k.ownSwitches()
	}
	list = append(room[:0], list...)
	if f.Run == "" {
		return list
	}
	return append(list, runSwitch+string(f.Run))
}

// ownSwitches are those that stop all of the key's requests. A request without
// a key has one without an id.
func (k *Key) ownSwitches() []string {
	list := []string{budget.GlobalSwitch, TenantSwitch}
	if k.ID != "" {
		list = append(list, KeySwitch(k.ID))
	}
	return list
}

// KilledBy is the denial of a request that a thrown switch stops. It names the
// kind of the switch alone.
func KilledBy(name string) *call.Denial {
	kind, _, _ := strings.Cut(name, ":")
	return &call.Denial{
		Reason:  Killed,
		Message: fmt.Sprintf("requests are stopped by an operator's kill switch (%s)", kind),
	}
}
