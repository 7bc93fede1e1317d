package oxdeai

import "fmt"

// DenyMode says how many reasons a denial lists.
type DenyMode string

// The two modes. The empty mode is FailFast.
const (
	FailFast   DenyMode = "fail-fast"   // the reasons of the first module that denies
	CollectAll DenyMode = "collect-all" // the reasons of all modules that deny, in their order
)

// Outcome is what an evaluation returns.
type Outcome struct {
	Decision      Decision
	Reasons       []Reason       // why it was denied; empty for Allow
	Authorization *Authorization // nil for Deny
	NextState     *State         // the state with the action counted; nil for Deny
	Err           error          // the cause of INTERNAL_ERROR or STATE_INVALID, for the host's log; never on the wire
}

func deny(err error, reasons ...Reason) Outcome {
	return Outcome{Decision: Deny, Reasons: reasons, Err: err}
}

// EvaluatePure decides one intent against a state. The state is not changed; on Allow the caller goes on with
// NextState, which shares its unchanged maps with the input: a host that edits a state takes a Clone first.
// EvaluatePure reads neither a clock nor a random source: the same intent, state and options give the same outcome on
// every machine. The events go to the audit log. Any internal failure denies with INTERNAL_ERROR.
func (e *Engine) EvaluatePure(in Intent, s *State, mode DenyMode) Outcome {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.evaluate(in, s, mode)
}

func (e *Engine) evaluate(in Intent, s *State, mode DenyMode) Outcome {
	if err := e.options.Compat.admit(in); err != nil {
		return deny(err, StateInvalid)
	}
	if err := structural(in, s); err != nil {
		return deny(err, StateInvalid)
	}
	if s.PolicyVersion != e.options.PolicyVersion {
		return deny(nil, VersionMismatch)
	}
	out, err := e.decide(in, s, mode)
	if err != nil {
		return deny(err, InternalError)
	}
	return out
}

// admit refuses an intent that no rule can judge safely, before anything is written to the audit log.
func (c Compat) admit(in Intent) error {
	kind, known := in.kind()
	if id, _ := in.text("authorization_id"); kind == TypeRelease && id == "" {
		return fmt.Errorf("%w: a release needs authorization_id", ErrIntentInvalid)
	}
	if !known && !c.UnknownType {
		return fmt.Errorf("%w: type %q", ErrIntentInvalid, kind)
	}
	if in.amount != nil && in.amount.Sign() < 0 && !c.NegativeAmount {
		return fmt.Errorf("%w: amount is negative", ErrIntentInvalid)
	}
	if depth, err := in.depth(); err == nil && depth < 0 && !c.NegativeDepth {
		return fmt.Errorf("%w: depth is negative", ErrIntentInvalid)
	}
	return nil
}

// structural is the check of the state that comes before every evaluation.
func structural(in Intent, s *State) error {
	if s == nil {
		return ErrStateInvalid
	}
	if s.structure != nil {
		return s.structure
	}
	if _, ok := in.text("agent_id"); !ok {
		return fmt.Errorf("%w: no agent_id", ErrIntentInvalid)
	}
	if !s.knows(in.agentID) {
		return fmt.Errorf("%w: no limits for agent %.80q", ErrStateInvalid, in.agentID)
	}
	return nil
}

// decide asks the rules and writes the events of one evaluation.
func (e *Engine) decide(in Intent, s *State, mode DenyMode) (Outcome, error) {
	hash, err := in.Hash()
	if err != nil {
		return Outcome{}, err
	}
	now, ok := in.timestamp()
	if !ok {
		return Outcome{}, fmt.Errorf("%w: timestamp is no integer", ErrIntentInvalid)
	}
	q := &request{intent: in, state: s, agent: in.agentID, now: now, compat: e.options.Compat, harden: e.options.Harden}
	if err := e.record(Event{Type: IntentReceived, Timestamp: now, IntentHash: hash, AgentID: in.agentID}); err != nil {
		return Outcome{}, err
	}
	answer, err := q.ask(mode)
	if err != nil {
		return Outcome{}, err
	}
	if len(answer.reasons) > 0 {
		return e.denied(q, hash, answer.reasons)
	}
	return e.allowed(q, hash, answer)
}

// answer is what all rules said together.
type answer struct {
	reasons []Reason
	changes []func(*State)
	touched []int // the modules that the changes touch
}

// ask puts the request to every rule. All of them see the same input state.
func (q *request) ask(mode DenyMode) (answer, error) {
	rules := executeRules
	if kind, _ := q.intent.kind(); kind == TypeRelease {
		rules = releaseRules
	}
	var a answer
	for _, r := range rules {
		v, err := r.decide(q)
		if err != nil {
			return answer{}, err
		}
		a.reasons = append(a.reasons, v.reasons...)
		if len(v.reasons) > 0 && mode != CollectAll {
			return a, nil
		}
		if v.apply != nil {
			a.changes = append(a.changes, v.apply)
			a.touched = append(a.touched, r.module)
		}
	}
	return a, nil
}

func (e *Engine) denied(q *request, hash string, reasons []Reason) (Outcome, error) {
	err := e.record(Event{
		Type: DecisionMade, Timestamp: q.now, IntentHash: hash, Decision: Deny, Reasons: reasons,
		PolicyVersion: e.options.PolicyVersion,
	})
	if err != nil {
		return Outcome{}, err
	}
	if e.checkpointDue() {
		h, err := stateHash(q.state, e.policyID)
		if err != nil {
			return Outcome{}, err
		}
		if err := e.checkpoint(q.now, h); err != nil {
			return Outcome{}, err
		}
	}
	return deny(nil, reasons...), nil
}

// allowed writes the changes to a copy of the state and binds the intent, the input state and that copy in an
// authorization. Only then does it register the authorization as active, so the hash in the authorization does not
// cover the authorization itself.
func (e *Engine) allowed(q *request, hash string, a answer) (Outcome, error) {
	var hashes moduleHashes
	if err := hashes.hash(q.state, allModules); err != nil {
		return Outcome{}, err
	}
	before, err := hashes.stateHash(e.policyID)
	if err != nil {
		return Outcome{}, err
	}
	next := new(State)
	*next = *q.state
	for _, change := range a.changes {
		change(next)
	}
	if err := hashes.hash(next, a.touched); err != nil {
		return Outcome{}, err
	}
	after, err := hashes.stateHash(e.policyID)
	if err != nil {
		return Outcome{}, err
	}
	auth, err := e.authorize(q, hash, before, after)
	if err != nil {
		return Outcome{}, err
	}
	if kind, _ := q.intent.kind(); kind == TypeExecute {
		next.register(q.agent, auth.AuthID, auth.Expiry)
	}
	if err := e.recordAllow(q, auth, next, &hashes); err != nil {
		return Outcome{}, err
	}
	return Outcome{Decision: Allow, Reasons: []Reason{}, Authorization: auth, NextState: next}, nil
}

// register adds an active authorization.
func (s *State) register(agent, id string, expiresAt int64) {
	auths := s.Concurrency.ActiveAuths
	s.Concurrency.ActiveAuths = with(auths, agent, with(auths[agent], id, expiresAt))
}

func (e *Engine) recordAllow(q *request, auth *Authorization, next *State, hashes *moduleHashes) error {
	err := e.record(Event{
		Type: DecisionMade, Timestamp: q.now, IntentHash: auth.IntentHash, Decision: Allow, PolicyVersion: e.options.PolicyVersion,
	})
	if err != nil {
		return err
	}
	err = e.record(Event{
		Type: AuthEmitted, Timestamp: q.now, IntentHash: auth.IntentHash, AuthorizationID: auth.AuthID, ExpiresAt: auth.Expiry,
	})
	if err != nil || !e.checkpointDue() {
		return err
	}
	if err := hashes.hash(next, []int{concurrencyModule}); err != nil {
		return err
	}
	h, err := hashes.stateHash(e.policyID)
	if err != nil {
		return err
	}
	return e.checkpoint(q.now, h)
}

// record adds an event to the audit log and counts it.
func (e *Engine) record(event Event) error {
	event.PolicyID = e.policyID
	if err := e.log.Append(event); err != nil {
		return err
	}
	e.recorded++
	return nil
}

// checkpointDue tells whether the number of events so far, checkpoints included, is a multiple of the option.
func (e *Engine) checkpointDue() bool {
	n := e.options.CheckpointEveryNEvents
	return n > 0 && e.recorded%n == 0
}

func (e *Engine) checkpoint(now int64, hash string) error {
	return e.record(Event{Type: StateCheckpoint, Timestamp: now, StateHash: hash})
}
