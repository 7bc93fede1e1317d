package oxdeai

import (
	"encoding/base64"
	"testing"
)

func mustBase64(tb testing.TB, o *Object, name string) []byte {
	tb.Helper()
	v, _ := o.Get(name)
	s, _ := v.(string)
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestGoldenVerifySnapshot(t *testing.T) {
	t.Parallel()
	goldenLines(t, "verify_snapshot.jsonl", func(t *testing.T, line *Object) {
		r := VerifySnapshot(mustBase64(t, line, "snapshot_base64"), textMember(objectMember(line, "opts"), "expectedPolicyId"))
		sameResult(t, r.AppendJSON(nil), objectMember(line, "result"))
	})
}

func TestGoldenVerifyAudit(t *testing.T) {
	t.Parallel()
	goldenLines(t, "verify_audit.jsonl", func(t *testing.T, line *Object) {
		events, _ := line.Get("events")
		r := VerifyAuditEvents(events, peerAudit(t, objectMember(line, "opts")))
		sameResult(t, r.AppendJSON(nil), objectMember(line, "result"))
	})
}

func TestGoldenVerifyEnvelope(t *testing.T) {
	t.Parallel()
	goldenLines(t, "verify_envelope.jsonl", func(t *testing.T, line *Object) {
		opts := objectMember(line, "opts")
		r := VerifyEnvelope(mustBase64(t, line, "envelope_base64"), nowOf(t, opts), peerEnvelope(t, opts))
		want := objectMember(line, "result")
		if anyMessage(want) && len(r.Violations) == 1 {
			r.Violations[0].Message = ""
		}
		sameResult(t, r.AppendJSON(nil), want)
	})
}

// anyMessage says whether a golden result leaves the text of a malformed envelope open.
func anyMessage(want *Object) bool {
	list := listMember(want, "violations")
	if len(list) != 1 {
		return false
	}
	v := list[0].(*Object)
	_, found := v.Get("message")
	return textMember(v, "code") == string(CodeEnvelopeMalformed) && !found
}

func TestGoldenVerifyAuthorization(t *testing.T) {
	t.Parallel()
	goldenLines(t, "verify_authorization.jsonl", func(t *testing.T, line *Object) {
		opts := objectMember(line, "opts")
		r := VerifyAuthorization(objectMember(line, "auth"), nowOf(t, opts), peerAuthorization(t, opts))
		sameResult(t, r.AppendJSON(nil), objectMember(line, "result"))
	})
}

func TestGoldenVerifyDelegation(t *testing.T) {
	t.Parallel()
	goldenLines(t, "verify_delegation.jsonl", func(t *testing.T, line *Object) {
		o := objectMember(line, "opts")
		d, now, opts := objectMember(line, "delegation"), nowOf(t, o), peerDelegation(t, o)
		var r Result
		switch fn := textMember(line, "fn"); fn {
		case "verifyDelegation":
			r = VerifyDelegation(d, now, opts)
		case "verifyDelegationChain":
			r = VerifyDelegationChain(d, objectMember(line, "parent"), now, opts)
		default:
			t.Fatalf("unknown function %q", fn)
		}
		sameResult(t, r.AppendJSON(nil), objectMember(line, "result"))
	})
}

func TestGoldenReplayVerify(t *testing.T) {
	t.Parallel()
	goldenLines(t, "replay_verify.jsonl", func(t *testing.T, line *Object) {
		o := objectMember(line, "opts")
		r, err := VerifyReplay(listMember(line, "events"), ReplayOptions{PolicyID: textMember(o, "policyId"), Mode: modeOf(t, o)})
		if err != nil {
			t.Fatal(err)
		}
		got := mustObject(t, r.AppendJSON(nil))
		if !isHashText(textMember(got, "auditHeadHash")) {
			t.Error("no audit head")
		}
		sameResult(t, mustCanonical(t, got.Without("auditHeadHash")), objectMember(line, "result"))
	})
}

// TestGoldenQuirksVerify runs the peer's quirks. The first line, an HMAC signature that nobody checked and strict mode lets
// through, must not be reproduced.
func TestGoldenQuirksVerify(t *testing.T) {
	t.Parallel()
	goldenLines(t, "quirks_verify.jsonl", func(t *testing.T, line *Object) {
		opts := objectMember(line, "opts")
		r := VerifyAuthorization(objectMember(line, "auth"), nowOf(t, opts), peerAuthorization(t, opts))
		if textMember(line, "id") == "quirk-va-1" {
			if r.Status != StatusInvalid || r.Reasons() != string(CodeAuthTrustMissing) {
				t.Errorf("an unchecked HMAC signature passed strict mode: %s", r.AppendJSON(nil))
			}
			return
		}
		sameResult(t, r.AppendJSON(nil), objectMember(line, "result"))
	})
}

func mustCanonical(tb testing.TB, v Value) []byte {
	tb.Helper()
	b, err := Canonical(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// With closed options a verifier accepts nothing that the peer refuses: the choices only ever widen.
func TestGoldenClosedOptionsOnlyNarrow(t *testing.T) {
	t.Parallel()
	for file, verify := range map[string]func(t *testing.T, line, opts *Object) Result{
		"verify_audit.jsonl": func(t *testing.T, line, o *Object) Result {
			events, _ := line.Get("events")
			return VerifyAuditEvents(events, AuditOptions{ExpectedPolicyID: textMember(o, "expectedPolicyId"), AcceptUnanchoredHead: true})
		},
		"verify_envelope.jsonl": func(t *testing.T, line, o *Object) Result {
			closed := EnvelopeOptions{Trust: trustOf(t, o), ExpectedIssuer: textMember(o, "expectedIssuer"), ExpectedPolicyID: textMember(o, "expectedPolicyId")}
			return VerifyEnvelope(mustBase64(t, line, "envelope_base64"), nowOf(t, o), closed)
		},
		"verify_authorization.jsonl": func(t *testing.T, line, o *Object) Result {
			opts := peerAuthorization(t, o)
			opts.Mode, opts.AcceptUnverifiedSignature, opts.AcceptBareSignature, opts.Trust.AcceptRetired = ModeStrict, false, false, false
			return VerifyAuthorization(objectMember(line, "auth"), nowOf(t, o), opts)
		},
		"verify_delegation.jsonl": func(t *testing.T, line, o *Object) Result {
			opts := peerDelegation(t, o)
			opts.AcceptUnverifiedSignature, opts.AcceptForeignIssuer, opts.Trust.AcceptRetired = false, false, false
			d, parent := objectMember(line, "delegation"), objectMember(line, "parent")
			if parent == nil {
				return VerifyDelegation(d, nowOf(t, o), opts)
			}
			return VerifyDelegationChain(d, parent, nowOf(t, o), opts)
		},
	} {
		accepted := 0
		goldenLines(t, file, func(t *testing.T, line *Object) {
			r := verify(t, line, objectMember(line, "opts"))
			want := objectMember(line, "result")
			if ok, _ := want.Get("ok"); r.OK() && ok != true {
				t.Errorf("accepted what the peer refuses: %s", mustCanonical(t, want))
			}
			if r.OK() {
				accepted++
			}
		})
		t.Logf("%s: %d lines accepted", file, accepted)
	}
}
