package oxdeai

import (
	"crypto/ed25519"
	"errors"
	"fmt"
)

// KeyStatus is the life state of a key in a key set.
type KeyStatus string

// The states of the protocol. The empty one means active.
const (
	KeyActive  KeyStatus = "active"
	KeyRetired KeyStatus = "retired" // signs no more; see Trust.AcceptRetired
	KeyRevoked KeyStatus = "revoked" // never verifies
)

// Limits of key sets.
const (
	MaxKeySets     = 64      // key sets in one document
	MaxKeysPerSet  = 256     // keys in one set
	MaxKeySetBytes = 1 << 20 // bytes of one document (1 MiB)
)

// Key is one verification key of an issuer.
type Key struct {
	KID       string
	Alg       string // AlgEd25519 or AlgHMAC; only the first is ever used to verify
	PublicKey string // PEM text, or base64 of PEM text; at most MaxKeyText bytes
	Status    KeyStatus
	NotBefore *int64 // Unix seconds, inclusive; nil is no bound
	NotAfter  *int64 // Unix seconds, inclusive; nil is no bound

	parsed     ed25519.PublicKey // set by ParseKeySets, saves reading the text for every verification
	parsedText string            // the text that parsed comes from
}

// KeySet holds the keys of one issuer.
type KeySet struct {
	Issuer  string
	Version string
	Keys    []Key
}

// Trust is what a verifier believes. The zero value trusts nobody.
type Trust struct {
	// KeySets are searched by issuer, byte by byte. Only the first set of an issuer counts, so a later set adds no key to it.
	KeySets []KeySet
	// AcceptRetired lets retired keys verify, as peers of the protocol do. Without it only active keys verify.
	AcceptRetired bool
}

// given says whether there is any key set at all.
func (t Trust) given() bool { return len(t.KeySets) > 0 }

// find gives the first Ed25519 key with this id in the first set of the issuer, or nil.
func (t Trust) find(issuer, kid string) *Key {
	for i := range t.KeySets {
		if t.KeySets[i].Issuer == issuer {
			return t.KeySets[i].find(kid)
		}
	}
	return nil
}

func (s *KeySet) find(kid string) *Key {
	for i := range s.Keys {
		if s.Keys[i].KID == kid && s.Keys[i].Alg == AlgEd25519 {
			return &s.Keys[i]
		}
	}
	return nil
}

// active says whether the key may verify at now, in Unix seconds. An unknown status is not active.
func (k *Key) active(now int64, acceptRetired bool) bool {
	switch k.Status {
	case "", KeyActive:
	case KeyRetired:
		if !acceptRetired {
			return false
		}
	default:
		return false
	}
	return (k.NotBefore == nil || now >= *k.NotBefore) && (k.NotAfter == nil || now <= *k.NotAfter)
}

// public gives the key itself, or nil if the text holds none.
func (k *Key) public() ed25519.PublicKey {
	if k.parsed != nil && k.parsedText == k.PublicKey {
		return k.parsed
	}
	key, err := ParsePublicKey(k.PublicKey)
	if err != nil {
		return nil
	}
	return key
}

// ParseKeySets reads the JSON of one key set or of a list of them. It refuses more than the limits above, members that it does
// not know, two sets of one issuer, two keys with the same kid and alg, and an Ed25519 key whose text holds none. The error
// names the place.
func ParseKeySets(data []byte) ([]KeySet, error) {
	if len(data) > MaxKeySetBytes {
		return nil, fmt.Errorf("key sets have %d bytes, over the limit of %d", len(data), MaxKeySetBytes)
	}
	v, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read key sets: %w", err)
	}
	list, ok := v.([]Value)
	if !ok {
		list = []Value{v}
	}
	if len(list) == 0 || len(list) > MaxKeySets {
		return nil, fmt.Errorf("%d key sets: there must be 1 to %d", len(list), MaxKeySets)
	}
	sets := make([]KeySet, len(list))
	seen := map[string]bool{}
	for i, v := range list {
		if sets[i], err = keySetOf(v); err != nil {
			return nil, fmt.Errorf("key set %d: %w", i, err)
		}
		if seen[sets[i].Issuer] {
			return nil, fmt.Errorf("key set %d: the issuer has a set already: put all its keys there", i)
		}
		seen[sets[i].Issuer] = true
	}
	return sets, nil
}

func keySetOf(v Value) (KeySet, error) {
	o, ok := v.(*Object)
	if !ok {
		return KeySet{}, errors.New("must be an object")
	}
	var set KeySet
	var keys []Value
	for _, m := range o.Members {
		switch m.Name {
		case "issuer":
			set.Issuer, ok = textField(m.Value)
		case "version":
			set.Version, ok = m.Value.(string)
		case "keys":
			keys, ok = m.Value.([]Value)
		default:
			return KeySet{}, fmt.Errorf("unknown member %q", m.Name)
		}
		if !ok {
			return KeySet{}, fmt.Errorf("member %q has the wrong type", m.Name)
		}
	}
	if set.Issuer == "" || len(keys) == 0 {
		return KeySet{}, errors.New("needs an issuer and at least one key")
	}
	var err error
	set.Keys, err = keysOf(keys)
	return set, err
}

func keysOf(list []Value) ([]Key, error) {
	if len(list) > MaxKeysPerSet {
		return nil, fmt.Errorf("%d keys, over the limit of %d", len(list), MaxKeysPerSet)
	}
	keys := make([]Key, len(list))
	seen := map[[2]string]bool{}
	for i, v := range list {
		var err error
		if keys[i], err = keyOf(v); err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		name := [2]string{keys[i].KID, keys[i].Alg}
		if seen[name] {
			return nil, fmt.Errorf("key %d: a key with this kid and alg exists already", i)
		}
		seen[name] = true
	}
	return keys, nil
}

func keyOf(v Value) (Key, error) {
	o, ok := v.(*Object)
	if !ok {
		return Key{}, errors.New("must be an object")
	}
	var k Key
	for _, m := range o.Members {
		if err := k.set(m); err != nil {
			return Key{}, err
		}
	}
	if k.KID == "" || k.PublicKey == "" {
		return Key{}, errors.New("needs kid, alg and public_key")
	}
	switch k.Alg {
	case AlgHMAC:
		return k, nil
	case AlgEd25519:
		var err error
		k.parsed, err = ParsePublicKey(k.PublicKey)
		k.parsedText = k.PublicKey
		return k, err
	}
	return Key{}, fmt.Errorf("alg must be %s or %s", AlgEd25519, AlgHMAC)
}

func (k *Key) set(m Member) error {
	ok := true
	switch m.Name {
	case "kid":
		k.KID, ok = textField(m.Value)
	case "alg":
		k.Alg, ok = textField(m.Value)
	case "public_key":
		k.PublicKey, ok = textField(m.Value)
	case "status":
		var s string
		s, ok = m.Value.(string)
		k.Status = KeyStatus(s)
		ok = ok && (k.Status == KeyActive || k.Status == KeyRetired || k.Status == KeyRevoked)
	case "not_before":
		k.NotBefore, ok = secondsOf(m.Value)
	case "not_after":
		k.NotAfter, ok = secondsOf(m.Value)
	default:
		return fmt.Errorf("unknown member %q", m.Name)
	}
	if !ok {
		return fmt.Errorf("member %q has a wrong value", m.Name)
	}
	return nil
}

func secondsOf(v Value) (*int64, bool) {
	n, ok := SafeInt(v)
	return &n, ok
}
