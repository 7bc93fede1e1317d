package oxdeai

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// Hash returns the SHA-256 of the canonical bytes of v, as 64 lowercase hex digits. The errors are those of Canonical.
func Hash(v Value) (string, error) {
	buf := buffers.Get().(*[]byte)
	b, err := AppendCanonical((*buf)[:0], v)
	defer giveBack(buf, b)
	if err != nil {
		return "", err
	}
	return hashBytes(b), nil
}

// buffers keeps the scratch space of the hashes.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooledBytes is the largest buffer that is kept, in bytes, so that one huge value does not hold memory for ever.
const maxPooledBytes = 1 << 20

func giveBack(buf *[]byte, b []byte) {
	if cap(b) <= maxPooledBytes {
		*buf = b[:0]
		buffers.Put(buf)
	}
}

// hashBytes returns the SHA-256 of b as 64 lowercase hex digits.
func hashBytes(b []byte) string {
	h := hexDigest(b)
	return string(h[:])
}

// hexSum is a SHA-256 as 64 lowercase hex digits.
type hexSum [2 * sha256.Size]byte

func hexDigest(b []byte) (h hexSum) {
	sum := sha256.Sum256(b)
	hex.Encode(h[:], sum[:])
	return h
}

// macKey makes HMAC-SHA256 values under one secret. It keeps its states, since to build one costs as much as to use it. It
// is safe for concurrent use.
type macKey struct {
	states sync.Pool
}

func newMACKey(secret string) *macKey {
	return &macKey{states: sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(secret)) }}}
}

// hex returns the HMAC of b as 64 lowercase hex digits.
func (k *macKey) hex(b []byte) string {
	mac := k.states.Get().(hash.Hash)
	defer k.states.Put(mac)
	mac.Reset()
	mac.Write(b)
	var sum [sha256.Size]byte
	return hex.EncodeToString(mac.Sum(sum[:0]))
}
