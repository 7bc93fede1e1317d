package oxdeai

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

// Defaults and bounds of the options.
const (
	DefaultTTLSeconds = 60
	DefaultIssuer     = "oxdeai.policy-engine"
	DefaultAudience   = "oxdeai.relying-party"
	DefaultHMACKID    = "hmac-default"
	DefaultEd25519KID = "ed25519-default"

	// MinSecretUnits is the shortest engine secret, in UTF-16 code units.
	MinSecretUnits = 32
)

// Errors of the engine.
var (
	// ErrOptions: an option is missing or out of range. The message names it.
	ErrOptions = errors.New("invalid engine options")
	// ErrNoState: nothing was evaluated or imported yet, so there is no current state.
	ErrNoState = errors.New("the engine has no current state")
	// ErrNoStore: the engine was built without a state store.
	ErrNoStore = errors.New("the engine has no state store")
)

// Options configure an engine. Only PolicyVersion, AuthorizationTTLSeconds, DenyMode and StrictDeterminism enter the
// policy id.
type Options struct {
	PolicyVersion string // the version that a state has to have
	EngineSecret  string `json:"-"` // key of the engine signature, at least MinSecretUnits long

	AuthorizationTTLSeconds    *int64 // how long an authorization is valid, from 0; nil means DefaultTTLSeconds
	AuthorizationIssuer        string // empty means DefaultIssuer
	AuthorizationAudience      string // empty means DefaultAudience
	AuthorizationSigningAlg    string // AlgHMAC (the default) or AlgEd25519
	AuthorizationSigningKID    string // empty means the default of the algorithm
	AuthorizationPrivateKeyPEM string `json:"-"` // PKCS#8 PEM, for AlgEd25519; without it every evaluation is denied

	DenyMode               DenyMode // only enters the policy id; empty means FailFast
	PolicyID               string   // replaces the computed policy id
	StrictDeterminism      bool     // only enters the policy id: this engine never reads a clock
	CheckpointEveryNEvents int      // 0 or less writes no checkpoints

	StateStore  StateStore // nil keeps nothing
	AuditSink   AuditSink  // nil keeps the events in memory only
	AutoPersist bool       // Evaluate writes an allowed state to StateStore before it answers

	Compat Compat
	Harden Harden
}

// Harden closes weaknesses that are decisions of the protocol: its golden data demand them of a default engine, so each
// has to be asked for. No bytes of an artifact depend on it, and neither does the policy id.
type Harden struct {
	// NameAsset denies an intent without an asset (ALLOWLIST_ASSET) where a list of assets restricts. The protocol lets
	// it pass.
	NameAsset bool
	// KeepNonces denies a nonce (REPLAY_NONCE) for which the state has no room while the window protects those before
	// it: all nonces where it has room for none. The protocol forgets the oldest, which can then be used again.
	KeepNonces bool
}

// Compat brings back weaknesses of the reference engine, one by one, for hosts that need its decisions exactly. The
// zero value closes them all: such an intent is denied with STATE_INVALID, or CONCURRENCY_RELEASE_INVALID for a
// repeated release. No bytes of an artifact depend on it. Names inherited from a language's base object, which the
// reference takes for authorization ids, have no switch: they are absent here.
type Compat struct {
	RepeatedRelease bool // the same authorization can be released again and again, which defeats the concurrency limit
	NegativeAmount  bool // an amount below zero is accepted and gives budget back
	NegativeDepth   bool // a depth below zero passes the recursion limit
	UnknownType     bool // a type that is neither EXECUTE nor RELEASE runs as EXECUTE and is not registered as active
}

// Engine decides intents. It is safe for concurrent use; evaluations run one after another.
type Engine struct {
	options  Options
	policyID string
	mac      *macKey
	ed25519  func(input []byte) []byte // signs; nil without a private key
	log      *AuditLog

	mu       sync.Mutex
	recorded int    // events over the life of the engine
	current  *State // what Evaluate or Restore saw last; never shared
}

// NewEngine checks the options and returns an engine with an empty audit log. The error is ErrOptions.
func NewEngine(o Options) (*Engine, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	e := &Engine{options: o, policyID: policyID(&o), mac: newMACKey(o.EngineSecret), log: NewAuditLog(o.AuditSink)}
	e.options.EngineSecret, e.options.AuthorizationPrivateKeyPEM = "", ""
	if o.AuthorizationPrivateKeyPEM == "" {
		return e, nil
	}
	key, err := ParsePrivateKey(o.AuthorizationPrivateKeyPEM)
	if err != nil {
		return nil, fmt.Errorf("%w: AuthorizationPrivateKeyPEM: %w", ErrOptions, err)
	}
	e.ed25519 = func(input []byte) []byte { return ed25519.Sign(key, input) }
	return e, nil
}

// complete fills in the defaults and checks the rest.
func (o *Options) complete() error {
	if n := len(utf16.Encode([]rune(o.EngineSecret))); n < MinSecretUnits {
		const text = "%w: engine_secret must be a string of at least %d characters (got %d chars)"
		return fmt.Errorf(text, ErrOptions, MinSecretUnits, n)
	}
	if !utf8.ValidString(o.EngineSecret + o.PolicyVersion + o.PolicyID + string(o.DenyMode)) {
		return fmt.Errorf("%w: a text is not UTF-8", ErrOptions)
	}
	if o.AuthorizationTTLSeconds == nil { // 0 is a lifetime too
		o.AuthorizationTTLSeconds = new(int64(DefaultTTLSeconds))
	}
	if ttl := *o.AuthorizationTTLSeconds; ttl < 0 || ttl > MaxSafeInteger {
		return fmt.Errorf("%w: AuthorizationTTLSeconds %d", ErrOptions, ttl)
	}
	o.AuthorizationIssuer = cmp.Or(o.AuthorizationIssuer, DefaultIssuer)
	o.AuthorizationAudience = cmp.Or(o.AuthorizationAudience, DefaultAudience)
	o.AuthorizationSigningAlg = cmp.Or(o.AuthorizationSigningAlg, AlgHMAC)
	o.DenyMode = cmp.Or(o.DenyMode, FailFast)
	switch o.AuthorizationSigningAlg {
	case AlgHMAC:
		o.AuthorizationSigningKID = cmp.Or(o.AuthorizationSigningKID, DefaultHMACKID)
	case AlgEd25519:
		o.AuthorizationSigningKID = cmp.Or(o.AuthorizationSigningKID, DefaultEd25519KID)
	default:
		return fmt.Errorf("%w: AuthorizationSigningAlg %.40q", ErrOptions, o.AuthorizationSigningAlg)
	}
	if o.AutoPersist && o.StateStore == nil {
		return fmt.Errorf("%w: AutoPersist without StateStore", ErrOptions)
	}
	return nil
}

// PolicyID returns the policy id of the engine.
func (e *Engine) PolicyID() string { return e.policyID }

// Audit returns the audit log of the engine.
func (e *Engine) Audit() *AuditLog { return e.log }

// StateHash returns the state hash under the engine's policy id. It fails if the state has none.
func (e *Engine) StateHash(s *State) (string, error) { return stateHash(s, e.policyID) }

// Evaluate decides an intent in fail-fast mode. On Allow it replaces *s by the next state, after writing that to the
// store if the engine persists on its own; if that fails it denies with INTERNAL_ERROR and *s stays. The outcome has
// no NextState.
func (e *Engine) Evaluate(in Intent, s *State) Outcome {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.evaluate(in, s, FailFast)
	if out.Decision == Allow && e.options.AutoPersist {
		if err := e.commit(out.NextState); err != nil {
			return deny(err, InternalError)
		}
	}
	if out.Decision == Allow {
		*s = *out.NextState
		out.NextState = nil
	}
	if s != nil {
		e.current = s.Clone()
	}
	return out
}

// CurrentState returns a copy of the state after the last Evaluate or Restore. The error is ErrNoState.
func (e *Engine) CurrentState() (*State, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return nil, ErrNoState
	}
	return e.current.Clone(), nil
}

// Replay evaluates the intents one after another in fail-fast mode, each on the state that the ones before it left.
// It returns what each gave and the last state; initial is not changed. The events go to the audit log.
func (e *Engine) Replay(initial *State, intents []Intent) ([]Outcome, *State) {
	outcomes := make([]Outcome, 0, len(intents))
	state := initial
	for _, in := range intents {
		out := e.EvaluatePure(in, state, FailFast)
		if out.Decision == Allow {
			state = out.NextState
		}
		outcomes = append(outcomes, out)
	}
	return outcomes, state
}

// Simulate is Replay from the current state, which stays as it is. The error is ErrNoState.
func (e *Engine) Simulate(intents []Intent) ([]Outcome, error) {
	s, err := e.CurrentState()
	if err != nil {
		return nil, err
	}
	outcomes, _ := e.Replay(s, intents)
	return outcomes, nil
}
