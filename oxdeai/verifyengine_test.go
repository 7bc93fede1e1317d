package oxdeai

import "testing"

// signingEngine is the engine of the worked example, signing for the test issuer and writing a checkpoint after each allowance.
func signingEngine(t *testing.T) *Engine {
	t.Helper()
	opts := exampleOptions()
	opts.AuthorizationSigningAlg, opts.AuthorizationSigningKID = AlgEd25519, testKID
	opts.AuthorizationPrivateKeyPEM = privatePEM(t, testKey(1))
	opts.AuthorizationIssuer, opts.AuthorizationAudience = testIssuer, testAudience
	opts.CheckpointEveryNEvents = 3
	return engineOf(t, opts)
}

// A guard in the same process: decide, then enforce what was decided on the state that was loaded.
func TestPEPGuardsTheEngine(t *testing.T) {
	t.Parallel()
	e, state, intent := signingEngine(t), exampleState(), exampleIntent()
	out := e.EvaluatePure(intent, state, FailFast)
	if out.Authorization == nil {
		t.Fatalf("denied: %v, %v", out.Reasons, out.Err)
	}
	binding := func(in Intent, s *State) Binding {
		intentHash, err := in.Hash()
		if err != nil {
			t.Fatal(err)
		}
		stateHash, err := e.StateHash(s)
		if err != nil {
			t.Fatal(err)
		}
		return Binding{IntentHash: intentHash, StateHash: stateHash}
	}
	for _, row := range []struct {
		name   string
		b      Binding
		reason string
	}{
		{"another intent", binding(exampleIntent(Member{"amount", "101"}), state), ReasonIntentHashMismatch},
		{"the state went on", binding(intent, out.NextState), ReasonStateHashMismatch},
		{"what was decided", binding(intent, state), ""},
	} {
		if v := testPEP(t, testTrust(t), new(ledger)).Authorize(out.Authorization.Object(), row.b, testNow); v.Reason != row.reason {
			t.Errorf("%s: got %+v", row.name, v)
		}
	}
}

// The log and the snapshot of an engine make an envelope that verifies with closed options.
func TestVerifyEnvelopeOfTheEngine(t *testing.T) {
	t.Parallel()
	e := signingEngine(t)
	out := e.EvaluatePure(exampleIntent(), exampleState(), FailFast)
	if out.NextState == nil {
		t.Fatalf("denied: %v, %v", out.Reasons, out.Err)
	}
	events := e.Audit().Events()
	verify := func(s *State) Result {
		snapshot, err := e.Export(s)
		if err != nil {
			t.Fatal(err)
		}
		var envelope Envelope
		if envelope.Snapshot, err = snapshot.Encode(); err != nil {
			t.Fatal(err)
		}
		for _, event := range events {
			envelope.Events = append(envelope.Events, event.Object())
		}
		if envelope, err = SignEnvelope(envelope, testKey(1), testIssuer, testKID); err != nil {
			t.Fatal(err)
		}
		opts := EnvelopeOptions{Trust: testTrust(t), ExpectedIssuer: testIssuer, ExpectedPolicyID: e.PolicyID()}
		return VerifyEnvelope(mustAppendEnvelope(t, &envelope), testNow, opts)
	}
	if r := verify(out.NextState); !r.OK() || r.AuditHeadHash != e.Audit().HeadHash() {
		t.Errorf("state of the checkpoint: %s", r.AppendJSON(nil))
	}
	if r := verify(exampleState()); r.Reasons() != string(CodeCheckpointMismatch) {
		t.Errorf("another state: %s", r.AppendJSON(nil))
	}
}
