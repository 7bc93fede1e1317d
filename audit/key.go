package audit

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Signature algorithms. Whoever can check an HMAC can forge one, so a log
// that strangers are to verify needs Ed25519.
const (
	AlgEd25519 = "ed25519"
	AlgHMAC    = "hmac-sha256"
)

const (
	sealDomain    = "aegis-receipt-seal-v1"
	hmacKidDomain = "aegis-receipt-hmac-kid-v1\n"
)

// Key checks seals. For HMAC it holds the secret, if it came from a Signer.
type Key struct {
	Alg    string
	ID     string            // 16 hex digits, named kid in lines
	Public ed25519.PublicKey // Ed25519 only
	secret []byte            // HMAC only
}

// Ed25519Key checks the signatures of a public key's owner.
func Ed25519Key(public ed25519.PublicKey) Key {
	return Key{Alg: AlgEd25519, ID: keyID(public), Public: public}
}

func newHMACKey(secret []byte) Key {
	return Key{Alg: AlgHMAC, ID: keyID([]byte(hmacKidDomain), secret), secret: secret}
}

// keyID is the first 8 bytes of a SHA-256, in hex.
func keyID(parts ...[]byte) string {
	sum := sha256.Sum256(bytes.Join(parts, nil))
	return hex.EncodeToString(sum[:8])
}

// sealMessage is what a seal signs: its own place in the chain, and by prev
// every line before it.
func sealMessage(key Key, prev link) []byte {
	msg := strings.Join([]string{
		sealDomain, key.Alg, key.ID, prev.chain, strconv.FormatInt(prev.n+1, 10), prev.hash.String(), "",
	}, "\n")
	return []byte(msg)
}

func (k Key) canVerify() bool { return k.Public != nil || k.secret != nil }

// verify reports whether sig, in hex, seals the chain after prev.
func (k Key) verify(prev link, sig string) bool {
	raw, err := hex.DecodeString(sig)
	if err != nil || hex.EncodeToString(raw) != sig {
		return false
	}
	msg := sealMessage(k, prev)
	if k.Alg == AlgEd25519 {
		return ed25519.Verify(k.Public, msg, raw)
	}
	return hmac.Equal(raw, macOf(k.secret, msg))
}

func macOf(secret, msg []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(msg)
	return mac.Sum(nil)
}

// Keys are the keys that a verifier trusts, by id.
type Keys map[string]Key

// NewKeys trusts the given keys.
func NewKeys(list ...Key) Keys {
	keys := make(Keys, len(list))
	for _, k := range list {
		keys[k.ID] = k
	}
	return keys
}

// keyEntry is a key in a keys file.
type keyEntry struct {
	Alg    string `json:"alg"`
	Kid    string `json:"kid"`
	Public string `json:"public,omitempty"`
}

// Encode writes the keys file: a JSON list, ordered by kid, of what may be
// public. An HMAC key is listed without its secret.
func (ks Keys) Encode() []byte {
	list := slices.SortedFunc(maps.Values(ks), func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
	entries := make([]keyEntry, 0, len(list))
	for _, k := range list {
		entries = append(entries, keyEntry{k.Alg, k.ID, hex.EncodeToString(k.Public)})
	}
	data, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		panic(err) // three strings cannot fail to encode
	}
	return append(data, '\n')
}

// ParseKeys reads a keys file. HMAC keys in it cannot check a seal until the
// Key of their signer replaces them.
func ParseKeys(data []byte) (Keys, error) {
	var entries []keyEntry
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&entries); err != nil {
		return nil, fmt.Errorf("audit: keys file: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("audit: keys file: something follows the list")
	}
	keys := make(Keys, len(entries))
	for i, e := range entries {
		k, err := e.key()
		if err != nil {
			return nil, fmt.Errorf("audit: keys file: key %d: %w", i+1, err)
		}
		if _, twice := keys[k.ID]; twice {
			return nil, fmt.Errorf("audit: keys file: key %d: kid %s is there twice", i+1, k.ID)
		}
		keys[k.ID] = k
	}
	return keys, nil
}

func (e keyEntry) key() (Key, error) {
	switch {
	case e.Alg == AlgHMAC && e.Public == "" && isHex(e.Kid, 8):
		return Key{Alg: AlgHMAC, ID: e.Kid}, nil
	case e.Alg != AlgEd25519 || !isHex(e.Public, ed25519.PublicKeySize):
		return Key{}, fmt.Errorf("want alg %s with kid, or %s with a public key of %d bytes in hex",
			AlgHMAC, AlgEd25519, ed25519.PublicKeySize)
	}
	public, err := hex.DecodeString(e.Public)
	if err != nil {
		return Key{}, err
	}
	k := Ed25519Key(public)
	if k.ID != e.Kid {
		return Key{}, fmt.Errorf("kid %q is not of this public key, which has %s", e.Kid, k.ID)
	}
	return k, nil
}
