package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// Defaults of a tenant.
const (
	defaultMinOutput   = 16
	defaultDrain       = time.Minute
	defaultRunLifetime = 30 * 24 * time.Hour
	// defaultDenialReceipts is what a few clients that obey their answers cause;
	// one that does not is denied a thousand times as often.
	defaultDenialReceipts = 10
	// A platform that starts 3,000 runs a day has 100,000 within the lifetime. A live
	// name takes about half a KB of the embedded ledger's memory.
	defaultMaxRuns  = 100_000
	defaultMaxUsers = 100_000
)

// maxDenialReceipts is more than a machine denies in a second: all have their own.
const maxDenialReceipts = 1_000_000

// rules are what a plan or a tenant says, over what stood before: the
// defaults under a plan, and a plan under a tenant.
type rules struct {
	tenant   Tenant // without name and keys
	wait     bool
	waitMost time.Duration
}

func defaults() rules {
	return rules{tenant: Tenant{
		Mode:           Enforce,
		MinOutput:      defaultMinOutput,
		Disconnect:     Drain,
		DrainLimit:     defaultDrain,
		OnKill:         Finish,
		WhenUnknown:    HoldContext,
		RunLifetime:    defaultRunLifetime,
		MaxRuns:        defaultMaxRuns,
		MaxUsers:       defaultMaxUsers,
		DenialReceipts: defaultDenialReceipts,
		MaxDepth:       noDepthLimit,
	}}
}

// apply lays what a plan or a tenant says over the rules.
func (l *loader) apply(ru *rules, d *rulesDoc) {
	t := &ru.tenant
	t.Project = l.label(&d.Project, t.Project)
	t.Environment = l.label(&d.Environment, t.Environment)
	t.Mode = choice(&l.reader, &d.Mode, t.Mode, Enforce, Observe)
	t.Capabilities = l.words(&d.Capabilities, t.Capabilities, l.capability)
	t.ActionKinds = l.words(&d.ActionKinds, t.ActionKinds, l.name)
	models := d.Models.read(&l.reader)
	t.AllowModels = l.patterns(&models.Allow, t.AllowModels)
	t.DenyModels = l.patterns(&models.Deny, t.DenyModels)
	endpoints, tools := d.Endpoints.read(&l.reader), d.Tools.read(&l.reader)
	t.AllowEndpoints = l.patterns(&endpoints.Allow, t.AllowEndpoints)
	t.DenyEndpoints = l.patterns(&endpoints.Deny, t.DenyEndpoints)
	t.AllowTools = l.patterns(&tools.Allow, t.AllowTools)
	t.DenyTools = l.patterns(&tools.Deny, t.DenyTools)
	t.HostedTools = l.hosted(&d.HostedTools, t.HostedTools)
	t.WhenUnknown = choice(&l.reader, &d.WhenUnknown, t.WhenUnknown, HoldContext, DenyUnknown)
	t.Upstreams = l.upstreamNames(&d.Upstreams, t.Upstreams)
	t.PerRequest = l.usd(&d.PerRequest, t.PerRequest)
	t.MinOutput = l.count(&d.MinOutput, t.MinOutput, 1, maxTokens)
	t.Redact = l.flag(&d.RedactAmounts, t.Redact)
	t.RunLifetime = l.duration(&d.RunLifetime, t.RunLifetime, minLength, maxLength)
	t.MaxRuns = l.count(&d.MaxRuns, t.MaxRuns, 1, maxNames)
	t.MaxUsers = l.count(&d.MaxUsers, t.MaxUsers, 1, maxNames)
	t.DenialReceipts = l.count(&d.Denials, t.DenialReceipts, 0, maxDenialReceipts)
	t.RunsFrom = l.words(&d.RunsFrom, t.RunsFrom, l.namesRun)
	t.RunRequired = l.flag(&d.RunRequired, t.RunRequired)
	t.UserField = l.label(&d.UserField, t.UserField)
	t.UserHeader = l.userHeader(&d.UserHeader, t.UserHeader)
	t.UserRequired = l.flag(&d.UserRequired, t.UserRequired)
	l.applyEnds(ru, d)
	t.Replay = l.replay(&d.Replay, t.Replay)
	t.MaxDepth = l.count(&d.MaxDepth, t.MaxDepth, 0, MaxDepthFact)
	l.applyLimits(t, d)
}

// applyEnds lays over what happens to requests that do not fit, to those whose
// client has gone, and to those in flight when a kill switch is thrown.
func (l *loader) applyEnds(ru *rules, d *rulesDoc) {
	t := &ru.tenant
	l.exhausted(t, &d.WhenExhausted)
	switch choice(&l.reader, &d.WhenHeld, "", "deny", "wait") {
	case "deny":
		ru.wait = false
	case "wait":
		ru.wait = true
	}
	ru.waitMost = l.duration(&d.WaitLimit, ru.waitMost, time.Millisecond, maxWait)
	t.Disconnect = choice(&l.reader, &d.OnDisconnect, t.Disconnect, Drain, Cancel)
	t.OnKill = choice(&l.reader, &d.OnKill, t.OnKill, Finish, Cut)
	t.DrainLimit = l.duration(&d.DrainLimit, t.DrainLimit, time.Millisecond, maxDrain)
	if ru.wait && ru.waitMost == 0 && d.WhenHeld.given() {
		l.refuse(&d.WhenHeld.entry, "wait needs a wait_limit; write one as in wait_limit: 10s")
	}
	t.WaitLimit = 0
	if ru.wait {
		t.WaitLimit = ru.waitMost
	}
}

// words are what a list says, each word as read takes it; where there is no list, what stood before.
func (l *loader) words(w *words, before []string, read func(*scalar) string) []string {
	if !w.given() {
		return before
	}
	list := []string{}
	for _, s := range l.each(w) {
		if word := read(&s); word != "" {
			list = append(list, word)
		}
	}
	return list
}

// capability is one of those that a tenant may be given; "" for none.
func (l *loader) capability(s *scalar) string { return choice(&l.reader, s, "", call.Needs[:]...) }

// planned reads the rule sets that tenants share.
func (l *loader) planned(doc *fileDoc) {
	for name, d := range doc.Plans.read(&l.reader) {
		ru := defaults()
		l.apply(&ru, d)
		if n := l.name(&name); n != "" {
			l.plans[n] = &ru
		}
	}
}

func (l *loader) tenants(root *yaml.Node, doc *fileDoc) {
	if !l.require(root, &doc.Tenants.entry, "tenants", "list who may spend") {
		return
	}
	for n, d := range doc.Tenants.read(&l.reader) {
		t := l.tenant(n, d)
		l.policy.Tenants = append(l.policy.Tenants, t)
		l.policy.byName[t.Name] = t
	}
}

func (l *loader) tenant(n *yaml.Node, d *tenantDoc) *Tenant {
	ru := l.plan(&d.Plan)
	l.apply(&ru, &d.rulesDoc)
	t := &ru.tenant
	if l.require(n, &d.Name.entry, "name", "receipts and balances are kept under it") {
		t.Name = l.name(&d.Name)
	}
	if t.Name != "" {
		l.taken("tenant", t.Name, &d.Name.entry)
	}
	l.checkUsers(n, t)
	l.checkDowngrade(n, t)
	l.checkClaims(n, t)
	for n, k := range d.Keys.read(&l.reader) {
		l.key(n, k, t)
	}
	return t
}

// plan returns a copy of the rules that a tenant starts from.
func (l *loader) plan(s *scalar) rules {
	name, ok := l.text(s)
	if !ok {
		return defaults()
	}
	ru, ok := l.plans[name]
	if !ok {
		hint := "; there are no plans"
		if len(l.plans) > 0 {
			hint = "; there is " + joinSome(slices.Sorted(maps.Keys(l.plans)))
		}
		l.refuse(&s.entry, "there is no plan %s%s", quote(name), hint)
		return defaults()
	}
	return *ru
}

// checkClaims refuses more limits than one request can claim from.
func (l *loader) checkClaims(n *yaml.Node, t *Tenant) {
	claims := len(t.counters)
	if t.Replay != nil {
		claims++
	}
	if claims > maxBudgets && len(t.Budgets) <= maxBudgets {
		l.reject(n, "tenant %s: %d limits in all; budgets, rates, concurrency, tool_calls and replay together can be %d",
			quote(t.Name), claims, maxBudgets)
	}
}

// checkUsers refuses limits of end users whom nothing would name, and that there be one.
func (l *loader) checkUsers(n *yaml.Node, t *Tenant) {
	if t.UserField != "" || t.UserHeader != "" {
		return
	}
	if t.UserRequired {
		l.reject(n, "tenant %s: user_required wants an end user, but no user_field or user_header says who that is; give one, as in user_field: user",
			quote(t.Name))
	}
	for _, b := range t.limits() {
		if slices.Contains(b.Scope, scopeUser) {
			l.reject(n, "tenant %s: %s %s limits end users, but no user_field or user_header says who they are; give one, as in user_field: user",
				quote(t.Name), b.unit.noun, quote(b.Name))
			return
		}
	}
}

func (l *loader) key(n *yaml.Node, d *keyDoc, t *Tenant) {
	k := &Key{Tenant: t, Trusted: l.flag(&d.Trusted, false)}
	if l.require(n, &d.ID.entry, "id", "receipts name the key by it") {
		k.ID = l.name(&d.ID)
		k.switches = k.ownSwitches()
	}
	if k.ID != "" {
		l.taken("key id", k.ID, &d.ID.entry)
	}
	if !l.require(n, &d.SHA256.entry, "sha256", "give the key's SHA-256, as `aegis-proxy keys new` prints it") || !l.keyHash(&d.SHA256, &k.Hash) {
		return
	}
	t.Keys = append(t.Keys, k)
	if first, taken := l.policy.byKey[k.Hash]; taken {
		l.refuse(&d.SHA256.entry, "the key is already that of id %s; each needs its own", quote(first.ID))
		return
	}
	l.policy.byKey[k.Hash] = k
}

// keyHash reads the SHA-256 of a key. What it refuses may be the key itself,
// so it never repeats the text.
func (l *loader) keyHash(s *scalar, into *[32]byte) bool {
	text, ok := l.text(s)
	if !ok {
		return false
	}
	if len(text) != 2*len(into) {
		l.refuse(&s.entry, "must be 64 hex digits, in quotes, as `aegis-proxy keys new` prints them")
		return false
	}
	if _, err := hex.Decode(into[:], []byte(text)); err != nil {
		l.refuse(&s.entry, "must be 64 hex digits, in quotes, as `aegis-proxy keys new` prints them")
		return false
	}
	if *into == sha256.Sum256(nil) {
		l.refuse(&s.entry, "is the SHA-256 of an empty key; make one with `aegis-proxy keys new`")
		return false
	}
	return true
}
