package gate

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

const (
	// AuthorizationSeconds is how long the authorization of a call may be used
	// after its decision: what the protocol gives one by default.
	AuthorizationSeconds = oxdeai.DefaultTTLSeconds

	// keySetVersion is the version of the published key set's format.
	keySetVersion = "1"
)

// Authority makes authorizations: AuthorizationV1 of the OxDeAI protocol, for
// whoever executes what a decision has allowed. Each follows from the receipt
// of its decision, so that anybody with the receipt can make the same but for
// the signature; docs/decision.md says how.
type Authority struct {
	issuer  string
	kid     string
	private ed25519.PrivateKey
	retired []audit.Key // no longer sign, and are published for what they signed
}

// NewAuthority signs with the key that seals receipts, of an Ed25519Signer. It
// fails with audit.ErrSecretKey for an HMAC key, which strangers could not check.
func NewAuthority(issuer string, signer audit.Signer, retired ...audit.Key) (*Authority, error) {
	own, ok := signer.(*audit.Ed25519Signer)
	if !ok {
		return nil, fmt.Errorf("authorizations: %w", audit.ErrSecretKey)
	}
	return &Authority{issuer: issuer, kid: signer.Key().ID, private: own.Private(), retired: retired}, nil
}

// ErrNoLeave: a decision that allows nothing new has no authorization.
var ErrNoLeave = errors.New("a denial or an extension has no authorization")

// Authorize makes the authorization that follows from an allowing decision and
// its receipt's id. The same receipt and key give the same bytes whenever that
// is, so nothing is signed before somebody asks. It fails with ErrNoLeave.
func (a *Authority) Authorize(receipt string, d audit.Decision) (*oxdeai.Object, error) {
	if d.Verdict != audit.Allow || extends(d) {
		return nil, ErrNoLeave
	}
	hash, err := intentHash(d)
	if err != nil {
		return nil, err
	}
	auth := oxdeai.NewObject(
		oxdeai.Member{Name: "version", Value: "AuthorizationV1"},
		oxdeai.Member{Name: "auth_id", Value: authID(receipt, d)},
		oxdeai.Member{Name: "issuer", Value: a.issuer},
		oxdeai.Member{Name: "audience", Value: audienceOf(d)},
		oxdeai.Member{Name: "intent_hash", Value: hash},
		oxdeai.Member{Name: "state_hash", Value: audit.ObservedHash(d).String()},
		oxdeai.Member{Name: "policy_id", Value: d.Policy},
		oxdeai.Member{Name: "decision", Value: "ALLOW"},
		oxdeai.Member{Name: "issued_at", Value: oxdeai.Int(d.At / 1000)},
		oxdeai.Member{Name: "expiry", Value: oxdeai.Int(expiryOf(d))},
		oxdeai.Member{Name: "alg", Value: oxdeai.AlgEd25519},
		oxdeai.Member{Name: "kid", Value: a.kid},
	)
	signature, err := oxdeai.SignEd25519(a.private, oxdeai.DomainAuthorization, auth)
	if err != nil {
		return nil, err
	}
	auth.Members = append(auth.Members, oxdeai.Member{Name: "signature", Value: signature})
	return auth, nil
}

// Envelope signs a verification envelope and returns its canonical JSON.
func (a *Authority) Envelope(e oxdeai.Envelope) ([]byte, error) {
	signed, err := oxdeai.SignEnvelope(e, a.private, a.issuer, a.kid)
	if err != nil {
		return nil, err
	}
	return oxdeai.AppendEnvelope(nil, &signed)
}

// KeyID is the id of the key that signs.
func (a *Authority) KeyID() string { return a.kid }

// KeySet is the document by which strangers check authorizations: the
// protocol's key set, in canonical JSON.
func (a *Authority) KeySet() ([]byte, error) {
	keys := []oxdeai.Value{}
	public := a.private.Public().(ed25519.PublicKey)
	first, err := keyOf(a.kid, public, oxdeai.KeyActive)
	if err != nil {
		return nil, err
	}
	keys = append(keys, first)
	for _, k := range a.retired {
		if k.Alg != audit.AlgEd25519 {
			continue
		}
		old, err := keyOf(k.ID, k.Public, oxdeai.KeyRetired)
		if err != nil {
			return nil, err
		}
		keys = append(keys, old)
	}
	return oxdeai.Canonical(oxdeai.NewObject(
		oxdeai.Member{Name: "issuer", Value: a.issuer},
		oxdeai.Member{Name: "version", Value: keySetVersion},
		oxdeai.Member{Name: "keys", Value: keys},
	))
}

func keyOf(kid string, public ed25519.PublicKey, status oxdeai.KeyStatus) (*oxdeai.Object, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return oxdeai.NewObject(
		oxdeai.Member{Name: "kid", Value: kid},
		oxdeai.Member{Name: "alg", Value: oxdeai.AlgEd25519},
		oxdeai.Member{Name: "public_key", Value: string(text)},
		oxdeai.Member{Name: "status", Value: string(status)},
	), nil
}

// Authorization is the grant's authorization for its upstream, in canonical
// JSON. It fails where the gate has no Authority.
func (gr *Grant) Authorization() ([]byte, error) {
	return gr.gate.authorization(gr.Receipt, *gr.decision)
}

func (g *Gate) authorization(receipt string, d audit.Decision) ([]byte, error) {
	if g.authority == nil {
		return nil, fmt.Errorf("authorizations: %w", audit.ErrSecretKey)
	}
	auth, err := g.authority.Authorize(receipt, d)
	if err != nil {
		return nil, err
	}
	return oxdeai.Canonical(auth)
}
