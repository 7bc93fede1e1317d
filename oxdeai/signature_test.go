package oxdeai

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
)

func TestParsePublicKey(t *testing.T) {
	t.Parallel()
	key := testKey(1).Public().(ed25519.PublicKey)
	text := publicPEM(t, key)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, text string
		ok         bool
	}{
		{"PEM", text, true},
		{"PEM without a last newline", strings.TrimRight(text, "\n"), true},
		{"base64 of PEM", base64.StdEncoding.EncodeToString([]byte(text)), true},
		{"base64 of PEM with line breaks", "\n" + base64.StdEncoding.EncodeToString([]byte(text)), false},
		{"bare base64 of the DER bytes", strings.Split(text, "\n")[1], false},
		{"bare base64 of the key", base64.StdEncoding.EncodeToString(key), false},
		{"nothing", "", false},
		{"text in front", "key: " + text, false},
		{"two keys", text + text, false},
		{"private key", privatePEM(t, testKey(1)), false},
		{"key of another algorithm", publicPEM(t, other.Public()), false},
		{"with headers", strings.Replace(text, "KEY-----\n", "KEY-----\nA: b\n\n", 1), false},
		{"broken DER", strings.Replace(text, "MCow", "MCox", 1), false},
		{"too long", text + strings.Repeat("\n", MaxKeyText), false},
	} {
		got, err := ParsePublicKey(row.text)
		if (err == nil) != row.ok || row.ok && !key.Equal(got) {
			t.Errorf("%s: error %v", row.name, err)
		}
	}
}

func TestParsePrivateKey(t *testing.T) {
	t.Parallel()
	text := privatePEM(t, testKey(1))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := ParsePrivateKey(text); err != nil || !key.Equal(testKey(1)) {
		t.Errorf("PEM: error %v", err)
	}
	secret := strings.Split(text, "\n")[1]
	for name, bad := range map[string]string{
		"public key": publicPEM(t, testKey(1).Public()), "other algorithm": privatePEM(t, other), "bare DER": secret,
		"cut": text[:len(text)-10], "broken DER": strings.Replace(text, "MC4C", "MC4D", 1), "nothing": "",
	} {
		_, err := ParsePrivateKey(bad)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), secret[20:40]) {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
}

func TestSignatureDomainsDiffer(t *testing.T) {
	t.Parallel()
	key, payload := testKey(1), NewObject(Member{"a", "b"})
	domains := []string{DomainAuthorization, DomainEnvelope, DomainCheckpoint, DomainDelegation}
	for _, made := range domains {
		text := mustSign(t, key, made, payload)
		mac, err := SignHMAC([]byte("secret"), made, payload)
		if err != nil {
			t.Fatal(err)
		}
		for _, checked := range domains {
			if got := verifyEd25519(key.Public().(ed25519.PublicKey), checked, payload, text); got != (made == checked) {
				t.Errorf("Ed25519 of %s as %s: %v", made, checked, got)
			}
			if got := verifyHMAC([]byte("secret"), checked, payload, mac); got != (made == checked) {
				t.Errorf("HMAC of %s as %s: %v", made, checked, got)
			}
		}
	}
}

func TestSignatureFailuresAreNo(t *testing.T) {
	t.Parallel()
	key := testKey(1)
	public := key.Public().(ed25519.PublicKey)
	good, bad := NewObject(Member{"a", "b"}), NewObject(Member{"a", 0.5})
	text := mustSign(t, key, DomainEnvelope, good)
	for name, got := range map[string]bool{
		"no key":                      verifyEd25519(nil, DomainEnvelope, good, text),
		"short key":                   verifyEd25519(public[:31], DomainEnvelope, good, text),
		"no payload":                  verifyEd25519(public, DomainEnvelope, nil, text),
		"payload without form":        verifyEd25519(public, DomainEnvelope, bad, text),
		"no signature":                verifyEd25519(public, DomainEnvelope, good, ""),
		"zero signature":              verifyEd25519(public, DomainEnvelope, good, base64Of(make([]byte, 64))),
		"bare, no key":                verifyBare(nil, good, text),
		"bare, no payload":            verifyBare(public, nil, text),
		"HMAC, no payload":            verifyHMAC([]byte("s"), DomainEnvelope, nil, ""),
		"HMAC, nothing":               verifyHMAC([]byte("s"), DomainEnvelope, good, ""),
		"HMAC, payload without form":  verifyHMAC([]byte("s"), DomainEnvelope, bad, strings.Repeat("0", 64)),
		"signature with a line break": verifyEd25519(public, DomainEnvelope, good, text[:86]+"\n="),
	} {
		if got {
			t.Errorf("%s: verified", name)
		}
	}
	if _, err := SignEd25519(nil, DomainEnvelope, good); err == nil {
		t.Error("signed without a key")
	}
	if _, err := SignEd25519(key, DomainEnvelope, bad); err == nil {
		t.Error("signed a value without canonical form")
	}
	if _, err := SignHMAC(nil, DomainEnvelope, bad); err == nil {
		t.Error("authenticated a value without canonical form")
	}
}

func TestSigningInput(t *testing.T) {
	t.Parallel()
	input, err := appendSigningInput([]byte("<"), DomainAuthorization, NewObject(Member{"b", Int(1)}, Member{"a", "é"}))
	if want := "<OXDEAI_AUTH_V1\n{\"a\":\"é\",\"b\":1}"; err != nil || !bytes.Equal(input, []byte(want)) {
		t.Errorf("got %q, error %v", input, err)
	}
}
