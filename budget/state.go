package budget

// State is one tenant's counters and leases, folded from its events in order.
type State struct {
	Tenant string
	Epoch  string
	Number int64
}
