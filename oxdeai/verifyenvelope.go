package oxdeai

// EnvelopeOptions are the demands on an envelope. The zero value is the closed one: a signature of a trusted issuer, and a last
// checkpoint that names the snapshot.
type EnvelopeOptions struct {
	Mode             Mode
	Trust            Trust
	ExpectedIssuer   string // empty: any issuer that Trust has a key of
	ExpectedPolicyID string // empty: any, as long as snapshot and events agree
	// AcceptUnsigned lets an envelope without a signature verify. A signature that is there is checked all the same.
	AcceptUnsigned bool
	// AcceptUnboundSnapshot leaves out the comparison of the last checkpoint with the snapshot's state hash, as peers of the
	// protocol do. Use it for a snapshot that was taken later than the last checkpoint.
	AcceptUnboundSnapshot bool
}

// VerifyEnvelope decodes an envelope and checks its signature, its snapshot, its events, and that they belong together. now is in
// Unix seconds and decides only which keys are active. The signature covers the events, so no other anchor of the audit head
// is asked for.
func VerifyEnvelope(data []byte, now int64, opts EnvelopeOptions) Result {
	e, err := DecodeEnvelope(data)
	if err != nil {
		return refused(CodeEnvelopeMalformed, err.Error())
	}
	if opts.Mode == ModeStrict && !opts.Trust.given() {
		return refused(CodeTrustedKeySetsRequired, keySetsRequiredMessage)
	}
	var found findings
	checkEnvelopeSignature(&found, e, now, opts)
	snapshot := VerifySnapshot(e.Snapshot, opts.ExpectedPolicyID)
	audit := newAuditRun(AuditOptions{Mode: opts.Mode, ExpectedPolicyID: opts.ExpectedPolicyID, AcceptUnanchoredHead: true})
	audit.run(e.Events)
	log := audit.result()
	found.addAll(snapshot.Violations)
	found.addAll(log.Violations)
	comparePolicies(&found, snapshot.PolicyID, log.PolicyID)
	if !opts.AcceptUnboundSnapshot && audit.anchored && snapshot.OK() && audit.lastState != snapshot.StateHash {
		found.add(CodeCheckpointMismatch, "last checkpoint stateHash does not match snapshot stateHash")
	}
	return envelopeResult(&found, snapshot, log)
}

func envelopeResult(found *findings, snapshot, log Result) Result {
	r := found.result()
	r.PolicyID, r.EmptyPolicyID = snapshot.PolicyID, snapshot.EmptyPolicyID
	if r.PolicyID == "" && !r.EmptyPolicyID {
		r.PolicyID = log.PolicyID
	}
	r.StateHash = snapshot.StateHash
	r.AuditHeadHash = log.AuditHeadHash
	return r
}

func comparePolicies(found *findings, snapshot, log string) {
	switch {
	case snapshot == "" || log == "":
		found.add(CodePolicyIDMissing, "snapshot and audit must both include policyId")
	case snapshot != log:
		found.add(CodePolicyIDMismatch, "snapshot policyId does not match audit policyId")
	}
}

func checkEnvelopeSignature(found *findings, e *Envelope, now int64, opts EnvelopeOptions) {
	if opts.ExpectedIssuer != "" && e.Issuer != opts.ExpectedIssuer {
		found.add(CodeEnvelopeSigInvalid, "envelope issuer does not match expectedIssuer")
	}
	if e.Signature == "" {
		if !opts.AcceptUnsigned {
			found.add(CodeEnvelopeSigMissing, "signed envelope is required")
		}
		return
	}
	if !opts.Trust.given() {
		found.add(CodeEnvelopeTrustMissing, "trustedKeySets required to verify signed envelope")
		return
	}
	switch key := opts.Trust.find(e.Issuer, e.KID); {
	case key == nil:
		found.add(CodeEnvelopeKIDUnknown, "envelope kid not found for issuer/alg")
	case !key.active(now, opts.Trust.AcceptRetired):
		found.add(CodeEnvelopeKeyInactive, "envelope signing key is not active")
	case !verifyEd25519(key.public(), DomainEnvelope, e.signed(), e.Signature):
		found.add(CodeEnvelopeSigInvalid, "envelope signature verification failed")
	}
}
