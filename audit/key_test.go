package audit_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

func TestSignerSaveAndLoad(t *testing.T) {
	for _, alg := range []string{audit.AlgEd25519, audit.AlgHMAC} {
		t.Run(alg, func(t *testing.T) {
			made, err := audit.NewSigner(alg)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "key")
			if err := audit.SaveSigner(path, made); err != nil {
				t.Fatal(err)
			}
			loaded, err := audit.LoadSigner(path)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(loaded, made) {
				t.Error("the key came back as another")
			}
			if err := audit.SaveSigner(path, made); !os.IsExist(unwrapAll(err)) {
				t.Errorf("got %v: a key file must not be replaced", err)
			}
			for _, mode := range []os.FileMode{0o604, 0o602} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
				if _, err := audit.LoadSigner(path); err == nil || !strings.Contains(err.Error(), "chmod") {
					t.Errorf("mode %v: got %v, want a refusal", mode, err)
				}
			}
		})
	}
	if _, err := audit.NewSigner("rsa"); err == nil {
		t.Error("made a key for an unknown algorithm")
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		if _, isPath := err.(*os.PathError); isPath {
			return err
		}
		err = u.Unwrap()
	}
}

func TestKeyIDs(t *testing.T) {
	for text, want := range map[string]string{
		testHMACKey: "a9df0acc5779a82c", otherEd25519Key: "24f6ed6acbfe1009",
	} {
		if got := signer(t, text).Key().ID; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestParseSignerRefuses(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	p256 := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for name, row := range map[string]struct{ file, want string }{
		"empty":         {"", "want one PKCS #8"},
		"HMAC short":    {"hmac-sha256:00ff\n", "32 bytes"},
		"HMAC not hex":  {strings.ToUpper(testHMACKey[:12]) + testHMACKey[12:], "want one PKCS #8"},
		"HMAC trailing": {testHMACKey + "\n", "32 bytes"},
		"two PEM keys":  {testEd25519Key + otherEd25519Key, "want one PKCS #8"},
		"another type":  {strings.ReplaceAll(testEd25519Key, "PRIVATE", "EC PRIVATE"), "want one PKCS #8"},
		"another curve": {p256, "want Ed25519"},
		"PEM, not a key": {
			strings.Replace(testEd25519Key, "MC4C", "AAAA", 1), "asn1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := audit.ParseSigner([]byte(row.file)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestKeysFileRoundTrip(t *testing.T) {
	keys := audit.NewKeys(signer(t, testEd25519Key).Key(), signer(t, otherEd25519Key).Key())
	got, err := audit.ParseKeys(keys.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, keys) {
		t.Errorf("got %v, want %v", got, keys)
	}
}

func TestKeysFileKeepsSecrets(t *testing.T) {
	file := string(audit.NewKeys(signer(t, testHMACKey).Key()).Encode())
	if strings.Contains(file, "0001020304") {
		t.Errorf("the HMAC secret is in the keys file:\n%s", file)
	}
}

func TestParseKeysRefuses(t *testing.T) {
	good := string(audit.NewKeys(signer(t, testEd25519Key).Key()).Encode())
	entry := strings.Trim(good, "[]\n")
	for name, file := range map[string]string{
		"not JSON":      "x",
		"no list":       "{}",
		"unknown field": strings.Replace(good, `"alg"`, `"use": "", "alg"`, 1),
		"unknown alg":   strings.Replace(good, "ed25519", "rsa", 1),
		"another's kid": strings.Replace(good, `"kid": "`, `"kid": "0`, 1),
		"short key":     strings.Replace(good, `"public": "0`, `"public": "`, 1),
		"key twice":     "[" + entry + "," + entry + "]",
		"more follows":  good + good,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := audit.ParseKeys([]byte(file)); err == nil {
				t.Errorf("accepted:\n%s", file)
			}
		})
	}
}

// FuzzParseSigner: whatever parses is a key that signs what it can check.
func FuzzParseSigner(f *testing.F) {
	f.Add([]byte(testHMACKey))
	f.Add([]byte(testEd25519Key))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := audit.ParseSigner(file)
		if err != nil {
			return
		}
		chain := audit.NewChain(1).Add(startLine(s)).Seal(s)
		report, err := audit.Verify(t.Context(),
			[]audit.Source{audit.Stream("log", strings.NewReader(strings.Join(chain.Lines, "\n")+"\n"))},
			audit.VerifyOptions{Keys: audit.NewKeys(s.Key())})
		if err != nil || !report.OK() {
			t.Errorf("%v %v", err, report.Findings)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add(audit.NewKeys(signer(f, testEd25519Key).Key(), signer(f, testHMACKey).Key()).Encode())
	f.Fuzz(func(t *testing.T, file []byte) {
		keys, err := audit.ParseKeys(file)
		if err != nil {
			return
		}
		again, err := audit.ParseKeys(keys.Encode())
		if err != nil || !reflect.DeepEqual(again, keys) {
			t.Errorf("%v: got %v, want %v", err, again, keys)
		}
	})
}
