package oxdeai

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Signature algorithms as they stand in artifacts.
const (
	AlgEd25519 = "Ed25519"
	AlgHMAC    = "HMAC-SHA256"
)

// Domains separate the signatures of the artifacts: one that is made for a kind does not verify as another kind.
const (
	DomainAuthorization = "OXDEAI_AUTH_V1"
	DomainEnvelope      = "OXDEAI_ENVELOPE_V1"
	DomainCheckpoint    = "OXDEAI_CHECKPOINT_V1" // reserved by the protocol, in use nowhere
	DomainDelegation    = "OXDEAI_DELEGATION_V1"
)

// MaxKeyText bounds the text of one key, in bytes. An Ed25519 key in PEM has about 120.
const MaxKeyText = 4096

// signatureText is the length of a base64 Ed25519 signature, in bytes: 64 raw bytes, padded.
const signatureText = 88

var errKeyText = errors.New("key text is not one PEM block of an Ed25519 key: give SPKI (public) or PKCS#8 (private) PEM")

// ParsePublicKey reads an Ed25519 public key: SPKI PEM, or the base64 of such PEM. It accepts at most MaxKeyText bytes, and
// nothing before or after the one block.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	der, err := pemBlock(text, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errKeyText
	}
	return key, nil
}

// ParsePrivateKey reads an Ed25519 private key: PKCS#8 PEM, or the base64 of such PEM. Bounds are those of ParsePublicKey.
// Errors never quote the text.
func ParsePrivateKey(text string) (ed25519.PrivateKey, error) {
	der, err := pemBlock(text, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errKeyText
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errKeyText
	}
	return key, nil
}

// pemBlock gives the bytes of the only PEM block in text. A text without BEGIN is taken as base64 of PEM.
func pemBlock(text, label string) ([]byte, error) {
	if len(text) > MaxKeyText {
		return nil, fmt.Errorf("key text has %d bytes, over the limit of %d", len(text), MaxKeyText)
	}
	if !isPEM(text) {
		raw, err := decodeBase64(text)
		if err != nil {
			return nil, errKeyText
		}
		text = string(raw)
	}
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "-----BEGIN ") {
		return nil, errKeyText
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(rest) != 0 || block.Type != label || len(block.Headers) != 0 {
		return nil, errKeyText
	}
	return block.Bytes, nil
}

func isPEM(text string) bool { return strings.Contains(text, "BEGIN") }

// decodeBase64 takes the standard alphabet with padding and nothing else: no line breaks, no spare bits. So a text has one
// spelling only, and no byte of a signed text can change without changing what it means.
func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, base64.CorruptInputError(strings.IndexAny(text, "\r\n"))
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// SignEd25519 signs the domain, a newline and the canonical bytes of payload. It gives padded standard base64. The error is that
// of canonical JSON, or says that the key is not one.
func SignEd25519(key ed25519.PrivateKey, domain string, payload Value) (string, error) {
	if len(key) != ed25519.PrivateKeySize {
		return "", errKeyText
	}
	input, err := appendSigningInput(nil, domain, payload)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, input)), nil
}

// SignHMAC gives the lowercase hex HMAC-SHA256 of the domain, a newline and the canonical bytes of payload.
func SignHMAC(secret []byte, domain string, payload Value) (string, error) {
	input, err := appendSigningInput(nil, domain, payload)
	if err != nil {
		return "", err
	}
	return newMACKey(string(secret)).hex(input), nil
}

func appendSigningInput(dst []byte, domain string, payload Value) ([]byte, error) {
	dst = append(dst, domain...)
	dst = append(dst, '\n')
	return AppendCanonical(dst, payload)
}

// decodeSignature reads a base64 Ed25519 signature, or says that there is none.
func decodeSignature(dst *[ed25519.SignatureSize]byte, text string) bool {
	if len(text) != signatureText || strings.ContainsAny(text, "\r\n") {
		return false
	}
	var raw [base64Room]byte
	n, err := base64.StdEncoding.Strict().Decode(raw[:], []byte(text))
	if err != nil || n != ed25519.SignatureSize {
		return false
	}
	copy(dst[:], raw[:n])
	return true
}

// base64Room is what the decoder may write for signatureText characters, in bytes.
const base64Room = signatureText / 4 * 3

// verifyEd25519 says whether signature is one over the domain form of payload. Every failure is a no.
func verifyEd25519(key ed25519.PublicKey, domain string, payload *Object, signature string) bool {
	return verifyPrefixed(key, domain+"\n", payload, signature)
}

// verifyHMAC compares in constant time. Only lowercase hex verifies, so that a signature has one spelling.
func verifyHMAC(secret []byte, domain string, payload *Object, signature string) bool {
	expected, err := SignHMAC(secret, domain, payload)
	return err == nil && hmac.Equal([]byte(signature), []byte(expected))
}

// verifyBare is verifyEd25519 for a signature over the canonical bytes alone.
func verifyBare(key ed25519.PublicKey, payload *Object, signature string) bool {
	return verifyPrefixed(key, "", payload, signature)
}

func verifyPrefixed(key ed25519.PublicKey, prefix string, payload *Object, signature string) bool {
	var sig [ed25519.SignatureSize]byte
	if len(key) != ed25519.PublicKeySize || !decodeSignature(&sig, signature) {
		return false
	}
	buf := buffers.Get().(*[]byte)
	input, err := AppendCanonical(append((*buf)[:0], prefix...), payload)
	ok := err == nil && ed25519.Verify(key, input, sig[:])
	giveBack(buf, input)
	return ok
}
