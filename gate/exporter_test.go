package gate_test

import (
	"bytes"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/budget"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// authorityKey signs nothing outside this package's tests.
const authorityKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
`

// newAuthority signs as the tests' proxy, and says by which keys that is checked.
func newAuthority(t testing.TB) (*gate.Authority, oxdeai.Trust) {
	t.Helper()
	signer, err := audit.ParseSigner([]byte(authorityKey))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := gate.NewAuthority("aegis-proxy", signer)
	if err != nil {
		t.Fatal(err)
	}
	published, err := authority.KeySet()
	if err != nil {
		t.Fatal(err)
	}
	sets, err := oxdeai.ParseKeySets(published)
	if err != nil {
		t.Fatal(err)
	}
	return authority, oxdeai.Trust{KeySets: sets}
}

// exported is what an exporter makes of receipts.
func exported(t testing.TB, c gate.ExportConfig, receipts iter.Seq2[audit.Receipt, error]) (*gate.Exported, error) {
	t.Helper()
	x, err := gate.NewExporter(c)
	if err != nil {
		return nil, err
	}
	for r, err := range receipts {
		if err != nil {
			t.Fatal(err)
		}
		x.Add(r)
	}
	return x.Close()
}

func merged(t testing.TB, dirs ...string) iter.Seq2[audit.Receipt, error] {
	t.Helper()
	sources, err := audit.Files(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Merge(sources...)
}

func (w *world) export(rules *gate.Rules, to int64) []byte {
	w.t.Helper()
	authority, _ := newAuthority(w.t)
	e, err := exported(w.t, gate.ExportConfig{Tenant: "acme", Rules: rules, Authority: authority, To: to}, merged(w.t, filepath.Join(w.dir, "receipts")))
	if err != nil {
		w.t.Fatal(err)
	}
	return e.Envelope
}

// mustVerifyEnvelope checks an envelope and its parts by every verifier, in strict mode.
func mustVerifyEnvelope(t testing.TB, envelope []byte, policyID string) *oxdeai.Envelope {
	t.Helper()
	_, trust := newAuthority(t)
	whole := oxdeai.VerifyEnvelope(envelope, time.Now().Unix(), oxdeai.EnvelopeOptions{
		Mode: oxdeai.ModeStrict, Trust: trust, ExpectedIssuer: "aegis-proxy", ExpectedPolicyID: policyID,
	})
	if !whole.OK() {
		t.Fatalf("envelope: %+v", whole)
	}
	e, err := oxdeai.DecodeEnvelope(envelope)
	if err != nil {
		t.Fatal(err)
	}
	if r := oxdeai.VerifySnapshot(e.Snapshot, policyID); !r.OK() || r.StateHash != whole.StateHash {
		t.Errorf("snapshot: %+v", r)
	}
	events := oxdeai.VerifyAuditEvents(e.Events, oxdeai.AuditOptions{ExpectedPolicyID: policyID, ExpectedHead: whole.AuditHeadHash})
	if !events.OK() {
		t.Errorf("events: %+v", events)
	}
	return e
}

// imported is the state of an envelope, as an engine of the protocol goes on
// from it.
func imported(t testing.TB, e *oxdeai.Envelope, rules *gate.Rules) (*oxdeai.Engine, *oxdeai.State) {
	t.Helper()
	snapshot, err := oxdeai.DecodeSnapshot(e.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	engine := newEngine(t, rules)
	state := &oxdeai.State{PolicyVersion: engineVersion(rules)}
	if err := engine.Import(state, snapshot); err != nil {
		t.Fatal(err)
	}
	return engine, state
}

// texts are the members of an envelope's events of one type.
func texts(e *oxdeai.Envelope, kind oxdeai.EventType, member string) []string {
	var list []string
	for _, v := range e.Events {
		o := v.(*oxdeai.Object)
		if is, _ := o.Text("type"); is == string(kind) {
			text, _ := o.Text(member)
			list = append(list, text)
		}
	}
	return list
}

// TestExportOfTheStory: each policy's part of the story verifies, and has every
// decision that was made under it.
func TestExportOfTheStory(t *testing.T) {
	s := newStory(t)
	decisions := bodies[audit.Decision](s.receipts())
	for i, rules := range s.rules {
		envelope := s.export(rules, 0)
		if again := s.export(rules, 0); !bytes.Equal(envelope, again) {
			t.Error("the same receipts give two envelopes")
		}
		version := rules.Policy.Version
		e := mustVerifyEnvelope(t, envelope, version.Hash)
		allowed, denied := 0, 0
		for _, d := range decisions {
			switch {
			case d.Generation != version.Generation:
			case d.Verdict == audit.Allow:
				allowed++
			case d.Reasons[0] != string(policy.StalePolicy): // the next policy is in force by then
				denied++
			}
		}
		verdicts := texts(e, oxdeai.DecisionMade, "decision")
		got := len(texts(e, oxdeai.AuthEmitted, "authorization_id"))
		if got != allowed || len(verdicts) != allowed+denied || allowed == 0 {
			t.Errorf("policy %d: %d authorizations, %d decisions; want %d and %d", i+1, got, len(verdicts), allowed, allowed+denied)
		}
	}
}

// TestExportedStateIsTheLedgers: what the snapshot says is what the ledger
// says: spent and held together, slots, nonces, switches, open leases.
func TestExportedStateIsTheLedgers(t *testing.T) {
	w := newWorld(t, `max_depth: 3
per_request_usd: "0.000000500"
models: {allow: ["toy"]}
replay: {retries: 1, window: 1h}
concurrency: [{name: parallel, limit: 2}]
rates: [{name: burst, window: minute, limit: 5}]
budgets:
  - {name: daily, window: day, limit_usd: "0.000001000"}
  - {name: wide, window: forever, limit_usd: "1"}`)
	nonced := w.call(100, 50)
	nonced.Facts.Nonce = call.HashName("n")
	w.begin(nonced).End(used(90, 10)) // 110
	open := w.begin(w.call(10, 5))    // 20
	w.throw("acme", policy.KeySwitch("acme-1"))
	w.sweepOnce()

	e := mustVerifyEnvelope(t, w.export(w.rules, 0), w.rules.Policy.Version.Hash)
	_, s := imported(t, e, w.rules)
	const agent = "acme/acme-1"
	at := w.clock.Now().Unix()
	switch {
	case s.Budget.Limit[agent].Int64() != 1000 || s.Budget.Spent[agent].Int64() != 130:
		t.Errorf("budget %v", s.Budget)
	case s.MaxAmountPerAction[agent].Int64() != 500 || s.MaxDepth[agent] != 3:
		t.Errorf("caps %v, %v", s.MaxAmountPerAction, s.MaxDepth)
	case s.Velocity.WindowSeconds != 60 || s.Velocity.MaxActions != 5 || s.Velocity.Counters[agent] != oxdeai.VelocityCounter{WindowStart: at - at%60, Count: 2}:
		t.Errorf("velocity %+v", s.Velocity)
	case s.Concurrency.MaxConcurrent[agent] != 2 || s.Concurrency.Active[agent] != 1:
		t.Errorf("concurrency %+v", s.Concurrency)
	case len(s.Concurrency.ActiveAuths[agent]) != 1 || s.Concurrency.ActiveAuths[agent][open.Receipt] != at+gate.AuthorizationSeconds:
		t.Errorf("authorizations %v, want %s", s.Concurrency.ActiveAuths, open.Receipt)
	case s.KillSwitch.Global || !s.KillSwitch.Agents[agent]:
		t.Errorf("switches %+v", s.KillSwitch)
	case s.Replay.WindowSeconds != 3600 || s.Replay.MaxNoncesPerAgent != 1000 || len(s.Replay.Nonces[agent]) != 1 || s.Replay.Nonces[agent][0].TS != at:
		t.Errorf("replay %+v", s.Replay)
	case !slices.Equal(s.Allowlists.Targets, []string{"sim/toy"}) || !slices.Equal(s.Allowlists.Assets, []string{"nano-USD"}):
		t.Errorf("allowlists %+v", s.Allowlists)
	}
	// provision, policy, then the first call's grant and settlement.
	if refs := texts(e, oxdeai.ExecutionAttested, "execution_ref"); !slices.Equal(refs, []string{"4/settle/110"}) {
		t.Errorf("executed %v", refs)
	}

	w.clock.advance(gate.LeaseTTL + time.Second)
	w.sweepOnce() // its lease expires
	expired := mustVerifyEnvelope(t, w.export(w.rules, 0), w.rules.Policy.Version.Hash)
	if _, s := imported(t, expired, w.rules); s.Concurrency.Active[agent] != 0 || len(s.Concurrency.ActiveAuths[agent]) != 0 || s.Budget.Spent[agent].Int64() != 130 {
		t.Errorf("expired: %+v, spent %v", s.Concurrency, s.Budget.Spent)
	}
	open.End(used(1, 1)) // and is corrected
	corrected := mustVerifyEnvelope(t, w.export(w.rules, 0), w.rules.Policy.Version.Hash)
	if refs := texts(corrected, oxdeai.ExecutionAttested, "execution_ref"); len(refs) != 2 || !strings.HasSuffix(refs[1], "/correct/3") {
		t.Errorf("executed %v", refs)
	}
	before := mustVerifyEnvelope(t, w.export(w.rules, 2), w.rules.Policy.Version.Hash)
	if _, s := imported(t, before, w.rules); s.Budget.Spent[agent].Sign() != 0 || len(before.Events) != 1 {
		t.Errorf("as of event 2: %v, %d events", s.Budget.Spent, len(before.Events))
	}
}

// TestExportKeepsToItsTenant: what other tenants do changes no byte.
func TestExportKeepsToItsTenant(t *testing.T) {
	onBothLedgers(t, func(w *actionWorld) {
		authority, _ := newAuthority(w)
		config := gate.ExportConfig{Tenant: "acme", Rules: w.rules, Authority: authority}
		export := func() []byte {
			u := &gate.Upkeep{Keeper: w.ledger, Ledger: w.ledger, Log: w.log, Logger: slog.New(slog.DiscardHandler)}
			w.must(errors.Join(u.Sweep(w.Context(), "acme"), u.Sweep(w.Context(), "umbrella")))
			e, err := exported(w, config, audit.Merge(w.sources()...))
			w.must(err)
			return e.Envelope
		}
		w.authorize(w.action("a", 10))
		alone := export()
		other := w.action("b", 20)
		other.Key = w.key("umbrella")
		w.authorize(other)
		both := export()
		e := mustVerifyEnvelope(w, both, w.rules.Policy.Version.Hash)
		if !bytes.Equal(alone, both) || strings.Contains(string(both)+string(e.Snapshot), "umbrella") {
			w.Errorf("another tenant's action is in the envelope")
		}
	})
}

// TestExportRefusesAGap: without one receipt of an event there is no envelope.
func TestExportRefusesAGap(t *testing.T) {
	w := newWorld(t, daily(1000))
	for range 3 {
		w.begin(w.call(100, 50)).End(used(90, 10))
	}
	w.sweepOnce()
	authority, _ := newAuthority(t)
	config := gate.ExportConfig{Tenant: "acme", Rules: w.rules, Authority: authority}
	for _, missing := range []int64{1, 2, 4, 6} {
		_, err := exported(t, config, func(yield func(audit.Receipt, error) bool) {
			for r, err := range merged(t, filepath.Join(w.dir, "receipts")) {
				if id, ok := r.EventID(); ok && id.Number == missing {
					continue
				}
				if !yield(r, err) {
					return
				}
			}
		})
		if !errors.Is(err, gate.ErrNotFollowing) || !strings.Contains(err.Error(), "are in no receipt") {
			t.Errorf("without event %d: %v", missing, err)
		}
	}
}

// TestStateListsTheNewestNonces: few of them, and of tool calls, where there are
// many keys, so that the state stays small enough to be exported.
func TestStateListsTheNewestNonces(t *testing.T) {
	var nonces []oxdeai.NonceRecord
	for i := range 2000 {
		nonces = append(nonces, oxdeai.NonceRecord{Nonce: strings.Repeat("9", 57) + strconv.Itoa(i+1000), TS: int64(i)})
	}
	called := func(claims []budget.Claim) (budget.Balances, error) {
		return budget.Balances{Observed: slices.Repeat([]budget.Observed{{Spent: 2000}}, len(claims))}, nil
	}
	tool := strings.Repeat("t", 96)
	for _, c := range []struct {
		keys, most, calls int
		rule              string
	}{
		{1, 1000, 1000, "{}"}, {2, 7, 1000, "{max_nonces: 7}"}, {65, 1000, 252, "{}"}, {128, 512, 128, "{}"}, {1000, 65, 16, "{}"},
	} {
		rules := rulesOf(t, "replay: "+c.rule+"\ntool_calls: [{name: t, tool: "+tool+", limit: 5000}]")
		tenant := *rules.Policy.Tenant("acme")
		tenant.Keys = []*policy.Key{{ID: "acme-1", Tenant: &tenant}}
		for i := 1; i < c.keys; i++ {
			tenant.Keys = append(tenant.Keys, &policy.Key{ID: "k" + strconv.Itoa(i), Tenant: &tenant})
		}
		s, err := gate.ProtocolState(rules.Policy, &tenant, 2_000_000, called, nonces)
		if err != nil {
			t.Fatal(err)
		}
		list := s.Replay.Nonces["acme/acme-1"]
		if len(s.Replay.Nonces) != c.keys || s.Replay.MaxNoncesPerAgent != int64(c.most) || len(list) != c.most || list[len(list)-1] != nonces[1999] {
			t.Errorf("%d keys: %d agents with %d nonces, at most %d; want %d", c.keys, len(s.Replay.Nonces), len(list), s.Replay.MaxNoncesPerAgent, c.most)
		}
		calls, most := len(s.ToolLimits.Calls["acme/acme-1"]), s.ToolLimits.MaxCallsByTool["acme/acme-1"][tool]
		if len(s.ToolLimits.Calls) != c.keys || calls != c.calls || most != int64(3000+calls) {
			t.Errorf("%d keys: %d agents with %d calls, at most %d; want %d", c.keys, len(s.ToolLimits.Calls), calls, most, c.calls)
		}
		snapshot, err := oxdeai.NewSnapshot(s, "p")
		if err != nil {
			t.Fatal(err)
		}
		if text, err := snapshot.Encode(); err != nil || len(text) > oxdeai.MaxDocumentBytes/2 {
			t.Errorf("%d keys: %d bytes, %v", c.keys, len(text), err)
		}
	}
}

// TestExportRefusesASecondLife: what a tenant has left is not to be told of a
// ledger that began anew.
func TestExportRefusesASecondLife(t *testing.T) {
	rules := rulesOf(t, daily(1000))
	v := rules.Policy.Version
	authority, _ := newAuthority(t)
	life := func(epoch string, at int64) []audit.Body {
		return []audit.Body{
			audit.Event{At: at, Tenant: "acme", Event: 1, Epoch: epoch, Name: "provision", Recovered: true},
			audit.Event{At: at, Tenant: "acme", Event: 2, Epoch: epoch, Name: "policy", Generation: v.Generation, Policy: v.Hash, Recovered: true},
			audit.Decision{
				At: at + 1, Verdict: audit.Deny, Reasons: []string{"ledger_unavailable"}, Generation: v.Generation, Policy: v.Hash, Prices: "another table",
				Facts: call.Facts{Tenant: "acme", Key: "acme-1", Run: call.HashName(epoch)},
			},
		}
	}
	_, err := exported(t, gate.ExportConfig{Tenant: "acme", Rules: rules, Authority: authority}, func(yield func(audit.Receipt, error) bool) {
		for i, body := range slices.Concat(life("first", 1000), life("second", 9000)) {
			if !yield(audit.Receipt{Chain: "00", N: int64(i + 1), Body: body}, nil) {
				return
			}
		}
	})
	if !errors.Is(err, gate.ErrNotFollowing) || !strings.Contains(err.Error(), "begins anew in the epoch second") {
		t.Errorf("got %v", err)
	}
}

func TestExportNeedsItsPolicyAndTenant(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.begin(w.call(100, 50)).End(used(90, 10))
	w.sweepOnce()
	authority, _ := newAuthority(t)
	receipts := merged(t, filepath.Join(w.dir, "receipts"))
	other := rulesOf(t, daily(999))
	for _, c := range []struct {
		config gate.ExportConfig
		want   string
	}{
		{gate.ExportConfig{Tenant: "umbrella", Rules: w.rules}, `the policy has no tenant "umbrella"`},
		{gate.ExportConfig{Tenant: "acme", Rules: other}, "was never under this policy (generation 1, " + other.Policy.Version.Hash},
		{gate.ExportConfig{Tenant: "acme", Rules: w.rules, To: 1}, "was never under this policy"},
	} {
		c.config.Authority = authority
		if _, err := exported(t, c.config, receipts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	none := func(func(audit.Receipt, error) bool) {}
	if _, err := exported(t, gate.ExportConfig{Tenant: "acme", Rules: w.rules, Authority: authority}, none); err == nil {
		t.Error("an envelope of nothing")
	}
}

// TestEveryByteOfAnEnvelopeCounts changes each byte in turn.
func TestEveryByteOfAnEnvelopeCounts(t *testing.T) {
	w := newWorld(t, daily(1000))
	w.begin(w.call(100, 50)).End(used(90, 10))
	w.refused(w.call(1000, 50), policy.BudgetExhausted)
	w.sweepOnce()
	envelope := w.export(w.rules, 0)
	_, trust := newAuthority(t)
	for i := range envelope {
		for _, flip := range []byte{1, 0x20} {
			changed := bytes.Clone(envelope)
			changed[i] ^= flip
			if r := oxdeai.VerifyEnvelope(changed, 0, oxdeai.EnvelopeOptions{Trust: trust}); r.OK() {
				t.Fatalf("byte %d from %q to %q is not noticed", i, envelope[i], changed[i])
			}
		}
	}
}

// TestExportLetsTheOldestGo: of receipts that do not fit, the newest are kept,
// and the state counts them all.
func TestExportLetsTheOldestGo(t *testing.T) {
	w := newWorld(t, daily(100_000))
	for range 20 {
		w.begin(w.call(100, 50)).End(used(90, 10))
	}
	w.sweepOnce()
	authority, _ := newAuthority(t)
	x, err := gate.NewExporter(gate.ExportConfig{Tenant: "acme", Rules: w.rules, Authority: authority})
	if err != nil {
		t.Fatal(err)
	}
	x.SetMost(9)
	for r := range merged(t, filepath.Join(w.dir, "receipts")) {
		x.Add(r)
	}
	all, err := x.Close()
	if err != nil {
		t.Fatal(err)
	}
	e := mustVerifyEnvelope(t, all.Envelope, w.rules.Policy.Version.Hash)
	refs := texts(e, oxdeai.ExecutionAttested, "execution_ref")
	if all.Left != 31 || len(refs) != 5 || refs[4] != "42/settle/110" {
		t.Errorf("%d left out, executed %v", all.Left, refs)
	}
	if _, s := imported(t, e, w.rules); s.Budget.Spent["acme/acme-1"].Int64() != 20*110 {
		t.Errorf("spent %v", s.Budget.Spent)
	}
}

// denialsOf is a log of a tenant that was only denied, since its ledger came
// under a policy.
func denialsOf(version budget.PolicyVersion, denials int) iter.Seq2[audit.Receipt, error] {
	return func(yield func(audit.Receipt, error) bool) {
		n := int64(0)
		add := func(body audit.Body) bool {
			n++
			return yield(audit.Receipt{Chain: "00", N: n, Body: body}, nil)
		}
		ok := add(audit.Event{At: 1, Tenant: "acme", Event: 1, Epoch: "e", Name: "provision", Recovered: true}) &&
			add(audit.Event{At: 2, Tenant: "acme", Event: 2, Epoch: "e", Name: "policy", Generation: version.Generation, Policy: version.Hash, Recovered: true})
		for range denials {
			ok = ok && add(audit.Decision{
				At: 3000 + n, Verdict: audit.Deny, Reasons: []string{"ledger_unavailable"}, Generation: version.Generation, Policy: version.Hash,
				Facts: call.Facts{Tenant: "acme", Key: "acme-1"}, Prices: "another table",
			})
		}
	}
}

// TestExportEndsWhereADocumentDoes: an envelope is as large as a verifier
// reads, whatever there is to say.
func TestExportEndsWhereADocumentDoes(t *testing.T) {
	rules := rulesOf(t, daily(1000))
	authority, _ := newAuthority(t)
	const denials = 35_000
	all, err := exported(t, gate.ExportConfig{Tenant: "acme", Rules: rules, Authority: authority}, denialsOf(rules.Policy.Version, denials))
	if err != nil {
		t.Fatal(err)
	}
	if size := len(all.Envelope); size > oxdeai.MaxDocumentBytes || size < oxdeai.MaxDocumentBytes-(8<<10) {
		t.Errorf("%d bytes, at most %d", size, oxdeai.MaxDocumentBytes)
	}
	e := mustVerifyEnvelope(t, all.Envelope, rules.Policy.Version.Hash)
	if got := len(texts(e, oxdeai.DecisionMade, "decision")); int64(got)+all.Left != denials || all.Left == 0 {
		t.Errorf("%d decisions, %d left out", got, all.Left)
	}
}

// TestExportOfReplicas: the order in which directories are named changes no
// byte, and one that is missing is a gap.
func TestExportOfReplicas(t *testing.T) {
	w := newWorld(t, daily(100_000))
	first := w.t.TempDir()
	w.begin(w.call(100, 50)).End(used(90, 10))
	w.sweepOnce()
	if err := w.audit.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.dir, "receipts"), filepath.Join(first, "receipts")); err != nil {
		t.Fatal(err)
	}
	if err := w.real.Close(); err != nil {
		t.Fatal(err)
	}
	w.open() // a log of its own
	w.clock.advance(time.Second)
	w.begin(w.call(100, 50)).End(used(90, 10))
	w.refused(w.call(100_000, 50), policy.BudgetExhausted)
	one, two := filepath.Join(first, "receipts"), filepath.Join(w.dir, "receipts")
	authority, _ := newAuthority(t)
	config := gate.ExportConfig{Tenant: "acme", Rules: w.rules, Authority: authority}
	forth, err := exported(t, config, merged(t, one, two))
	if err != nil {
		t.Fatal(err)
	}
	back, err := exported(t, config, merged(t, two, one))
	if err != nil || !bytes.Equal(forth.Envelope, back.Envelope) {
		t.Errorf("the other way round: %v", err)
	}
	if _, err := exported(t, config, merged(t, two)); !errors.Is(err, gate.ErrNotFollowing) {
		t.Errorf("of one replica alone: %v", err)
	}
}
