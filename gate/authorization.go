package gate

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/oxdeai"
)

const (
	// AuthorizationSeconds is how long an authorization may be used after its
	// decision: what the protocol gives one by default.
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

// Authorize makes the authorization that follows from an allowing decision,
// for one audience. Its id is the receipt's.
func (a *Authority) Authorize(receipt string, d audit.Decision, audience string) (*oxdeai.Object, error) {
	intent, err := oxdeai.NewIntent(intentOf(d))
	if err != nil {
		return nil, err
	}
	hash, err := intent.Hash()
	if err != nil {
		return nil, err
	}
	issued := d.At / 1000
	auth := oxdeai.NewObject(
		oxdeai.Member{Name: "version", Value: "AuthorizationV1"},
		oxdeai.Member{Name: "auth_id", Value: receipt},
		oxdeai.Member{Name: "issuer", Value: a.issuer},
		oxdeai.Member{Name: "audience", Value: audience},
		oxdeai.Member{Name: "intent_hash", Value: hash},
		oxdeai.Member{Name: "state_hash", Value: audit.ObservedHash(d).String()},
		oxdeai.Member{Name: "policy_id", Value: d.Policy},
		oxdeai.Member{Name: "decision", Value: "ALLOW"},
		oxdeai.Member{Name: "issued_at", Value: oxdeai.Int(issued)},
		oxdeai.Member{Name: "expiry", Value: oxdeai.Int(issued + AuthorizationSeconds)},
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

// intentOf is the action that a decision is about, as the protocol's intent:
// the purchase, by a key of a tenant, of one model's answer at one upstream, for
// the hold at most. It is known by its lease.
func intentOf(d audit.Decision) *oxdeai.Object {
	return oxdeai.NewObject(
		oxdeai.Member{Name: "intent_id", Value: d.Lease},
		oxdeai.Member{Name: "agent_id", Value: d.Facts.Tenant + "/" + d.Facts.Key},
		oxdeai.Member{Name: "action_type", Value: "PURCHASE"},
		oxdeai.Member{Name: "type", Value: oxdeai.TypeExecute},
		oxdeai.Member{Name: "amount", Value: big.NewInt(d.Cost)},
		oxdeai.Member{Name: "asset", Value: "nano-USD"},
		oxdeai.Member{Name: "target", Value: d.Facts.Upstream + "/" + d.Facts.Model},
		oxdeai.Member{Name: "timestamp", Value: oxdeai.Int(d.At / 1000)},
		oxdeai.Member{Name: "metadata_hash", Value: audit.FactsHash(d).String()},
		oxdeai.Member{Name: "nonce", Value: big.NewInt(d.Event)},
	)
}

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
	if gr.gate.authority == nil {
		return nil, fmt.Errorf("authorizations: %w", audit.ErrSecretKey)
	}
	auth, err := gr.gate.authority.Authorize(gr.Receipt, gr.decision, gr.quote.Upstream.Name)
	if err != nil {
		return nil, err
	}
	return oxdeai.Canonical(auth)
}
