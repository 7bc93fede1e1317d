package oxdeai

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestWorkedExample is the seed's example, with the tool_limits it lacks. The hashes are those that the protocol
// publishes.
func TestWorkedExample(t *testing.T) {
	t.Parallel()
	e := exampleEngine(t)
	out := e.EvaluatePure(exampleIntent(), exampleState(), FailFast)
	if out.Decision != Allow {
		t.Fatal(out.Reasons, out.Err)
	}
	next, err := e.StateHash(out.NextState)
	if err != nil {
		t.Fatal(err)
	}
	a := out.Authorization
	for name, c := range map[string][2]string{
		"policy id":        {e.PolicyID(), "41f8505db29c3fe49ba565490c232f55c66a780a07331b7191647f8e5588f978"},
		"intent hash":      {a.IntentHash, "747f7d01e6fc8335d54cefe6db399afb7593af6e1ab2139f09c84f6957f8c365"},
		"state hash":       {a.StateHash, "f37a0c1fa8b31e5c7cc0381082e325254d9023c8cd7aabc52c0637c3a6883218"},
		"snapshot hash":    {a.StateSnapshotHash, "be27a219af99ecbe32e8205e6afa94cf464182c9ec22e46676ccf9bfedfa93e2"},
		"engine signature": {a.EngineSignature, "4be1f4c755df584c3c4f885208ffc2149ca9c73ab8636e9b710a987004f60715"},
		"auth id":          {a.AuthID, "bf8770aafdf14f7196f649cbcb419dd06cf02b21cf6a3d42db7c1dbb9e0311c8"},
		"next state hash":  {next, "3901ce96e8743477ba8616d02a70f1a8774149730606daebf2bc929bcae2bb97"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %s, want %s", name, c[0], c[1])
		}
	}
	if a.Capability != nil {
		t.Errorf("capability %q without an action_type", *a.Capability)
	}
}

func TestGenesisHash(t *testing.T) {
	t.Parallel()
	if got := hashBytes([]byte("OxDeAI::GENESIS::v1")); got != GenesisHash {
		t.Errorf("genesis hash %s", got)
	}
}

// TestLifetimeOfZero: it can be said, and is another policy than the default. The id is the SHA-256 of the
// example's preimage with 0 in the place of 60.
func TestLifetimeOfZero(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seconds *int64
		lasts   int64
		id      string
	}{
		"unsaid":  {nil, DefaultTTLSeconds, "41f8505db29c3fe49ba565490c232f55c66a780a07331b7191647f8e5588f978"},
		"default": {new(int64(DefaultTTLSeconds)), DefaultTTLSeconds, "41f8505db29c3fe49ba565490c232f55c66a780a07331b7191647f8e5588f978"},
		"zero":    {new(int64(0)), 0, "8ee2f29329bffa1e9a3a623dfcef695fe46d83efbd7b4e4cf26099d412919e47"},
	} {
		o := exampleOptions()
		o.AuthorizationTTLSeconds = c.seconds
		e := engineOf(t, o)
		a := e.Evaluate(exampleIntent(), exampleState()).Authorization
		if e.PolicyID() != c.id || a == nil || a.Expiry-a.IssuedAt != c.lasts {
			t.Errorf("%s: policy id %s, authorization %+v", name, e.PolicyID(), a)
		}
	}
}

func TestNewEngineRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"a short secret":        {func(o *Options) { o.EngineSecret = strings.Repeat("s", 31) }, "at least 32 characters (got 31 chars)"},
		"surrogates count two":  {func(o *Options) { o.EngineSecret = strings.Repeat("😀", 15) }, "(got 30 chars)"},
		"a negative lifetime":   {func(o *Options) { o.AuthorizationTTLSeconds = new(int64(-1)) }, "AuthorizationTTLSeconds -1"},
		"an unknown algorithm":  {func(o *Options) { o.AuthorizationSigningAlg = "none" }, `AuthorizationSigningAlg "none"`},
		"a key that is none":    {func(o *Options) { o.AuthorizationPrivateKeyPEM = "x" }, "AuthorizationPrivateKeyPEM"},
		"a version not UTF-8":   {func(o *Options) { o.PolicyVersion = "\xff" }, "not UTF-8"},
		"persist without store": {func(o *Options) { o.AutoPersist = true }, "AutoPersist without StateStore"},
	} {
		o := exampleOptions()
		c.change(&o)
		_, err := NewEngine(o)
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), o.EngineSecret) {
			t.Errorf("%s: the error tells the secret", name)
		}
	}
	o := exampleOptions()
	o.EngineSecret = strings.Repeat("😀", 16)
	if _, err := NewEngine(o); err != nil {
		t.Errorf("16 characters of two units each: %v", err)
	}
}

// TestCompat shows each weakness of the reference closed, and open with its switch.
func TestCompat(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change Member
		compat Compat
	}{
		"negative amount": {Member{"amount", "-1"}, Compat{NegativeAmount: true}},
		"negative depth":  {Member{"depth", Int(-1)}, Compat{NegativeDepth: true}},
		"unknown type":    {Member{"type", "execute"}, Compat{UnknownType: true}},
		"null type":       {Member{"type", nil}, Compat{UnknownType: true}},
	} {
		in := exampleIntent(c.change)
		closed := exampleEngine(t)
		out := closed.EvaluatePure(in, exampleState(), CollectAll)
		if out.Decision != Deny || !slices.Equal(out.Reasons, []Reason{StateInvalid}) || len(closed.Audit().Events()) != 0 {
			t.Errorf("%s: %s %v", name, out.Decision, out.Reasons)
		}
		o := exampleOptions()
		o.Compat = c.compat
		if out := engineOf(t, o).EvaluatePure(in, exampleState(), FailFast); out.Decision != Allow {
			t.Errorf("%s with its switch: %v %v", name, out.Reasons, out.Err)
		}
	}
}

// TestHarden shows what the protocol lets through, and what is denied with a switch.
func TestHarden(t *testing.T) {
	t.Parallel()
	keeping := func(n int64) func(*State) { return func(s *State) { s.Replay.MaxNoncesPerAgent = n } }
	for _, c := range []struct {
		name   string
		edit   func(*State)
		harden Harden
		last   []Member // of the intent after those with the nonces 1 and 2
		want   []Reason // for it; nil: it is allowed, as without the switch
	}{
		{"no asset", func(s *State) { s.Allowlists.Assets = []string{"EUR"} }, Harden{NameAsset: true}, nil, []Reason{AllowlistAsset}},
		{"no list of assets", nil, Harden{NameAsset: true}, nil, nil},
		{"a nonce too many", keeping(2), Harden{KeepNonces: true}, nil, []Reason{NonceReplayed}},
		{"a nonce that fits", keeping(3), Harden{KeepNonces: true}, nil, nil},
		{"no room for nonces", keeping(0), Harden{KeepNonces: true}, nil, []Reason{NonceReplayed}},
		{"room after the window", keeping(2), Harden{KeepNonces: true}, []Member{{"timestamp", Int(1730003601)}}, nil},
	} {
		for _, hard := range []bool{false, true} {
			o := exampleOptions()
			want := []Reason(nil)
			if hard {
				o.Harden, want = c.harden, c.want
			}
			hardened := engineOf(t, o)
			s := exampleState()
			s.Concurrency.MaxConcurrent["agent-1"] = 10
			if c.edit != nil {
				c.edit(s)
			}
			for _, nonce := range []string{"1", "2"} {
				if out := exampleEngine(t).EvaluatePure(exampleIntent(Member{"nonce", nonce}), s, FailFast); out.Decision == Allow {
					s = out.NextState
				}
			}
			last := exampleIntent(append([]Member{{"nonce", "3"}}, c.last...)...)
			if out := hardened.EvaluatePure(last, s, CollectAll); !slices.Equal(out.Reasons, want) {
				t.Errorf("%s, hardened %v: %v (%v), want %v", c.name, hard, out.Reasons, out.Err, want)
			}
			if hardened.PolicyID() != exampleEngine(t).PolicyID() {
				t.Errorf("%s changes the policy id", c.name)
			}
		}
	}
}

// acquire runs the example intent and returns the state and a function that releases its authorization with a nonce.
func acquire(t *testing.T, e *Engine) (*State, func(nonce string) Intent) {
	t.Helper()
	out := e.EvaluatePure(exampleIntent(), exampleState(), FailFast)
	if out.Decision != Allow {
		t.Fatal(out.Reasons, out.Err)
	}
	return out.NextState, func(nonce string) Intent {
		return exampleIntent(
			Member{"type", TypeRelease}, Member{"authorization_id", out.Authorization.AuthID}, Member{"nonce", nonce},
		)
	}
}

func TestAnAuthorizationIsReleasedOnce(t *testing.T) {
	t.Parallel()
	e := exampleEngine(t)
	s, release := acquire(t, e)
	first := e.EvaluatePure(release("1"), s, FailFast)
	if first.Decision != Allow || first.NextState.Concurrency.Active["agent-1"] != 0 {
		t.Fatal(first.Reasons, first.Err)
	}
	decoded, err := DecodeState([]byte(mustEncode(t, first.NextState)))
	if err != nil {
		t.Fatal(err)
	}
	for name, state := range map[string]*State{"the next state": first.NextState, "a clone": first.NextState.Clone(), "its JSON": decoded} {
		again := e.EvaluatePure(release("2"), state, FailFast)
		if again.Decision != Deny || !slices.Equal(again.Reasons, []Reason{ReleaseInvalid}) {
			t.Errorf("%s: a second release gives %s %v", name, again.Decision, again.Reasons)
		}
	}
	o := exampleOptions()
	o.Compat.RepeatedRelease = true
	if again := engineOf(t, o).EvaluatePure(release("2"), first.NextState, FailFast); again.Decision != Allow {
		t.Errorf("with its switch: %v", again.Reasons)
	}
}

func TestReleaseNeedsAnID(t *testing.T) {
	t.Parallel()
	for _, id := range []Value{nil, "", Int(1)} {
		e := exampleEngine(t)
		out := e.EvaluatePure(exampleIntent(Member{"type", TypeRelease}, Member{"authorization_id", id}), exampleState(), FailFast)
		if !slices.Equal(out.Reasons, []Reason{StateInvalid}) || len(e.Audit().Events()) != 0 {
			t.Errorf("%v: %v", id, out.Reasons)
		}
	}
}

// TestMembersOfTheWrongType: whatever is in an intent, it is denied and never a panic.
func TestMembersOfTheWrongType(t *testing.T) {
	t.Parallel()
	for _, name := range bindingMembers {
		for _, v := range []Value{nil, true, 1.5, "", []Value{}, NewObject(), Int(-1)} {
			in, err := NewIntent(NewObject(append(exampleIntent().bound.Without(name).Members, Member{name, v})...))
			if err != nil {
				continue
			}
			out := exampleEngine(t).EvaluatePure(in, exampleState(), CollectAll)
			if out.Decision == Deny && len(out.Reasons) == 0 || out.Decision == Allow && out.Authorization == nil {
				t.Errorf("%s = %v: %+v", name, v, out)
			}
		}
	}
	if out := exampleEngine(t).EvaluatePure(Intent{}, exampleState(), FailFast); out.Decision != Deny {
		t.Error("the zero intent is allowed")
	}
	if out := exampleEngine(t).EvaluatePure(exampleIntent(), nil, FailFast); out.Decision != Deny {
		t.Error("an intent without a state is allowed")
	}
}

func TestEvaluateMovesTheStateAndPersists(t *testing.T) {
	t.Parallel()
	o := exampleOptions()
	store := &MemoryStore{}
	o.StateStore, o.AutoPersist = store, true
	e := engineOf(t, o)
	if _, err := e.CurrentState(); !errors.Is(err, ErrNoState) {
		t.Errorf("a new engine has a state: %v", err)
	}
	s := exampleState()
	out := e.Evaluate(exampleIntent(), s)
	if out.Decision != Allow || out.NextState != nil || s.Budget.Spent["agent-1"].Int64() != 100 {
		t.Fatalf("%+v", out)
	}
	saved := exampleState()
	if ok, err := engineOf(t, o).Restore(saved); err != nil || !ok {
		t.Fatal(ok, err)
	}
	a, _ := e.StateHash(s)
	if b, err := e.StateHash(saved); err != nil || a != b {
		t.Errorf("the store has %s (%v), the state %s", b, err, a)
	}
	if out := e.Evaluate(exampleIntent(), s); out.Decision != Deny {
		t.Error("the same nonce is allowed twice")
	}
	outcomes, err := e.Simulate([]Intent{exampleIntent(Member{"nonce", "43"})})
	if err != nil || outcomes[0].Decision != Allow {
		t.Fatal(outcomes, err)
	}
	want := mustEncode(t, s)
	s.KillSwitch.Agents["agent-1"] = true
	if current, _ := e.CurrentState(); mustEncode(t, current) != want {
		t.Error("a simulation or the host changed the current state")
	}
}

// failing is a store and a sink that refuse everything.
type failing struct{}

var errFailing = errors.New("disk full")

func (failing) Save(Saved) error           { return errFailing }
func (failing) Load() (Saved, bool, error) { return Saved{}, false, errFailing }
func (failing) Append([]byte) error        { return errFailing }
func (failing) Flush() error               { return errFailing }

func TestWhatIsNotKeptIsDenied(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"store": func(o *Options) { o.StateStore, o.AutoPersist = failing{}, true },
		"sink":  func(o *Options) { o.AuditSink = failing{} },
	} {
		o := exampleOptions()
		change(&o)
		s := exampleState()
		out := engineOf(t, o).Evaluate(exampleIntent(), s)
		if out.Decision != Deny || !slices.Equal(out.Reasons, []Reason{InternalError}) || !errors.Is(out.Err, errFailing) {
			t.Errorf("%s: %+v", name, out)
		}
		if mustEncode(t, s) != mustEncode(t, exampleState()) {
			t.Errorf("%s: the state moved", name)
		}
	}
}

func TestEngineCheckIssued(t *testing.T) {
	t.Parallel()
	e := exampleEngine(t)
	out := e.EvaluatePure(exampleIntent(), exampleState(), FailFast)
	good := out.Authorization.Object()
	at := func(n int64) *int64 { return &n }
	replaced := func(name string, v Value) *Object {
		o := good.Without(name)
		o.Members = append(o.Members, Member{name, v})
		return o
	}
	for name, c := range map[string]struct {
		auth *Object
		now  *int64
		want Reason
	}{
		"good":                      {good, at(1730000000), ""},
		"in its last second":        {good, at(1730000060), ""},
		"expired":                   {good, at(1730000061), AuthExpired},
		"no time":                   {good, nil, InternalError},
		"nothing":                   {nil, at(1730000000), InternalError},
		"another intent":            {replaced("intent_hash", strings.Repeat("0", 64)), at(1730000000), AuthIntentMismatch},
		"a denial":                  {replaced("decision", "DENY"), at(1730000000), AuthSignatureInvalid},
		"another version":           {replaced("policy_version", "v1"), at(1730000000), VersionMismatch},
		"another state":             {replaced("state_snapshot_hash", strings.Repeat("0", 64)), at(1730000000), AuthSignatureInvalid},
		"a longer life":             {replaced("expires_at", Int(1830000000)), at(1730000000), AuthSignatureInvalid},
		"a broken signature":        {replaced("engine_signature", "zz"), at(1730000000), AuthSignatureInvalid},
		"no expiry, but expires_at": {good.Without("expiry"), at(1730000000), ""},
		"no expiry at all":          {good.Without("expiry").Without("expires_at"), at(1730000000), InternalError},
	} {
		if got, _ := e.CheckIssued(exampleIntent(), c.auth, exampleState(), c.now); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestLegacyShape: the engine signature is the one of the new shape, the id covers the seven members.
func TestLegacyShape(t *testing.T) {
	t.Parallel()
	a := exampleEngine(t).EvaluatePure(exampleIntent(), exampleState(), FailFast).Authorization
	o, err := a.Legacy()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := o.Text("authorization_id")
	if h, err := Hash(o.Without("authorization_id")); err != nil || h != id || len(o.Members) != 7 || id == a.AuthID {
		t.Errorf("id %s, hash %s (%v), %d members", id, h, err, len(o.Members))
	}
}

func TestCheckIntent(t *testing.T) {
	t.Parallel()
	full := func(changes ...Member) *Object {
		o := mustObject(t, []byte(`{"intent_id":"i","agent_id":"a","action_type":"PAYMENT","amount":"1","target":"t","timestamp":1,
			"metadata_hash":"00","nonce":"-7n","signature":"s"}`))
		for _, c := range changes {
			o = o.Without(c.Name)
			o.Members = append(o.Members, c)
		}
		return o
	}
	for name, c := range map[string]struct {
		intent *Object
		want   []Issue
	}{
		"complete":        {full(Member{"depth", Int(0)}, Member{"type", TypeExecute}), nil},
		"two are missing": {full().Without("target").Without("amount"), []Issue{{"$", "REQUIRED", "missing amount"}, {"$", "REQUIRED", "missing target"}}},
		"release":         {full(Member{"type", TypeRelease}), []Issue{{"$.authorization_id", "REQUIRED", "required for RELEASE"}}},
		"several": {
			full(Member{"type", "X"}, Member{"action_type", "Y"}, Member{"amount", "1.5"}, Member{"nonce", 0.5}, Member{"depth", Int(-1)}, Member{"afoo", nil}),
			[]Issue{
				{"$.action_type", "ENUM", "invalid action_type"}, {"$.afoo", "ADDITIONAL", "unknown field"},
				{"$.amount", "TYPE", "must be integer/bigint-like string"}, {"$.depth", "TYPE", "must be non-negative integer"},
				{"$.nonce", "TYPE", "must be integer/bigint-like string"}, {"$.type", "ENUM", "must be EXECUTE or RELEASE"},
			},
		},
	} {
		if got := CheckIntent(c.intent); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestNewIntentRefusesAmounts(t *testing.T) {
	t.Parallel()
	for _, v := range []Value{"", "-", "n", "1.5", "0x10", " 1", "1nn", "+1", true, 1.5, float64(1 << 53), strings.Repeat("9", MaxAmountDigits+1)} {
		if _, err := NewIntent(NewObject(Member{"amount", v})); !errors.Is(err, ErrIntentInvalid) {
			t.Errorf("%.20v: %v", v, err)
		}
	}
	for _, v := range []Value{"0012", "12n", Int(12), bigInt(12)} {
		in, err := NewIntent(NewObject(Member{"amount", v}))
		if err != nil || in.amount.Int64() != 12 {
			t.Errorf("%v: %v", v, err)
		}
	}
}
