package audit

import "crypto/sha256"

// FactsHash is the SHA-256 of a decision's facts, as the receipt holds them.
func FactsHash(d Decision) Hash {
	encoded, _ := encodeRecord(nil, (*facts)(&d.Facts)) // a number that no receipt can hold was refused before
	return sha256.Sum256(encoded)
}

// observation is what a decision saw of the ledger.
type observation struct{ *Decision }

func (o observation) visit(f fields) {
	f.optClaims("claims", &o.Claims)
	f.optText("epoch", &o.Epoch)
	f.optCount("event", &o.Event)
}

// ObservedHash is the SHA-256 of the state that a decision observed: an object
// with the members claims, epoch and event of the receipt.
func ObservedHash(d Decision) Hash {
	encoded, _ := encodeRecord(nil, observation{&d})
	return sha256.Sum256(encoded)
}
