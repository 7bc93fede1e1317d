package oxdeai

// VerifySnapshot decodes snapshot bytes, compares the policy id (an empty expectedPolicyID compares nothing) and recomputes the
// state hash. It proves that the snapshot agrees with itself, not that its eight modules are there or sane: import does that.
func VerifySnapshot(data []byte, expectedPolicyID string) Result {
	s, err := DecodeSnapshot(data)
	if err != nil {
		return refused(CodeSnapshotCorrupt, "snapshot decode failed")
	}
	if s.PolicyID == "" {
		r := refused(CodeSnapshotCorrupt, "$.policyId: must be non-empty string")
		r.EmptyPolicyID = true
		return r
	}
	r := compareSnapshot(s, expectedPolicyID)
	r.PolicyID = s.PolicyID
	return r
}

func compareSnapshot(s *Snapshot, expectedPolicyID string) Result {
	if expectedPolicyID != "" && s.PolicyID != expectedPolicyID {
		return refused(CodePolicyIDMismatch, "snapshot policyId does not match expected policyId")
	}
	hash, err := ModulesHash(s)
	if err != nil {
		return refused(CodeSnapshotCorrupt, "snapshot modules are malformed")
	}
	return Result{Status: StatusOK, StateHash: hash}
}
