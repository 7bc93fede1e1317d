package gate_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/budget/embedded"
	"github.com/aegis-proxy/aegis-proxy/budget/redis"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/redistest"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// mirrorPolicy has two keys of one tenant, and two models whose input costs 1
// nano-USD a token and whose output 2.
const mirrorPolicy = `generation: 1
upstreams:
  - {name: sim, base_url: "http://127.0.0.1:1/v1", provider: openai, cap_field: max_completion_tokens}
models:
  - {match: "toy", upstreams: [sim], price: {input_usd_per_million: "0.001", output_usd_per_million: "0.002"}}
  - {match: "bear", upstreams: [sim], price: {input_usd_per_million: "0.001", output_usd_per_million: "0.002"}}
plans: {every: {denial_receipts_per_second: 1000000}} # a receipt for every denial
tenants:
  - name: acme
    plan: every
    keys: [{id: one, sha256: "%s"}, {id: two, sha256: "%s"}]
    %s
`

// plan is a policy and what happens under it.
type plan struct {
	tenant string // members
	moves  []move
}

// move is one thing that happens.
type move struct {
	do      string // "begin", "end", "wait", "throw" or "lift"
	key     int
	model   string
	nonce   string
	depth   int64
	tool    string // that gave the results; "" without a name
	first   int    // of its calls, whose results are there
	results int    // how many
	input   int64  // tokens
	output  int64
	which   int // of the open calls; of the switches
	outcome string
	seconds int64
}

// nonceSeconds is the window of nonces.
const nonceSeconds = 91

// mirrorSwitches are all but those of runs, which the protocol has no word for.
var mirrorSwitches = []string{budget.GlobalSwitch, policy.TenantSwitch, policy.KeySwitch("one"), policy.KeySwitch("two")}

// plans are random. What they stay out of, since protocol and product differ
// there on purpose, is listed in docs/decision.md.
func plans(windows []string, waits bool) *rapid.Generator[plan] {
	kinds := slices.Concat(slices.Repeat([]string{"begin"}, 8), slices.Repeat([]string{"end"}, 4), []string{"throw", "lift", "lift", "lift"})
	if waits {
		kinds = append(kinds, "wait", "wait")
	}
	moves := rapid.Custom(func(t *rapid.T) move {
		return move{
			do:      rapid.SampledFrom(kinds).Draw(t, "do"),
			key:     rapid.IntRange(0, 1).Draw(t, "key"),
			model:   rapid.SampledFrom([]string{"toy", "toy", "Toy", "bear"}).Draw(t, "model"),
			nonce:   rapid.SampledFrom([]string{"", "", "m", "n", "o"}).Draw(t, "nonce"),
			depth:   rapid.SampledFrom([]int64{0, 0, 0, 1, 2, 3}).Draw(t, "depth"),
			tool:    rapid.SampledFrom([]string{"", "search", "search", "fetch"}).Draw(t, "tool"),
			first:   rapid.IntRange(0, 5).Draw(t, "first"),
			results: rapid.SampledFrom([]int{0, 0, 1, 1, 2, 3}).Draw(t, "results"),
			input:   rapid.Int64Range(0, 300).Draw(t, "input"),
			output:  rapid.Int64Range(0, 200).Draw(t, "output"),
			which:   rapid.IntRange(0, 3).Draw(t, "which"),
			outcome: rapid.SampledFrom([]string{"settle", "settle", "unbilled", "unsent", "unknown"}).Draw(t, "outcome"),
			seconds: 2 * rapid.Int64Range(1, 80).Draw(t, "seconds"), // never the window of nonces, which is odd
		}
	})
	return rapid.Custom(func(t *rapid.T) plan {
		return plan{tenantMembers(t, windows), rapid.SliceOfN(moves, 20, 60).Draw(t, "moves")}
	})
}

// tenantMembers are the rules of a tenant, each or none of them.
func tenantMembers(t *rapid.T, windows []string) string {
	var members []string
	maybe := func(name string, member func() string) {
		if rapid.IntRange(0, 4).Draw(t, name) < 2 {
			members = append(members, member())
		}
	}
	limits := func(name string, most int, one func(scope, window string) string) string {
		var list []string
		for i := range rapid.IntRange(1, most).Draw(t, name+"s") {
			scope := rapid.SampledFrom([]string{"tenant", "key"}).Draw(t, "scope")
			window := rapid.SampledFrom(windows).Draw(t, "window")
			list = append(list, fmt.Sprintf("{name: l%d, scope: %s, %s}", i, scope, one(scope, window)))
		}
		return name + ": [" + strings.Join(list, ", ") + "]"
	}
	maybe("depth", func() string { return fmt.Sprintf("max_depth: %d", rapid.IntRange(0, 3).Draw(t, "max_depth")) })
	maybe("cap", func() string {
		return fmt.Sprintf(`per_request_usd: "0.%09d"`, rapid.IntRange(300, 700).Draw(t, "per_request"))
	})
	maybe("models", func() string {
		return "models: " + rapid.SampledFrom([]string{"{allow: [toy]}", "{allow: [tOy, bear]}", "{allow: [toy, bear], deny: [t*]}", "{allow: [toy], deny: [toy]}"}).Draw(t, "models")
	})
	maybe("replay", func() string { return fmt.Sprintf("replay: {window: %ds, retries: 0}", nonceSeconds) })
	maybe("slots", func() string {
		return limits("concurrency", 2, func(string, string) string { return fmt.Sprintf("limit: %d", rapid.IntRange(1, 4).Draw(t, "slots")) })
	})
	maybe("tools", func() string { return toolMembers(t, windows) })
	maybe("budget", func() string {
		return limits("budgets", 3, func(_, window string) string {
			return fmt.Sprintf(`%s, limit_usd: "0.%09d"`, window, rapid.IntRange(500, 5000).Draw(t, "usd"))
		})
	})
	maybe("rate", func() string {
		return limits("rates", 1, func(_, window string) string {
			return fmt.Sprintf("%s, limit: %d", window, rapid.IntRange(1, 6).Draw(t, "requests"))
		})
	})
	return strings.Join(members, "\n    ")
}

// tape is a log in memory.
type tape struct {
	mu     sync.Mutex
	bodies []audit.Body
}

func (l *tape) Append(_ context.Context, body audit.Body) (audit.Ref, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bodies = append(l.bodies, parsed(body))
	return l.receipt(len(l.bodies) - 1).Ref(), nil
}

func (l *tape) Post(body audit.Body, told func(audit.Ref, error)) {
	ref, err := l.Append(context.Background(), body)
	told(ref, err)
}

func (l *tape) Find(_ context.Context, events ...audit.EventID) (map[audit.EventID]audit.Ref, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[audit.EventID]audit.Ref{}
	for i := range l.bodies {
		r := l.receipt(i)
		if id, ok := r.EventID(); ok && slices.Contains(events, id) {
			found[id] = r.Ref()
		}
	}
	return found, nil
}

func (l *tape) Heads() map[string]audit.Head { return nil }

func (l *tape) Close() error { return nil }

func (l *tape) receipt(i int) audit.Receipt {
	return audit.Receipt{Chain: "00", N: int64(i + 1), Body: l.bodies[i]}
}

// last is the decision that was made last.
func (l *tape) last() audit.Decision {
	for _, body := range slices.Backward(l.bodies) {
		if d, ok := body.(audit.Decision); ok {
			return d
		}
	}
	return audit.Decision{}
}

func (l *tape) receipts(yield func(audit.Receipt, error) bool) {
	for i := range l.bodies {
		if !yield(l.receipt(i), nil) {
			return
		}
	}
}

// mirror is a gate on a real ledger, and an engine of the protocol that is
// asked the same on what the ledger's state maps to.
type mirror struct {
	t      rapid.TB
	ledger gate.Ledger
	tenant string
	rules  *gate.Rules
	clock  *clock // nil: the ledger's own
	log    *tape
	gate   *gate.Gate
	engine *oxdeai.Engine
	open   []flight
	nonces []oxdeai.NonceRecord // spent, by instant; a balance does not list them
}

// flight is an open call and the nonce that it holds.
type flight struct {
	grant *gate.Grant
	lease string
	nonce string // "" without
}

// mirrorRules are those of a plan for a tenant of that name.
func mirrorRules(t rapid.TB, members, tenant string) *gate.Rules {
	hash := func(key string) string {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	text := strings.Replace(fmt.Sprintf(mirrorPolicy, hash("one"), hash("two"), members), "name: acme", "name: "+tenant, 1)
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	rules, err := gate.NewRules(p)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func newMirror(t rapid.TB, l gate.Ledger, c *clock, dir, tenant, members string) *mirror {
	m := &mirror{t: t, ledger: l, clock: c, tenant: tenant, log: &tape{}, rules: mirrorRules(t, members, tenant)}
	m.engine = newEngine(t, m.rules)
	outbox, err := gate.OpenOutbox(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m.gate = gate.New(gate.Config{Ledger: l, Log: m.log, Outbox: outbox})
	if err := l.Provision(context.Background(), tenant); err != nil {
		t.Fatal(err)
	}
	return m
}

// newEngine decides under the rules' policy. Its secret signs nothing that is
// looked at.
func newEngine(t rapid.TB, rules *gate.Rules) *oxdeai.Engine {
	engine, err := oxdeai.NewEngine(oxdeai.Options{
		PolicyVersion: engineVersion(rules), PolicyID: rules.Policy.Version.Hash, EngineSecret: strings.Repeat("s", oxdeai.MinSecretUnits),
	})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func engineVersion(rules *gate.Rules) string {
	return strconv.FormatInt(rules.Policy.Version.Generation, 10)
}

func (m *mirror) tenantRules() *policy.Tenant { return m.rules.Policy.Tenant(m.tenant) }

func (m *mirror) now() int64 { return m.ledger.Now().UnixMilli() }

func (m *mirror) balances(claims []budget.Claim) (budget.Balances, error) {
	return m.ledger.Balances(context.Background(), m.tenant, claims)
}

// state is what the ledger's maps to.
func (m *mirror) state() *oxdeai.State {
	at := m.now()
	var nonces []oxdeai.NonceRecord
	for _, n := range m.nonces {
		if n.TS > at/1000-nonceSeconds { // else the ledger has forgotten it
			nonces = append(nonces, n)
		}
	}
	for _, f := range m.open {
		if f.nonce != "" {
			nonces = append(nonces, oxdeai.NonceRecord{Nonce: f.nonce, TS: at / 1000})
		}
	}
	s, err := gate.ProtocolState(m.rules.Policy, m.tenantRules(), at, m.balances, nonces)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func (m *mirror) play(moves []move) {
	for i, move := range moves {
		switch move.do {
		case "begin":
			m.begin(i, move)
		case "end":
			m.end(move)
		case "wait":
			m.wait(time.Duration(move.seconds) * time.Second)
		case "throw":
			if _, err := m.ledger.Throw(context.Background(), m.tenant, mirrorSwitches[move.which]); err != nil {
				m.t.Fatal(err)
			}
		case "lift":
			if _, err := m.ledger.Lift(context.Background(), m.tenant, mirrorSwitches[move.which], 0); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// wait moves the clock. Whoever holds a lease renews it meanwhile.
func (m *mirror) wait(d time.Duration) {
	for d > 0 {
		step := min(d, gate.LeaseTTL/2)
		m.clock.advance(step)
		d -= step
		for _, f := range m.open {
			if _, err := m.ledger.Renew(context.Background(), budget.LeaseRef{Tenant: m.tenant, Lease: f.lease}, gate.LeaseTTL); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// begin asks gate and engine, and compares what they say and what is then.
func (m *mirror) begin(i int, move move) {
	before, exhausted := m.state(), m.exhausted(move)
	upstream := m.rules.Policy.Upstreams["sim"]
	grant, err := m.gate.Begin(context.Background(), gate.Bid{
		Rules: m.rules, Key: m.tenantRules().Keys[move.key], Upstream: upstream,
		Facts: call.Facts{
			Model: move.model, Endpoint: "chat/completions", Upstream: upstream.Name, Depth: move.depth, Nonce: call.HashName(move.nonce),
			ToolResults: resultsOf(move), InputTokens: move.input, InputBound: "bytes", OutputCap: move.output, Choices: 1,
		},
	})
	decision := m.log.last()
	intent, problem := gate.IntentOf(decision)
	if problem != nil {
		m.t.Fatal(problem)
	}
	callOthers(before, intent.AgentID(), decision, move.tool)
	out := m.engine.EvaluatePure(intent, before, oxdeai.CollectAll)
	want := firstReason(out.Reasons, exhausted)
	if got := reasonOf(m.t, err); got != want {
		m.t.Fatalf("move %d (%+v): the gate says %q (%v), the engine %q (%v, %v)\nunder %s",
			i, move, got, err, want, out.Reasons, out.Err, m.describe(before))
	}
	if err != nil {
		return
	}
	f := flight{grant: grant, lease: decision.Lease}
	if move.nonce != "" && m.tenantRules().Replay != nil {
		f.nonce = nonceText(m.t, decision)
	}
	m.open = append(m.open, f)
	m.compare(i, intent.AgentID(), out.NextState, m.state())
}

// mirrorOrder is the order in which the gate's reasons go before each other:
// verdicts that ask no ledger, kill switches, what cannot be waited for, what
// can. The engine is asked for all reasons.
var mirrorOrder = []oxdeai.Reason{
	oxdeai.AllowlistTarget, oxdeai.DepthExceeded, oxdeai.CapExceeded, oxdeai.KillSwitchOn, oxdeai.NonceReplayed,
	oxdeai.ToolCallsExceeded, oxdeai.BudgetExceeded, oxdeai.VelocityExceeded, oxdeai.ConcurrencyExceeded,
}

// firstReason is the one of the engine's reasons that the gate tells. A budget
// that is only held comes last.
func firstReason(reasons []oxdeai.Reason, exhausted bool) oxdeai.Reason {
	for _, r := range mirrorOrder {
		if slices.Contains(reasons, r) && (r != oxdeai.BudgetExceeded || exhausted) {
			return r
		}
	}
	if len(reasons) > 0 {
		return reasons[0]
	}
	return ""
}

func reasonOf(t rapid.TB, err error) oxdeai.Reason {
	if err == nil {
		return ""
	}
	refusal, ok := errors.AsType[*call.Denial](err)
	if !ok {
		t.Fatal(err)
	}
	return gate.ProtocolReason(refusal.Reason)
}

// exhausted reports whether some budget has too little left even once all that
// is held is given back. The protocol does not tell that apart.
func (m *mirror) exhausted(move move) bool {
	standings := m.tenantRules().Standings(policy.Scope{Key: m.tenantRules().Keys[move.key].ID}, time.UnixMilli(m.now()))
	b, err := m.balances(policy.ClaimsOf(standings))
	if err != nil {
		m.t.Fatal(err)
	}
	for i, s := range standings {
		if b.Observed[i].Spent+move.input+2*move.output > s.Claim.Limit {
			return true
		}
	}
	return false
}

// compare holds the engine's next state against what the ledger's maps to now,
// for the agent that was allowed.
func (m *mirror) compare(i int, agent string, next, now *oxdeai.State) {
	if !m.limited("usd") { // the protocol counts what nothing limits, too
		now.Budget.Spent[agent] = next.Budget.Spent[agent]
	}
	if next.Budget.Spent[agent].Cmp(now.Budget.Spent[agent]) != 0 || next.Budget.Limit[agent].Cmp(now.Budget.Limit[agent]) != 0 {
		m.t.Fatalf("move %d: spent %v of %v by the engine, %v of %v by the ledger", i,
			next.Budget.Spent[agent], next.Budget.Limit[agent], now.Budget.Spent[agent], now.Budget.Limit[agent])
	}
	if m.clock == nil { // it goes on meanwhile, and so does a rolling window
		counter := now.Velocity.Counters[agent]
		counter.WindowStart = next.Velocity.Counters[agent].WindowStart
		now.Velocity.Counters[agent] = counter
	}
	if m.limited("requests") && next.Velocity.Counters[agent] != now.Velocity.Counters[agent] {
		m.t.Fatalf("move %d: requests %+v by the engine, %+v by the ledger", i, next.Velocity.Counters[agent], now.Velocity.Counters[agent])
	}
	if m.limited("slots") && next.Concurrency.Active[agent] != now.Concurrency.Active[agent] {
		m.t.Fatalf("move %d: active %d by the engine, %d by the ledger", i, next.Concurrency.Active[agent], now.Concurrency.Active[agent])
	}
	m.compareCalls(i, agent, next, now)
	if engine, err := m.engine.StateHash(now); err != nil || engine == "" {
		m.t.Fatalf("move %d: the ledger's state has no hash: %v", i, err)
	}
}

// limited reports whether the policy has a limit of that unit.
func (m *mirror) limited(unit string) bool {
	t := m.tenantRules()
	return slices.ContainsFunc(slices.Concat(t.Budgets, t.Rates, t.Concurrency), func(b *policy.Budget) bool { return b.Unit() == unit })
}

func (m *mirror) end(move move) {
	if len(m.open) == 0 {
		return
	}
	i := move.which % len(m.open)
	f := m.open[i]
	m.open = slices.Delete(m.open, i, i+1)
	outcome := outcomes[move.outcome]
	switch move.outcome {
	case "settle":
		outcome = used(move.input, move.output) // also above the hold
	case "unknown":
		outcome = gate.Outcome{Sent: true, Basis: audit.BasisUnknown}
	}
	f.grant.End(outcome)
	if f.nonce != "" && move.outcome != "unsent" {
		m.nonces = append(m.nonces, oxdeai.NonceRecord{Nonce: f.nonce, TS: m.now() / 1000})
	}
}

// nonceText is the number of a decision's nonce.
func nonceText(t rapid.TB, d audit.Decision) string {
	n, ok := new(big.Int).SetString(string(d.Facts.Nonce), 16)
	if !ok {
		t.Fatalf("nonce %q", d.Facts.Nonce)
	}
	return n.Lsh(n, 64).String()
}

func (m *mirror) describe(s *oxdeai.State) string {
	return fmt.Sprintf("%+v\nspent %v of %v, caps %v, velocity %+v, active %v of %v, nonces %v, switches %+v, allowed %+v, tools %+v", m.tenantRules().Name,
		s.Budget.Spent, s.Budget.Limit, s.MaxAmountPerAction, s.Velocity, s.Concurrency.Active, s.Concurrency.MaxConcurrent,
		s.Replay.Nonces, s.KillSwitch, s.Allowlists, s.ToolLimits)
}

// compareExport holds the state in an envelope that is made of the receipts
// against that of the ledger. A last event has both at one instant.
func (m *mirror) compareExport(t *testing.T) {
	if _, err := m.ledger.Throw(context.Background(), m.tenant, policy.KeySwitch("three")); err != nil {
		m.t.Fatal(err)
	}
	upkeep := &gate.Upkeep{Keeper: m.ledger, Ledger: m.ledger, Log: m.log, Logger: slog.New(slog.DiscardHandler)}
	if err := upkeep.Sweep(context.Background(), m.tenant); err != nil {
		m.t.Fatal(err)
	}
	authority, _ := newAuthority(t)
	e, err := exported(t, gate.ExportConfig{Tenant: m.tenant, Rules: m.rules, Authority: authority}, m.log.receipts)
	if err != nil && strings.Contains(err.Error(), "was never under this policy") {
		return // nothing was granted
	}
	if err != nil {
		m.t.Fatal(err)
	}
	_, got := imported(t, mustVerifyEnvelope(t, e.Envelope, m.rules.Policy.Version.Hash), m.rules)
	want := m.state()
	want.Concurrency.ActiveAuths, got.Concurrency.ActiveAuths = nil, nil
	if m.hash(want) != m.hash(got) {
		m.t.Fatalf("the ledger gives\n%s\nits receipts\n%s", m.describe(want), m.describe(got))
	}
}

func (m *mirror) hash(s *oxdeai.State) string {
	hash, err := m.engine.StateHash(s)
	if err != nil {
		m.t.Fatal(err)
	}
	return hash
}

// TestEngineAndGateAgree: on a ledger that took part in random requests, the
// engine of the protocol decides the next one as the gate does, for the same
// reason, and both count it alike.
func TestEngineAndGateAgree(t *testing.T) {
	windows := []string{"window: minute", "window: hour", "window: rolling, length: 2m", "window: forever"}
	told := map[oxdeai.Reason]int{}
	rapid.Check(t, func(rt *rapid.T) {
		c := &clock{now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)}
		l, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Now: c.Now})
		if err != nil {
			rt.Fatal(err)
		}
		defer l.Close()
		p := plans(windows, true).Draw(rt, "plan")
		m := newMirror(rt, l, c, t.TempDir(), "acme", p.tenant)
		defer m.close()
		m.play(p.moves)
		m.compareExport(t)
		m.tally(told)
	})
	for _, r := range append([]oxdeai.Reason{""}, mirrorOrder...) {
		if told[r] == 0 {
			t.Errorf("no request was decided with %q: %v", r, told)
		}
	}
}

// close ends what is open.
func (m *mirror) close() {
	for _, f := range m.open {
		f.grant.End(gate.Outcome{})
	}
}

// tally counts the decisions by their reason; "" for those that allow.
func (m *mirror) tally(told map[oxdeai.Reason]int) {
	for _, body := range m.log.bodies {
		d, ok := body.(audit.Decision)
		switch {
		case !ok:
		case d.Verdict == audit.Allow:
			told[""]++
		default:
			told[gate.ProtocolReason(call.Reason(d.Reasons[0]))]++
		}
	}
}

// TestEngineAndGateAgreeOnRedis is the same on a real Redis, whose clock nobody
// moves, so that windows do not end in between.
func TestEngineAndGateAgreeOnRedis(t *testing.T) {
	l, err := redis.Open(t.Context(), redis.Config{URL: redistest.Start(t).URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	generator := plans([]string{"window: rolling, length: 24h", "window: forever"}, false)
	for seed := range 60 {
		tenant := fmt.Sprintf("acme-%d", seed)
		p := generator.Example(seed)
		m := newMirror(t, l, nil, t.TempDir(), tenant, p.tenant)
		m.play(p.moves)
		m.close()
	}
}
