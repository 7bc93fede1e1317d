package oxdeai

import (
	"bytes"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors of the verifiers anew")

// ownVectors holds one line for each case: {id, fn, input, result}, all canonical JSON. They are made with keys from fixed seeds and
// verified with zero options, so they show the closed behaviour, which the vectors of the protocol cannot show.
var ownVectors = filepath.Join("testdata", "verify.jsonl")

func TestOwnVectors(t *testing.T) {
	t.Parallel()
	cases := ownCases(t)
	if *update {
		var out []byte
		for _, c := range cases {
			line := set(c, Member{"result", mustParse(t, runOwnCase(t, c))})
			out = append(append(out, mustCanonical(t, line)...), '\n')
		}
		if err := os.WriteFile(ownVectors, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(ownVectors)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) != len(cases) {
		t.Fatalf("%d lines for %d cases: run with -update", len(lines), len(cases))
	}
	for i, text := range lines {
		line := mustObject(t, text)
		t.Run(textMember(line, "id"), func(t *testing.T) {
			if got := mustCanonical(t, cases[i]); !bytes.Equal(got, mustCanonical(t, line.Without("result"))) {
				t.Errorf("the case is made differently now: %s", got)
			}
			sameResult(t, runOwnCase(t, line), objectMember(line, "result"))
		})
	}
}

func runOwnCase(t *testing.T, c *Object) []byte {
	t.Helper()
	in := objectMember(c, "input")
	var trust Trust
	if v, found := in.Get("trustedKeySets"); found {
		var err error
		if trust.KeySets, err = ParseKeySets(mustCanonical(t, v)); err != nil {
			t.Fatal(err)
		}
	}
	now := numberMember(t, in, "now")
	switch fn := textMember(c, "fn"); fn {
	case "verifyAuthorization":
		return VerifyAuthorization(objectMember(in, "auth"), now, AuthorizationOptions{Trust: trust}).AppendJSON(nil)
	case "verifyEnvelope":
		return VerifyEnvelope(mustBase64(t, in, "envelope_base64"), now, EnvelopeOptions{Trust: trust}).AppendJSON(nil)
	case "verifyDelegationChain":
		r := VerifyDelegationChain(objectMember(in, "delegation"), objectMember(in, "parent"), now, DelegationOptions{Trust: trust})
		return r.AppendJSON(nil)
	case "verifyAuditEvents":
		return VerifyAuditEvents(listMember(in, "events"), AuditOptions{ExpectedHead: textMember(in, "expectedHead")}).AppendJSON(nil)
	default:
		t.Fatalf("unknown function %q", fn)
		return nil
	}
}

// ownCases makes the cases. They cover each artifact once good and once with the weakness that zero options close.
func ownCases(t *testing.T) []*Object {
	t.Helper()
	sets := mustParse(t, []byte("["+keySetText(t, testIssuer, "")+","+delegatorKeySet(t)+"]"))
	retired := mustParse(t, []byte(keySetText(t, testIssuer, `,"status":"retired"`)))
	make1 := func(id, fn string, members ...Member) *Object {
		return NewObject(Member{"id", id}, Member{"fn", fn}, Member{"input", NewObject(append(members, Member{"now", Int(testNow)})...)})
	}
	trusted := Member{"trustedKeySets", sets}
	auth := func(id string, auth *Object, keys ...Member) *Object {
		return make1(id, "verifyAuthorization", append(keys, Member{"auth", auth})...)
	}
	snapshot, stateHash := testSnapshot(t)
	envelope := func(id string, data []byte, keys ...Member) *Object {
		return make1(id, "verifyEnvelope", append(keys, Member{"envelope_base64", base64Of(data)})...)
	}
	unbound, err := SignEnvelope(Envelope{Snapshot: snapshot, Events: testEvents(testHash('9'))}, testKey(1), testIssuer, testKID)
	if err != nil {
		t.Fatal(err)
	}
	d, parent, _ := testChain(t, DelegationRequest{ID: "d-1", Scope: Scope{Tools: []string{"pay"}, MaxAmount: big.NewInt(5)}})
	wide, wideParent, _ := testChain(t, DelegationRequest{ID: "d-2", Scope: Scope{Tools: []string{"wipe"}}})
	chain := func(id string, d, parent *Object, keys ...Member) *Object {
		return make1(id, "verifyDelegationChain", append(keys, Member{"delegation", d}, Member{"parent", parent})...)
	}
	events := testEvents(stateHash)
	return []*Object{
		auth("auth-flat", signedAuth(t), trusted),
		auth("auth-nested", nestedAuth(t), trusted),
		auth("auth-bare-signature", bareAuth(t), trusted),
		auth("auth-hmac-unchecked", hmacAuth(t), trusted),
		auth("auth-retired-key", signedAuth(t), Member{"trustedKeySets", retired}),
		auth("auth-no-trust", signedAuth(t)),
		auth("auth-tampered", set(signedAuth(t), Member{"state_hash", testHash('d')}), trusted),
		envelope("envelope", testEnvelope(t), trusted),
		envelope("envelope-unsigned", mustAppendEnvelope(t, &Envelope{Snapshot: snapshot, Events: events}), trusted),
		envelope("envelope-unbound-snapshot", mustAppendEnvelope(t, &unbound), trusted),
		chain("delegation", d, parent, trusted),
		chain("delegation-beyond-parent-scope", wide, wideParent, trusted),
		chain("delegation-no-trust", d, parent),
		make1("audit", "verifyAuditEvents", Member{"events", events}, Member{"expectedHead", headOf(t, events)}),
		make1("audit-no-head", "verifyAuditEvents", Member{"events", events}),
		make1("audit-cut", "verifyAuditEvents", Member{"events", events[1:]}, Member{"expectedHead", headOf(t, events)}),
	}
}

func delegatorKeySet(t *testing.T) string {
	key := string(appendQuoted(nil, publicPEM(t, testKey(2).Public())))
	return `{"issuer":"` + testAudience + `","keys":[{"kid":"` + testKID + `","alg":"Ed25519","public_key":` + key + `}]}`
}
