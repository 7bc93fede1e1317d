package oxdeai

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
)

// Scope bounds what a delegatee may do. A nil field sets no bound.
type Scope struct {
	Tools      []string // names; an empty list that is not nil allows no tool
	MaxAmount  *big.Int // in the unit of the intent's amount
	MaxActions *int64   // number of actions
	MaxDepth   *int64   // levels of recursion
}

// Object gives the scope as it travels.
func (s Scope) Object() *Object {
	o := &Object{}
	if s.MaxActions != nil {
		o.Members = append(o.Members, Member{Name: "max_actions", Value: Int(*s.MaxActions)})
	}
	if s.MaxAmount != nil {
		o.Members = append(o.Members, Member{Name: "max_amount", Value: s.MaxAmount})
	}
	if s.MaxDepth != nil {
		o.Members = append(o.Members, Member{Name: "max_depth", Value: Int(*s.MaxDepth)})
	}
	if s.Tools != nil {
		o.Members = append(o.Members, Member{Name: "tools", Value: Strings(s.Tools)})
	}
	return o
}

// DelegationRequest says what to delegate. Times are Unix seconds.
type DelegationRequest struct {
	ID        string // empty: a random UUID
	Issuer    string // empty: the parent's audience
	Audience  string // empty: the delegatee
	Delegatee string
	Scope     Scope
	IssuedAt  int64
	Expiry    int64 // at most the parent's
	KID       string
}

// CreateDelegation hands a part of an authorization to a delegatee and signs it with the delegator's key. It refuses a parent
// that is a delegation itself, lacks audience or policy, or ends before the delegation does.
func CreateDelegation(parent *Object, r DelegationRequest, key ed25519.PrivateKey) (*Object, error) {
	if err := checkParent(parent, r); err != nil {
		return nil, fmt.Errorf("create delegation: %w", err)
	}
	parentHash, err := Hash(parent)
	if err != nil {
		return nil, fmt.Errorf("create delegation: hash parent: %w", err)
	}
	delegator, _ := parent.Text("audience")
	policyID, _ := parent.Text("policy_id")
	d := NewObject(
		Member{"alg", AlgEd25519}, Member{"audience", cmp.Or(r.Audience, r.Delegatee)}, Member{"delegatee", r.Delegatee},
		Member{"delegation_id", cmp.Or(r.ID, randomUUID())}, Member{"delegator", delegator}, Member{"expiry", Int(r.Expiry)},
		Member{"issued_at", Int(r.IssuedAt)}, Member{"issuer", cmp.Or(r.Issuer, delegator)}, Member{"kid", r.KID},
		Member{"parent_auth_hash", parentHash}, Member{"policy_id", policyID}, Member{"scope", r.Scope.Object()},
	)
	signature, err := SignEd25519(key, DomainDelegation, d)
	if err != nil {
		return nil, fmt.Errorf("create delegation: %w", err)
	}
	d.Members = append(d.Members, Member{"signature", signature})
	return d, nil
}

func checkParent(parent *Object, r DelegationRequest) error {
	if parent == nil {
		return errors.New("there is no parent authorization")
	}
	if _, found := parent.Get("delegation_id"); found {
		return errors.New(multihopMessage)
	}
	for _, name := range [...]string{"audience", "policy_id"} {
		if _, ok := parent.Text(name); !ok {
			return fmt.Errorf("parent has no %s", name)
		}
	}
	if r.Delegatee == "" || r.KID == "" {
		return errors.New("delegatee and kid must not be empty")
	}
	if expiry, ok := integerMember(parent, "expiry"); !ok || float64(r.Expiry) > expiry {
		return errors.New("delegation must not end after its parent")
	}
	return nil
}

// randomUUID makes a version 4 UUID (RFC 9562).
func randomUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// DecodeDelegation reads the JSON object of a delegation. It checks no member: VerifyDelegation does.
func DecodeDelegation(data []byte) (*Object, error) { return decodeArtifact("delegation", data) }
