package audit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

// keyService signs elsewhere, as long as it can be reached.
type keyService struct {
	private ed25519.PrivateKey
	down    error
}

func (s *keyService) Key() audit.Key { return audit.Ed25519Key(s.private.Public().(ed25519.PublicKey)) }

func (s *keyService) Sign(message []byte) ([]byte, error) {
	if s.down != nil {
		return nil, s.down
	}
	return ed25519.Sign(s.private, message), nil
}

// TestEverySignerSealsALog: whatever signs, the log verifies with its key and
// with no other.
func TestEverySignerSealsALog(t *testing.T) {
	seed := make([]byte, ed25519.SeedSize)
	for name, s := range map[string]audit.Signer{
		"Ed25519":       audit.NewEd25519Signer(ed25519.NewKeyFromSeed(seed)),
		"HMAC":          audit.NewHMACSigner(seed),
		"a key service": &keyService{private: ed25519.NewKeyFromSeed(seed)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			log := open(t, audit.Config{Dir: dir, Signer: s})
			if _, err := log.Append(context.Background(), decision(1)); err != nil {
				t.Fatal(err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			other := signer(t, otherEd25519Key)
			if r := checkedBy(t, dir, s.Key()); !r.OK() || r.Chains[0].Sealed != 1 {
				t.Errorf("with its key: %v", r.Findings)
			}
			if r := checkedBy(t, dir, other.Key()); r.OK() {
				t.Error("another key verifies it too")
			}
		})
	}
}

// checkedBy verifies a directory with one key alone.
func checkedBy(t *testing.T, dir string, key audit.Key) audit.Report {
	t.Helper()
	sources, err := audit.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(t.Context(), sources, audit.VerifyOptions{Keys: audit.NewKeys(key)})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestSignerThatFails: nothing is written without a seal, and the log goes on
// once the signer does.
func TestSignerThatFails(t *testing.T) {
	s := &keyService{private: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	dir := t.TempDir()
	log := open(t, audit.Config{Dir: dir, Signer: s})
	s.down = errors.New("not reached")
	if _, err := log.Append(context.Background(), decision(1)); !errors.Is(err, audit.ErrUnavailable) || !errors.Is(err, s.down) {
		t.Errorf("got %v", err)
	}
	s.down = nil
	if _, err := log.Append(context.Background(), decision(1)); err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if r := checkedBy(t, dir, s.Key()); !r.OK() || r.Chains[0].Receipts != 1 {
		t.Errorf("%d receipts, findings %v", r.Chains[0].Receipts, r.Findings)
	}
}
