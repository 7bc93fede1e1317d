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
	"strings"
)

const (
	hmacKeyBytes    = 32
	hmacKeyPrefix   = AlgHMAC + ":"
	pemType         = "PRIVATE KEY"
	maxKeyFileBytes = 16 << 10
)

// Signer holds a signing key.
type Signer struct {
	key     Key
	private ed25519.PrivateKey
}

// NewSigner makes a random key for AlgEd25519 or AlgHMAC.
func NewSigner(alg string) (*Signer, error) {
	switch alg {
	case AlgEd25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("audit: make a key: %w", err)
		}
		return newEd25519Signer(private), nil
	case AlgHMAC:
		secret := make([]byte, hmacKeyBytes)
		rand.Read(secret)
		return &Signer{key: newHMACKey(secret)}, nil
	}
	return nil, fmt.Errorf("audit: unknown algorithm %q: want %s or %s", alg, AlgEd25519, AlgHMAC)
}

func newEd25519Signer(private ed25519.PrivateKey) *Signer {
	public := private.Public().(ed25519.PublicKey)
	return &Signer{key: newEd25519Key(public), private: private}
}

// Key is what checks this signer's seals. For HMAC it is as secret as the
// signer itself.
func (s *Signer) Key() Key { return s.key }

// Ed25519 is the private key itself, for other signatures under a domain of
// their own. It is false for HMAC.
func (s *Signer) Ed25519() (ed25519.PrivateKey, bool) { return s.private, s.private != nil }

// seal signs the chain up to prev.
func (s *Signer) seal(prev link) Seal {
	msg := sealMessage(s.key, prev)
	var sig []byte
	if s.key.Alg == AlgEd25519 {
		sig = ed25519.Sign(s.private, msg)
	} else {
		sig = macOf(s.key.secret, msg)
	}
	return Seal{Alg: s.key.Alg, Kid: s.key.ID, Sig: hex.EncodeToString(sig)}
}

// ParseSigner reads a key file: a PKCS #8 PEM block for Ed25519, or for HMAC
// one line "hmac-sha256:" and 32 bytes in hex.
func ParseSigner(file []byte) (*Signer, error) {
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
	return newEd25519Signer(private), nil
}

func parseHMAC(digits string) (*Signer, error) {
	if !isHex(digits, hmacKeyBytes) {
		return nil, fmt.Errorf("audit: key file: want %d bytes in lowercase hex after %s", hmacKeyBytes, hmacKeyPrefix)
	}
	secret, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("audit: key file: %w", err)
	}
	return &Signer{key: newHMACKey(secret)}, nil
}

// LoadSigner reads a key file that Save wrote. It refuses one that everybody
// on the machine can read or write.
func LoadSigner(path string) (*Signer, error) {
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

// Save writes the key to a new file that only its owner can read. It refuses
// to replace a file.
func (s *Signer) Save(path string) error {
	data, err := s.encode()
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

func (s *Signer) encode() ([]byte, error) {
	if s.key.Alg == AlgHMAC {
		return []byte(hmacKeyPrefix + hex.EncodeToString(s.key.secret) + "\n"), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(s.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}
