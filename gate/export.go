package gate

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

const (
	// maxExported bounds the receipts that an export keeps: an event of one
	// takes at least 230 bytes, and an envelope ends at oxdeai.MaxDocumentBytes.
	maxExported = 1 << 16

	// envelopeBytes is what an envelope takes beside its snapshot and events.
	envelopeBytes = 4 << 10
)

// ErrNotFollowing: receipts from which nothing can be exported, since one is
// missing or does not follow from those before it.
var ErrNotFollowing = errors.New("the receipts do not follow")

// ExportConfig says what of a tenant is exported.
type ExportConfig struct {
	Tenant    string
	Rules     *Rules // the policy that the envelope is under
	Authority *Authority
	To        int64 // the tenant's last event that counts; 0: all do
}

// Exporter makes a verification envelope of the OxDeAI protocol from receipts:
// what one tenant was allowed and denied under one policy, and where its ledger
// stood in the end. It is fed as a Replayer is, and holds the receipts against
// each other as that does. The same receipts give the same bytes. It keeps what
// a Replayer keeps, and the newest 65,536 receipts of the tenant.
type Exporter struct {
	config   ExportConfig
	tenant   *policy.Tenant
	replayer *Replayer
	chapters map[epoch]*chapter
	entries  []exported
	most     int   // of entries
	left     int64 // entries that were let go
	counted  int64 // denials beside those that the envelope tells of
	err      error
}

// chapter is one epoch of the tenant.
type chapter struct {
	id     epoch
	since  int64 // ledger milliseconds of its first event
	latest int64 // and of the last one that counts
	number int64 // of that
	under  bool  // the policy has come into force
	until  int64 // the instant at which that ended; 0: it did not
	state  *oxdeai.State
}

// exported is a receipt as events of the protocol.
type exported struct {
	epoch  string // "" for a denial that did not observe one
	at     int64  // ledger milliseconds
	number int64  // of the event; of a denial, that which it observed
	denial bool
	more   int64 // denials beside it that its receipt counts
	place  position
	events []oxdeai.Event
}

// Exported is an envelope and what it holds.
type Exported struct {
	Envelope []byte // canonical JSON
	Events   int    // of the protocol
	Event    int64  // the tenant's last
	Left     int64  // receipts that did not fit, the oldest
	Counted  int64  // denials beside those in it, which the receipts only count
}

// NewExporter returns an exporter of one tenant, which must be in the policy.
func NewExporter(c ExportConfig) (*Exporter, error) {
	t := c.Rules.Policy.Tenant(c.Tenant)
	if t == nil {
		return nil, fmt.Errorf("the policy has no tenant %q", c.Tenant)
	}
	x := &Exporter{config: c, tenant: t, replayer: NewReplayer(c.Rules), chapters: map[epoch]*chapter{}, most: maxExported}
	x.replayer.witness = x
	return x, nil
}

// Add takes the next receipt. Those of other tenants are ignored.
func (x *Exporter) Add(r audit.Receipt) {
	if tenantOf(r.Body) == x.config.Tenant {
		x.replayer.Add(r)
	}
}

func tenantOf(body audit.Body) string {
	switch b := body.(type) {
	case audit.Decision:
		return b.Facts.Tenant
	case audit.Settlement:
		return b.Tenant
	case audit.Event:
		return b.Tenant
	}
	return ""
}

func (x *Exporter) before(l *life, e *budget.Event) {
	c := x.chapters[l.id]
	if c == nil {
		c = &chapter{id: l.id, since: e.At}
		x.chapters[l.id] = c
	}
	seen := e.Kind == budget.PolicySeen
	switch {
	case c.until != 0:
		return
	case x.config.To != 0 && e.Number > x.config.To, c.under && seen:
		x.close(c, l)
		c.until = max(1, e.At)
		return
	case seen && e.Policy == x.config.Rules.Policy.Version:
		c.under = true
	}
	c.latest, c.number = e.At, e.Number
}

// close notes where the tenant's ledger stands.
func (x *Exporter) close(c *chapter, l *life) {
	if !c.under {
		return
	}
	snapshot := l.state.Snapshot()
	state, err := protocolState(x.config.Rules.Policy, x.tenant, ledgerView{
		at:       snapshot.At,
		balances: func(claims []budget.Claim) (budget.Balances, error) { return l.state.Balances(claims, snapshot.At) },
		nonces:   spentNonces(snapshot.Counters, snapshot.At),
		leaves:   l.leaves(),
	})
	x.err = cmp.Or(x.err, err)
	c.state = state
}

// leaves are the open leases whose decision's receipt is there.
func (l *life) leaves() []leave {
	var list []leave
	for _, held := range l.leases {
		if held.leave != nil && held.ended == 0 {
			list = append(list, *held.leave)
		}
	}
	return list
}

func (x *Exporter) granted(l *life, e *entry, d *audit.Decision, held *heldLease) {
	hash, err := intentHash(*d)
	if err != nil {
		x.err = cmp.Or(x.err, err)
		return
	}
	held.leave = &leave{agentOf(*d), authID(e.id(), *d), expiryOf(*d), hash}
	x.keep(l, e, append(x.decided(e, d, hash), x.event(e, oxdeai.Event{
		Type: oxdeai.AuthEmitted, IntentHash: hash, AuthorizationID: held.leave.id, ExpiresAt: held.leave.expiry,
	})))
}

func (x *Exporter) settled(l *life, e *entry, held *heldLease) {
	if held.leave == nil {
		return // only a copy of its grant is there
	}
	x.keep(l, e, []oxdeai.Event{x.event(e, oxdeai.Event{
		Type: oxdeai.ExecutionAttested, IntentHash: held.leave.intent,
		ExecutionRef: fmt.Sprintf("%d/%s/%d", e.told.Number, e.told.Kind, e.told.Amount),
	})})
}

func (x *Exporter) denied(e *entry, d *audit.Decision) {
	if (budget.PolicyVersion{Generation: d.Generation, Hash: d.Policy}) != x.config.Rules.Policy.Version {
		return
	}
	hash, err := intentHash(*d)
	if err != nil {
		x.err = cmp.Or(x.err, err)
		return
	}
	x.add(exported{
		epoch: d.Epoch, at: d.At, number: d.Event, denial: true, more: d.Told() - 1, place: e.place, events: x.decided(e, d, hash),
	})
}

// decided are the events of every decision.
func (x *Exporter) decided(e *entry, d *audit.Decision, hash string) []oxdeai.Event {
	verdict := oxdeai.Deny
	if d.Verdict == audit.Allow {
		verdict = oxdeai.Allow
	}
	reasons := make([]oxdeai.Reason, len(d.Reasons))
	for i, reason := range d.Reasons {
		reasons[i] = protocolReason(reason)
	}
	return []oxdeai.Event{
		x.event(e, oxdeai.Event{Type: oxdeai.IntentReceived, IntentHash: hash, AgentID: agentOf(*d)}),
		x.event(e, oxdeai.Event{
			Type: oxdeai.DecisionMade, IntentHash: hash, Decision: verdict, Reasons: reasons, PolicyVersion: policyVersion(d.Generation),
		}),
	}
}

func (x *Exporter) event(e *entry, event oxdeai.Event) oxdeai.Event {
	event.Timestamp, event.PolicyID = e.at/1000, x.config.Rules.Policy.Version.Hash
	return event
}

// keep adds the events of a receipt that the ledger has a number for, while
// the policy is in force.
func (x *Exporter) keep(l *life, e *entry, events []oxdeai.Event) {
	c := x.chapters[l.id]
	if c.under && (c.until == 0 || e.at < c.until) {
		x.add(exported{epoch: l.id.epoch, at: e.at, number: e.told.Number, place: e.place, events: events})
	}
}

func (x *Exporter) add(e exported) {
	x.entries = append(x.entries, e)
	if len(x.entries) >= 2*x.most {
		x.trim()
	}
}

// trim sorts the entries and lets the oldest go.
func (x *Exporter) trim() {
	slices.SortFunc(x.entries, compareExported)
	drop := max(0, len(x.entries)-x.most)
	x.left += int64(drop)
	x.entries = slices.Delete(x.entries, 0, drop)
}

// compareExported orders by instant; an event goes before the denials that
// observed it.
func compareExported(a, b exported) int {
	rank := func(e exported) int {
		if e.denial {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.number, b.number), cmp.Compare(rank(a), rank(b)),
		cmp.Compare(a.place.chain, b.place.chain), cmp.Compare(a.place.n, b.place.n))
}

// Close signs the envelope. It fails with ErrNotFollowing, naming the first
// receipt, where one is missing or does not follow, and with oxdeai.ErrTooLarge
// where the state alone is too large.
func (x *Exporter) Close() (*Exported, error) {
	report := x.replayer.Close()
	if report.Faults > 0 {
		return nil, fmt.Errorf("%w: %s; replay says more", ErrNotFollowing, report.Findings[0])
	}
	c, l, err := x.newest()
	if err != nil {
		return nil, err
	}
	if c.until == 0 {
		x.close(c, l)
	}
	if x.err != nil {
		return nil, x.err
	}
	return x.seal(c)
}

// newest is the tenant's last epoch.
func (x *Exporter) newest() (*chapter, *life, error) {
	var last *chapter
	for _, c := range x.chapters {
		if last == nil || cmp.Or(cmp.Compare(last.latest, c.latest), compareEpochs(last.id, c.id)) < 0 {
			last = c
		}
	}
	if last == nil {
		return nil, nil, fmt.Errorf("no receipt tells of an event of tenant %q", x.config.Tenant)
	}
	if !last.under {
		v := x.config.Rules.Policy.Version
		return nil, nil, fmt.Errorf("the ledger of tenant %q was never under this policy (generation %d, %s) in these receipts",
			x.config.Tenant, v.Generation, v.Hash)
	}
	return last, x.replayer.lives[last.id], nil
}

func (x *Exporter) seal(c *chapter) (*Exported, error) {
	x.entries = slices.DeleteFunc(x.entries, func(e exported) bool {
		return e.epoch != c.id.epoch && e.epoch != "" || e.at < c.since || c.until != 0 && e.at >= c.until
	})
	x.trim()
	policyID := x.config.Rules.Policy.Version.Hash
	snapshot, err := oxdeai.NewSnapshot(c.state, policyID)
	if err != nil {
		return nil, err
	}
	state, err := snapshot.Encode()
	if err != nil {
		return nil, err
	}
	hash, err := oxdeai.ModulesHash(snapshot)
	if err != nil {
		return nil, err
	}
	events, err := x.fitting(oxdeai.MaxDocumentBytes - envelopeBytes - base64.StdEncoding.EncodedLen(len(state)))
	if err != nil {
		return nil, err
	}
	end := c.latest
	if n := len(x.entries); n > 0 {
		end = max(end, x.entries[n-1].at)
	}
	events = append(events, oxdeai.Event{
		Type: oxdeai.StateCheckpoint, Timestamp: end / 1000, PolicyID: policyID, StateHash: hash,
	}.Object())
	envelope, err := x.config.Authority.Envelope(oxdeai.Envelope{Snapshot: state, Events: events})
	return &Exported{Envelope: envelope, Events: len(events), Event: c.number, Left: x.left, Counted: x.counted}, err
}

// fitting are the events of the newest entries that fit so many bytes.
func (x *Exporter) fitting(room int) ([]oxdeai.Value, error) {
	if room < 0 {
		return nil, fmt.Errorf("%w: the state of the tenant alone", oxdeai.ErrTooLarge)
	}
	var list []oxdeai.Value // newest first
	for i, e := range slices.Backward(x.entries) {
		for _, event := range slices.Backward(e.events) {
			object := event.Object()
			text, err := oxdeai.Canonical(object)
			if err != nil {
				return nil, err
			}
			room -= len(text) + 1
			list = append(list, object)
		}
		if room < 0 {
			x.left += int64(i + 1)
			list = list[:len(list)-len(e.events)]
			break
		}
		x.counted += e.more
	}
	slices.Reverse(list)
	return list, nil
}
