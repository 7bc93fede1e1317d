package oxdeai

import (
	"crypto/ed25519"
	"testing"
)

// documentSigned gives an artifact of the document profile, signed by the key of the seed under kid.
func documentSigned(tb testing.TB, seed byte, kid string, o *Object) *Object {
	tb.Helper()
	text := base64Of(signBytes(testKey(seed), mustCanonical(tb, o)))
	return set(o, Member{"signature", NewObject(Member{"alg", AlgEd25519}, Member{"kid", kid}, Member{"sig", text})})
}

func testDocumentKeys() documentTrust {
	return documentTrust{"a": testKey(1).Public().(ed25519.PublicKey), "d": testKey(2).Public().(ed25519.PublicKey)}
}

func TestDocumentAuthorizeFirstFailureWins(t *testing.T) {
	t.Parallel()
	state := NewObject(Member{"s", Int(1)})
	hash, err := Hash(state)
	if err != nil {
		t.Fatal(err)
	}
	good := NewObject(Member{"version", "AuthorizationV1"}, Member{"decision", "ALLOW"}, Member{"expiry", Int(testNow + 1)},
		Member{"intent_hash", "i"}, Member{"state_hash", hash})
	for _, row := range []struct {
		name     string
		auth     *Object
		snapshot *Object
		want     string
	}{
		{"good", documentSigned(t, 1, "a", good), state, ""},
		{"good, no snapshot to compare", documentSigned(t, 1, "a", good), nil, ""},
		{"not signed", good, state, documentInvalidSignature},
		{"key of somebody else", documentSigned(t, 2, "a", good), state, documentInvalidSignature},
		{"unknown key", documentSigned(t, 1, "constructor", good), state, documentInvalidSignature},
		{"another state", good, NewObject(), ReasonStateHashMismatch},
		{"no state hash", good.Without("state_hash"), state, ReasonStateHashMissing},
		{"another intent", set(good, Member{"intent_hash", "j"}), state, ReasonIntentHashMismatch},
		{"expired", set(good, Member{"expiry", Int(testNow)}, Member{"intent_hash", "j"}), state, documentExpired},
		{"no expiry", good.Without("expiry"), state, documentExpired},
		{"denied", set(good, Member{"decision", "DENY"}).Without("expiry"), state, documentNotAllowed},
		{"no version", good.Without("version").Without("decision"), state, documentUnsupported},
	} {
		if got := testDocumentKeys().Authorize(row.auth, "i", row.snapshot, testNow); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestDocumentDelegateScope(t *testing.T) {
	t.Parallel()
	parent := documentSigned(t, 1, "a", NewObject(Member{"expiry", Int(testNow + 9)},
		Member{"scope", NewObject(Member{"tools", Strings([]string{"pay", "refund"})}, Member{"max_amount", Int(100)})}))
	hash, err := Hash(parent)
	if err != nil {
		t.Fatal(err)
	}
	delegation := func(scope *Object, changes ...Member) *Object {
		return documentSigned(t, 2, "d", set(NewObject(Member{"delegation_id", "x"}, Member{"delegatee", "child"},
			Member{"parent_auth_hash", hash}, Member{"expiry", Int(testNow + 5)}, Member{"scope", scope}), changes...))
	}
	pay := NewObject(Member{"tools", Strings([]string{"pay"})}, Member{"max_amount", Int(50)})
	action := func(tool string, amount Value) *Object {
		return NewObject(Member{"tool", tool}, Member{"params", NewObject(Member{"amount", amount})})
	}
	for _, row := range []struct {
		name       string
		delegation *Object
		action     *Object
		want       string
	}{
		{"good", delegation(pay), action("pay", "50"), documentAuthorized},
		{"one unit too much", delegation(pay), action("pay", "51"), "DELEGATION_SCOPE_VIOLATION"},
		{"amount in words", delegation(pay), action("pay", "ten"), "DELEGATION_SCOPE_VIOLATION"},
		{"negative amount", delegation(pay), action("pay", "-1"), "DELEGATION_SCOPE_VIOLATION"},
		{"no amount", delegation(pay), NewObject(Member{"tool", "pay"}), "DELEGATION_SCOPE_VIOLATION"},
		{"another tool", delegation(pay), action("refund", "1"), "DELEGATION_SCOPE_VIOLATION"},
		{"wider", delegation(set(pay, Member{"max_amount", Int(101)})), action("pay", "1"), documentScopeWidening},
		{"longer", delegation(pay, Member{"expiry", Int(testNow + 10)}), action("pay", "1"), documentScopeWidening},
		{"expired", delegation(pay, Member{"expiry", Int(testNow)}), action("pay", "1"), "DELEGATION_EXPIRED"},
		{"somebody else's", delegation(pay, Member{"delegatee", "other"}), action("pay", "1"), documentDelegateeMismatch},
		{"used", delegation(pay, Member{"delegation_id", "used"}), action("pay", "1"), "DELEGATION_REPLAY"},
		{"without an id", delegation(pay, Member{"delegation_id", nil}), action("pay", "1"), "DELEGATION_REPLAY"},
		{"changed", set(delegation(pay), Member{"zz", nil}), action("pay", "1"), "DELEGATION_SIGNATURE_INVALID"},
	} {
		got := testDocumentKeys().Delegate(documentDelegation{
			Parent: parent, Delegation: row.delegation, Action: row.action, Delegatee: "child", ConsumedID: "used",
		}, testNow)
		if got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}
