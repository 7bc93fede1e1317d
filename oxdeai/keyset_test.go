package oxdeai

import (
	"strings"
	"testing"
)

// keySetText is the JSON of one key set with one key; more is put into the key.
func keySetText(tb testing.TB, issuer, more string) string {
	tb.Helper()
	key := appendQuoted(nil, publicPEM(tb, testKey(1).Public()))
	return `{"issuer":"` + issuer + `","version":"1","keys":[{"kid":"k1","alg":"Ed25519","public_key":` + string(key) + more + `}]}`
}

func TestParseKeySets(t *testing.T) {
	t.Parallel()
	one := keySetText(t, testIssuer, "")
	for _, row := range []struct {
		name, text string
		want       int // key sets, 0 for an error
	}{
		{"one set", one, 1},
		{"list", `[` + one + `,` + keySetText(t, "other", `,"status":"retired","not_before":1,"not_after":2`) + `]`, 2},
		{"HMAC key", `{"issuer":"i","keys":[{"kid":"k","alg":"HMAC-SHA256","public_key":"x"}]}`, 1},
		{"empty list is no trust", `[]`, 0},
		{"one issuer twice", `[` + one + `,` + one + `]`, 0},
		{"no object", `[5]`, 0},
		{"no issuer", `{"keys":[{"kid":"k","alg":"HMAC-SHA256","public_key":"x"}]}`, 0},
		{"no keys", `{"issuer":"i","keys":[]}`, 0},
		{"key is no object", `{"issuer":"i","keys":["k"]}`, 0},
		{"key without text", `{"issuer":"i","keys":[{"kid":"k","alg":"HMAC-SHA256"}]}`, 0},
		{"unreadable key", `{"issuer":"i","keys":[{"kid":"k","alg":"Ed25519","public_key":"x"}]}`, 0},
		{"unknown algorithm", `{"issuer":"i","keys":[{"kid":"k","alg":"RSA","public_key":"x"}]}`, 0},
		{"same kid twice", `{"issuer":"i","keys":[{"kid":"k","alg":"HMAC-SHA256","public_key":"x"},{"kid":"k","alg":"HMAC-SHA256","public_key":"y"}]}`, 0},
		{"unknown member of a key", keySetText(t, "i", `,"not_aftre":1`), 0},
		{"unknown member of a set", strings.Replace(one, `"version"`, `"versoin"`, 1), 0},
		{"unknown status", keySetText(t, "i", `,"status":"gone"`), 0},
		{"time as text", keySetText(t, "i", `,"not_after":"1"`), 0},
		{"time with a fraction", keySetText(t, "i", `,"not_before":0.5`), 0},
		{"a name twice", keySetText(t, "i", `,"kid":"k2"`), 0},
		{"too many sets", `[` + strings.Repeat(`5,`, MaxKeySets) + `5]`, 0},
		{"too many keys", `{"issuer":"i","keys":[` + strings.Repeat(`5,`, MaxKeysPerSet) + `5]}`, 0},
		{"too long", one + strings.Repeat(" ", MaxKeySetBytes), 0},
	} {
		sets, err := ParseKeySets([]byte(row.text))
		if len(sets) != row.want || (err == nil) != (row.want > 0) {
			t.Errorf("%s: %d key sets, error %v", row.name, len(sets), err)
		}
	}
}

func TestParsedKeySetsVerify(t *testing.T) {
	t.Parallel()
	sets, err := ParseKeySets([]byte(keySetText(t, testIssuer, "")))
	if err != nil {
		t.Fatal(err)
	}
	if r := VerifyAuthorization(signedAuth(t), testNow, AuthorizationOptions{Trust: Trust{KeySets: sets}}); !r.OK() {
		t.Errorf("got %s", r.AppendJSON(nil))
	}
}

// Only the first set of an issuer counts, and names that every object has in some languages are nobody's.
func TestTrustFind(t *testing.T) {
	t.Parallel()
	trust := Trust{KeySets: []KeySet{
		{Issuer: "i", Keys: []Key{{KID: "a", Alg: AlgEd25519}, {KID: "h", Alg: AlgHMAC}}},
		{Issuer: "i", Keys: []Key{{KID: "b", Alg: AlgEd25519}}},
	}}
	for _, row := range []struct {
		issuer, kid string
		want        bool
	}{
		{"i", "a", true}, {"i", "b", false}, {"i", "h", false}, {"I", "a", false}, {"", "", false},
		{"constructor", "a", false}, {"i", "__proto__", false},
	} {
		if got := trust.find(row.issuer, row.kid) != nil; got != row.want {
			t.Errorf("%s %s: found %v", row.issuer, row.kid, got)
		}
	}
}

func TestKeyTimesAreInclusive(t *testing.T) {
	t.Parallel()
	from, to := int64(10), int64(20)
	k := Key{NotBefore: &from, NotAfter: &to}
	for now, want := range map[int64]bool{9: false, 10: true, 20: true, 21: false} {
		if k.active(now, false) != want {
			t.Errorf("at %d: want %v", now, want)
		}
	}
}
