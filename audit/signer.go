package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	hmacKeyBytes    = 32
	hmacKeyPrefix   = AlgHMAC + ":"
	pemType         = "PRIVATE KEY"
	maxKeyFileBytes = 16 << 10
)

// Signer signs what a log writes. Ed25519Signer and HMACSigner hold their key
// themselves; one of your own may ask a key service, and waits for it once for
// each batch. Its methods may be called at once.
type Signer interface {
	// Key is what checks the signatures. It never changes.
	Key() Key

	// Sign signs a message as the key's algorithm says: plain Ed25519 of the
	// whole message, or its HMAC-SHA256. What fails is not written.
	Sign(message []byte) ([]byte, error)
}

// Ed25519Signer is a Signer whose signatures anybody with the public key can
// check.
type Ed25519Signer struct{ private ed25519.PrivateKey }

// NewEd25519Signer signs with a private key.
func NewEd25519Signer(private ed25519.PrivateKey) *Ed25519Signer { return &Ed25519Signer{private} }

// Key is the public key.
func (s *Ed25519Signer) Key() Key { return Ed25519Key(s.private.Public().(ed25519.PublicKey)) }

// Sign never fails.
func (s *Ed25519Signer) Sign(message []byte) ([]byte, error) {
	return ed25519.Sign(s.private, message), nil
}

// Private is the key itself, for other signatures under a domain of their own.
func (s *Ed25519Signer) Private() ed25519.PrivateKey { return s.private }

// HMACSigner is a Signer whose signatures only who knows its secret can check,
// and so could also forge.
type HMACSigner struct{ secret []byte }

// NewHMACSigner signs with a secret, which should be 32 random bytes.
func NewHMACSigner(secret []byte) *HMACSigner { return &HMACSigner{slices.Clone(secret)} }

// Key is as secret as the signer itself.
func (s *HMACSigner) Key() Key { return newHMACKey(s.secret) }

// Sign never fails.
func (s *HMACSigner) Sign(message []byte) ([]byte, error) { return macOf(s.secret, message), nil }

// NewSigner makes a random key for AlgEd25519 or AlgHMAC.
func NewSigner(alg string) (Signer, error) {
	switch alg {
	case AlgEd25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("audit: make a key: %w", err)
		}
		return NewEd25519Signer(private), nil
	case AlgHMAC:
		secret := make([]byte, hmacKeyBytes)
		rand.Read(secret)
		return NewHMACSigner(secret), nil
	}
	return nil, fmt.Errorf("audit: unknown algorithm %q: want %s or %s", alg, AlgEd25519, AlgHMAC)
}

// sealer is a signer with its key, which is asked for once.
type sealer struct {
	signer Signer
	key    Key
}

func newSealer(s Signer) sealer { return sealer{s, s.Key()} }

// seal signs the chain up to prev.
func (s sealer) seal(prev link) (Seal, error) {
	sig, err := s.signer.Sign(sealMessage(s.key, prev))
	if err != nil {
		return Seal{}, fmt.Errorf("%w: sign: %w", ErrUnavailable, err)
	}
	return Seal{Alg: s.key.Alg, Kid: s.key.ID, Sig: hex.EncodeToString(sig)}, nil
}

// ParseSigner reads a key file: a PKCS #8 PEM block for Ed25519, or for HMAC
// one line "hmac-sha256:" and 32 bytes in hex.
func ParseSigner(file []byte) (Signer, error) {
	if digits, ok := strings.CutPrefix(string(file), hmacKeyPrefix); ok {
		return parseHMAC(strings.TrimSuffix(digits, "\n"))
	}
	block, rest := pem.Decode(file)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("audit: key file: want one PKCS #8 PEM block or a line " + hmacKeyPrefix + "<hex>")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("audit: key file: %w", err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("audit: key file: holds a %T, want Ed25519", parsed)
	}
	return NewEd25519Signer(private), nil
}

func parseHMAC(digits string) (Signer, error) {
	if !isHex(digits, hmacKeyBytes) {
		return nil, fmt.Errorf("audit: key file: want %d bytes in lowercase hex after %s", hmacKeyBytes, hmacKeyPrefix)
	}
	secret, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("audit: key file: %w", err)
	}
	return NewHMACSigner(secret), nil
}

// LoadSigner reads a key file that SaveSigner wrote. It refuses one that everybody
// on the machine can read or write.
func LoadSigner(path string) (Signer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("audit: signing key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("audit: signing key: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("audit: signing key %s: mode %v lets everybody use it: chmod 600 it", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFileBytes))
	if err != nil {
		return nil, fmt.Errorf("audit: signing key: %w", err)
	}
	s, err := ParseSigner(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// SaveSigner writes the key of an Ed25519Signer or HMACSigner to a new file that
// only its owner can read. It refuses to replace a file.
func SaveSigner(path string, s Signer) error {
	data, err := encodeSigner(s)
	if err != nil {
		return fmt.Errorf("audit: signing key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("audit: signing key: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("audit: signing key %s: %w", path, err)
	}
	return nil
}

func encodeSigner(s Signer) ([]byte, error) {
	switch s := s.(type) {
	case *HMACSigner:
		return []byte(hmacKeyPrefix + hex.EncodeToString(s.secret) + "\n"), nil
	case *Ed25519Signer:
		der, err := x509.MarshalPKCS8PrivateKey(s.private)
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
	}
	return nil, fmt.Errorf("a %T holds no key that can be written", s)
}
