package oxdeai

import (
	"testing"
)

// vectorFile calls f as a subtest for each vector of a file. Vectors of the same id in the file of inputs, if there is one, come along.
func vectorFile(t *testing.T, name string, f func(t *testing.T, file, vector, input *Object)) {
	t.Helper()
	file := mustObject(t, conformance(t, "vectors", name))
	vectors := listMember(file, "vectors")
	if len(vectors) == 0 {
		t.Fatalf("%s has no vectors", name)
	}
	for _, v := range vectors {
		vector := v.(*Object)
		t.Run(textMember(vector, "id"), func(t *testing.T) { f(t, file, vector, objectMember(vector, "input")) })
	}
	t.Logf("%s: %d vectors", name, len(vectors))
}

// vectorFileWithInputs is vectorFile for vectors whose inputs stand in a file of their own, by id.
func vectorFileWithInputs(t *testing.T, name string, f func(t *testing.T, vector, input *Object)) {
	t.Helper()
	inputs := map[string]*Object{}
	for _, v := range listMember(mustObject(t, conformance(t, "vectors", "inputs", name)), "vectors") {
		inputs[textMember(v.(*Object), "id")] = objectMember(v.(*Object), "input")
	}
	vectorFile(t, name, func(t *testing.T, _, vector, _ *Object) {
		input := inputs[textMember(vector, "id")]
		if input == nil {
			t.Fatal("there is no input of this id")
		}
		f(t, vector, input)
	})
}

func TestVectorsAuditVerification(t *testing.T) {
	t.Parallel()
	vectorFileWithInputs(t, "audit-verification.json", func(t *testing.T, vector, input *Object) {
		events, _ := input.Get("events")
		r := VerifyAuditEvents(events, peerAudit(t, objectMember(input, "opts")))
		sameExpectation(t, r, objectMember(vector, "expected"))
	})
}

func TestVectorsEnvelope(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"envelope-verification.json", "envelope-signature-verification.json"} {
		vectorFileWithInputs(t, name, func(t *testing.T, vector, input *Object) {
			opts, want := objectMember(input, "opts"), objectMember(vector, "expected")
			r := VerifyEnvelope(mustBase64(t, input, "envelope_base64"), nowOf(t, opts), peerEnvelope(t, opts))
			if textMember(vector, "id") == "envelope-004" { // the expected message is that of one JavaScript parser
				if r.Status != StatusInvalid || r.Reasons() != string(CodeEnvelopeMalformed) {
					t.Errorf("got %s", r.AppendJSON(nil))
				}
				return
			}
			sameExpectation(t, r, want)
		})
	}
}

func TestVectorsAuthorizationVerification(t *testing.T) {
	t.Parallel()
	vectorFile(t, "authorization-verification.json", func(t *testing.T, _, vector, input *Object) {
		auth := objectMember(input, "auth")
		for _, m := range []Member{{"alg", AlgHMAC}, {"kid", "legacy"}, {"signature", "legacy-placeholder"}} {
			if _, found := auth.Get(m.Name); !found {
				auth.Members = append(auth.Members, m)
			}
		}
		opts := objectMember(input, "opts")
		r := VerifyAuthorization(auth, nowOf(t, opts), peerAuthorization(t, opts))
		sameExpectation(t, r, objectMember(vector, "expected"))
	})
}

func TestVectorsAuthorizationSignature(t *testing.T) {
	t.Parallel()
	vectorFileWithInputs(t, "authorization-signature-verification.json", func(t *testing.T, vector, input *Object) {
		o := objectMember(input, "opts")
		opts := peerAuthorization(t, o)
		opts.AcceptBareSignature = false // these are all signed with the domain
		r := VerifyAuthorization(objectMember(input, "auth"), nowOf(t, o), opts)
		sameExpectation(t, r, objectMember(vector, "expected"))
	})
}

func TestVectorsDelegation(t *testing.T) {
	t.Parallel()
	vectorFile(t, "delegation-verification.json", func(t *testing.T, _, vector, input *Object) {
		opts := objectMember(input, "opts")
		r := VerifyDelegation(objectMember(input, "delegation"), nowOf(t, opts), peerDelegation(t, opts))
		sameExpectation(t, r, objectMember(vector, "expected"))
	})
	for _, name := range []string{"delegation-chain-verification.json", "delegation-signature-verification.json"} {
		vectorFile(t, name, func(t *testing.T, _, vector, input *Object) {
			opts := objectMember(input, "opts")
			d, parent := objectMember(input, "delegation"), objectMember(input, "parent")
			r := VerifyDelegationChain(d, parent, nowOf(t, opts), peerDelegation(t, opts))
			sameExpectation(t, r, objectMember(vector, "expected"))
		})
	}
}

func TestVectorsDelegationParentHash(t *testing.T) {
	t.Parallel()
	vectorFile(t, "delegation-parent-hash.json", func(t *testing.T, _, vector, input *Object) {
		hash, err := Hash(objectMember(input, "parent"))
		if err != nil {
			t.Fatal(err)
		}
		if want := textMember(objectMember(vector, "expected"), "parent_auth_hash"); hash != want {
			t.Errorf("got %s, want %s", hash, want)
		}
	})
}

// documentNow is the fixed clock of the document vectors, and documentIntent the hash of the action they are about.
const (
	documentNow    = 1712448050
	documentIntent = "8fbb30c8419a1c88a7799b39d77c77ef19dbdcdf82476bfb6c3d08b644683fa7"
)

func documentKeys(t *testing.T, file *Object) documentTrust {
	t.Helper()
	keys := documentTrust{}
	for _, v := range listMember(file, "keys") {
		k := v.(*Object)
		key, err := ParsePublicKey(textMember(k, "public_key_pem"))
		if err != nil {
			t.Fatal(err)
		}
		keys[textMember(k, "kid")] = key
	}
	return keys
}

func TestVectorsDocumentAuthorization(t *testing.T) {
	t.Parallel()
	vectorFile(t, "authorization-v1.json", func(t *testing.T, file, vector, _ *Object) {
		auth, snapshot := objectMember(vector, "artifact"), objectMember(vector, "state_snapshot")
		reason := documentKeys(t, file).Authorize(auth, documentIntent, snapshot, documentNow)
		want := objectMember(vector, "expected")
		if allowed := textMember(want, "decision") == "ALLOW"; allowed != (reason == "") || reason != textMember(want, "error") {
			t.Errorf("got %q, want %s", reason, mustCanonical(t, want))
		}
	})
}

func TestVectorsDocumentDelegation(t *testing.T) {
	t.Parallel()
	vectorFile(t, "delegation-vectors-v1.json", func(t *testing.T, file, vector, _ *Object) {
		got := documentKeys(t, file).Delegate(documentDelegation{
			Parent: objectMember(vector, "parent_authorization"), Delegation: objectMember(vector, "delegation"),
			Action: objectMember(vector, "action"), Delegatee: "agent-123",
			ConsumedID: textMember(vector, "preconsume_delegation_id"),
		}, numberMember(t, objectMember(file, "meta"), "now"))
		want := textMember(vector, "expected_error")
		if textMember(vector, "status") == "ok" {
			want = textMember(objectMember(vector, "expected"), "reason_code")
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// pepUpstreams maps the behaviour of the vectors' fake upstream to what an enforcement point sees. An upstream that must not be
// called has no entry.
var pepUpstreams = map[string]Upstream{"success": UpstreamDone, "error": UpstreamFailed, "timeout": UpstreamTimedOut}

func TestVectorsPEP(t *testing.T) {
	t.Parallel()
	artifacts := mustObject(t, conformance(t, "vectors", "authorization-v1.json"))
	byID := map[string]*Object{}
	for _, v := range listMember(artifacts, "vectors") {
		byID[textMember(v.(*Object), "id")] = v.(*Object)
	}
	set := KeySet{Issuer: "issuer-1"}
	for _, v := range listMember(artifacts, "keys") {
		k := v.(*Object)
		set.Keys = append(set.Keys, Key{KID: textMember(k, "kid"), Alg: AlgEd25519, PublicKey: textMember(k, "public_key_pem")})
	}
	vectorFile(t, "pep-vectors-v1.json", func(t *testing.T, _, vector, _ *Object) {
		pep, err := NewPEP(PEPConfig{
			Audience: "pep-gateway.local", Issuer: "issuer-1", Trust: Trust{KeySets: []KeySet{set}},
			Consume: new(ConsumedIDs).Consume, AcceptBareSignature: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		request := objectMember(vector, "request")
		verdict := pep.Execute(pepBody(t, request, byID), documentNow)
		outcome, called := pepUpstreams[textMember(request, "upstream_behavior")]
		if verdict.Allowed && !called {
			t.Fatalf("the upstream was called: %+v", verdict)
		}
		reply := verdict.Reply(outcome)
		got := NewObject(Member{"decision", reply.Decision()}, Member{"executed", reply.Executed()}, Member{"status", Int(int64(reply.Status))})
		sameResult(t, mustCanonical(t, got), objectMember(vector, "expected"))
	})
}

func pepBody(t *testing.T, request *Object, byID map[string]*Object) []byte {
	t.Helper()
	action, _ := request.Get("action")
	body := NewObject(Member{"action", action})
	if ref, ok := request.Text("authorization_ref"); ok {
		body.Members = append(body.Members, Member{"authorization", objectMember(byID[ref], "artifact")})
	}
	if ref, ok := request.Text("state_snapshot_ref"); ok {
		body.Members = append(body.Members, Member{"state_snapshot", objectMember(byID[ref], "state_snapshot")})
	}
	return mustCanonical(t, body)
}
