package budget

// lease is one reservation, open or remembered after its end.
type lease struct {
	id       string
	number   int64 // of its grant; of its release for a tombstone
	at       int64 // of its grant
	expires  int64
	hold     int64    // of each Adjust claim
	claims   []Placed // until it settled or was released
	counters []*counter
	extended *extension // the last one
	index    int        // in the queue of open leases

	end      EventKind // "" while open
	endNum   int64
	endAt    int64
	charge   int64
	expired  int64 // when it expired, where its charge was stamped
	forgetAt int64
}

// extension is the answer to the last extend.
type extension struct {
	number, at int64
	observed   []Observed
}

func (l *lease) grant(epoch string) Grant {
	g := Grant{Lease: l.id, Epoch: epoch, Number: l.number, At: l.at, Expires: l.expires, Hold: l.hold}
	if l.extended != nil {
		g.Number, g.At = l.extended.number, l.extended.at
		g.Observed = l.extended.observed
		return g
	}
	g.Observed = l.granted()
	return g
}

// firstGrant is what Reserve answered, whatever was extended since.
func (l *lease) firstGrant(epoch string) Grant {
	return Grant{Lease: l.id, Epoch: epoch, Number: l.number, At: l.at, Expires: l.expires, Hold: l.firstHold(), Observed: l.granted()}
}

// firstHold is what each Adjust claim held before any extension.
func (l *lease) firstHold() int64 {
	for i := range l.claims {
		if l.claims[i].AtEnd == Adjust {
			return l.claims[i].Amount
		}
	}
	return 0
}

func (l *lease) granted() []Observed {
	observed := make([]Observed, len(l.claims))
	for i := range l.claims {
		observed[i] = l.claims[i].Observed
	}
	return observed
}

func (l *lease) ending(epoch string) Ending {
	return Ending{Kind: l.end, Epoch: epoch, Number: l.endNum, At: l.endAt, Charge: l.charge, Hold: l.hold}
}

func (l *lease) adjusts() bool {
	for i := range l.claims {
		if l.claims[i].AtEnd == Adjust {
			return true
		}
	}
	return false
}

// KeysOf are the keys of a lease's claims, nil where the lease has none or is not
// known.
func (s *State) KeysOf(id string) []string {
	if l := s.lease(id); l != nil && len(l.claims) > 0 {
		return l.keys()
	}
	return nil
}

func (l *lease) keys() []string {
	keys := make([]string, len(l.claims))
	for i := range l.claims {
		keys[i] = l.claims[i].Key
	}
	return keys
}

// holdOf is what the lease holds now for one of its claims.
func (l *lease) holdOf(claim int) int64 {
	if l.claims[claim].AtEnd == Adjust {
		return l.hold
	}
	return l.claims[claim].Amount
}

// leaseQueue is a heap of open leases by expiry, then id.
type leaseQueue []*lease

func (q leaseQueue) Len() int { return len(q) }
func (q leaseQueue) Less(i, j int) bool {
	if q[i].expires != q[j].expires {
		return q[i].expires < q[j].expires
	}
	return q[i].id < q[j].id
}

func (q leaseQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *leaseQueue) Push(x any) {
	l := x.(*lease)
	l.index = len(*q)
	*q = append(*q, l)
}

func (q *leaseQueue) Pop() any {
	old := *q
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return l
}
