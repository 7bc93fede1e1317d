package oxdeai

import (
	"bytes"
	"testing"
)

// The golden lines and vectors were made by a peer that is more lenient than our zero options. These readers of its options turn on
// exactly what it accepts. They turn on nothing that the lines do not need: a negative test for each choice stands in the test of
// its verifier.

func modeOf(tb testing.TB, o *Object) Mode {
	tb.Helper()
	switch mode, _ := o.Text("mode"); mode {
	case "":
		return ModeUnset
	case "strict":
		return ModeStrict
	case "best-effort":
		return ModeBestEffort
	default:
		tb.Fatalf("unknown mode %q", mode)
		return ModeStrict
	}
}

func textMember(o *Object, name string) string {
	s, _ := o.Text(name)
	return s
}

func numberMember(tb testing.TB, o *Object, name string) int64 {
	tb.Helper()
	v, _ := o.Get(name)
	n, ok := SafeInt(v)
	if !ok {
		tb.Fatalf("%s is no integer: %v", name, v)
	}
	return n
}

func objectMember(o *Object, name string) *Object {
	v, _ := o.Get(name)
	member, _ := v.(*Object)
	return member
}

func listMember(o *Object, name string) []Value {
	v, _ := o.Get(name)
	list, _ := v.([]Value)
	return list
}

// nowOf is the time of a line. Lines without one have nothing that expires.
func nowOf(tb testing.TB, o *Object) int64 {
	if _, found := o.Get("now"); !found {
		return 0
	}
	return numberMember(tb, o, "now")
}

func consumedOf(o *Object, name string) func(string) bool {
	list := listMember(o, name)
	return func(id string) bool {
		for _, v := range list {
			if v == id {
				return true
			}
		}
		return false
	}
}

// trustOf reads key sets member by member, without the checks of ParseKeySets: the peer takes a bad key and fails later.
func trustOf(tb testing.TB, opts *Object) Trust {
	tb.Helper()
	v, _ := opts.Get("trustedKeySets")
	list, ok := v.([]Value)
	if !ok && v != nil {
		list = []Value{v}
	}
	trust := Trust{AcceptRetired: true}
	for _, v := range list {
		o := v.(*Object)
		set := KeySet{Issuer: textMember(o, "issuer"), Version: textMember(o, "version")}
		for _, k := range listMember(o, "keys") {
			var key Key
			for _, m := range k.(*Object).Members {
				if err := key.set(m); err != nil {
					tb.Fatal(err)
				}
			}
			set.Keys = append(set.Keys, key)
		}
		trust.KeySets = append(trust.KeySets, set)
	}
	return trust
}

func skipsSignature(opts *Object) bool {
	v, _ := opts.Get("requireSignatureVerification")
	return v != true
}

func peerAudit(tb testing.TB, o *Object) AuditOptions {
	opts := AuditOptions{Mode: modeOf(tb, o), ExpectedPolicyID: textMember(o, "expectedPolicyId"), AcceptUnanchoredHead: true}
	switch v, _ := o.Get("requireStateAnchors"); v {
	case true:
		opts.Anchors = AnchorsRequired
	case false:
		opts.Anchors = AnchorsOptional
	}
	return opts
}

func peerEnvelope(tb testing.TB, o *Object) EnvelopeOptions {
	return EnvelopeOptions{
		Mode: modeOf(tb, o), Trust: trustOf(tb, o), ExpectedIssuer: textMember(o, "expectedIssuer"),
		ExpectedPolicyID: textMember(o, "expectedPolicyId"), AcceptUnsigned: skipsSignature(o), AcceptUnboundSnapshot: true,
	}
}

func peerAuthorization(tb testing.TB, o *Object) AuthorizationOptions {
	return AuthorizationOptions{
		Mode: modeOf(tb, o), Trust: trustOf(tb, o), ExpectedIssuer: textMember(o, "expectedIssuer"),
		ExpectedAudience: textMember(o, "expectedAudience"), ExpectedPolicyID: textMember(o, "expectedPolicyId"),
		Consumed: consumedOf(o, "consumedAuthIds"), LegacyHMACSecret: []byte(textMember(o, "legacyHmacSecret")),
		AcceptUnverifiedSignature: skipsSignature(o), AcceptBareSignature: true,
	}
}

func peerDelegation(tb testing.TB, o *Object) DelegationOptions {
	return DelegationOptions{
		Trust: trustOf(tb, o), ExpectedDelegatee: textMember(o, "expectedDelegatee"),
		ExpectedPolicyID: textMember(o, "expectedPolicyId"), Consumed: consumedOf(o, "consumedDelegationIds"),
		ParentScope: objectMember(o, "parentScope"), AcceptUnverifiedSignature: skipsSignature(o),
		AcceptForeignIssuer: true,
	}
}

// sameResult compares a result with the golden one, member for member, and the violations in their order.
func sameResult(t *testing.T, got []byte, want Value) {
	t.Helper()
	g, err := Canonical(mustParse(t, got))
	if err != nil {
		t.Fatal(err)
	}
	w, err := Canonical(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("result differs\n got %s\nwant %s", g, w)
	}
}

// sameExpectation compares what a vector names: status, violations, and the hashes and ids that it lists.
func sameExpectation(t *testing.T, r Result, want *Object) {
	t.Helper()
	got := mustObject(t, r.AppendJSON(nil))
	for _, m := range want.Members {
		v, found := got.Get(m.Name)
		if !found {
			t.Errorf("result lacks %s: %s", m.Name, r.AppendJSON(nil))
			continue
		}
		g, _ := Canonical(v)
		w, err := Canonical(m.Value)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(g, w) {
			t.Errorf("%s\n got %s\nwant %s", m.Name, g, w)
		}
	}
}
