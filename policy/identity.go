package policy

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"iter"
	"log/slog"
	"strings"
)

// secretPrefix marks a tenant's API key, so that scanners for leaked keys can
// know one.
const secretPrefix = "aegis-"

// NewSecret returns a new API key of 256 random bits for a tenant, and the
// SHA-256 that the policy keeps in its stead.
func NewSecret() (secret string, hash [32]byte) {
	var bits [32]byte
	rand.Read(bits[:]) // never fails
	secret = secretPrefix + hex.EncodeToString(bits[:])
	return secret, sha256.Sum256([]byte(secret))
}

// Identify returns the key that a caller's secret belongs to. How long it
// takes says nothing about the secrets of others: what is compared is a hash,
// which a caller cannot steer.
func (p *Policy) Identify(secret string) (*Key, bool) {
	var room [128]byte // a secret of usual length is hashed without a copy on the heap
	sum := sha256.Sum256(append(room[:0], secret...))
	k, ok := p.byKey[sum]
	if !ok || subtle.ConstantTimeCompare(k.Hash[:], sum[:]) != 1 {
		return nil, false
	}
	return k, true
}

// secretBytes is how long a key is that NewSecret makes.
const secretBytes = len(secretPrefix) + 2*sha256.Size

// SecretsIn yields whatever in a text looks like a tenant's API key, by NewSecret: also one
// that the policy has no more.
func SecretsIn(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			at := strings.Index(text, secretPrefix)
			if at < 0 || len(text) < at+secretBytes {
				return
			}
			text = text[at:]
			if _, err := hex.DecodeString(text[len(secretPrefix):secretBytes]); err == nil && !yield(text[:secretBytes]) {
				return
			}
			text = text[len(secretPrefix):]
		}
	}
}

// KeyOf returns the tenant's key of that id, or nil. For "" it is one without an
// id, that stands for the tenant itself: no limit or switch of a key concerns it.
func (t *Tenant) KeyOf(id string) *Key {
	if id == "" {
		return &Key{Tenant: t}
	}
	for _, k := range t.Keys {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// String returns the key's id: its hash stays out of logs.
func (k Key) String() string { return k.ID }

// GoString returns the key's id.
func (k Key) GoString() string { return k.ID }

// LogValue returns the key's id and tenant.
func (k Key) LogValue() slog.Value {
	tenant := ""
	if k.Tenant != nil {
		tenant = k.Tenant.Name
	}
	return slog.GroupValue(slog.String("id", k.ID), slog.String("tenant", tenant))
}
