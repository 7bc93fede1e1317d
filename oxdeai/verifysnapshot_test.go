package oxdeai

import "testing"

func TestVerifySnapshot(t *testing.T) {
	t.Parallel()
	data, stateHash := testSnapshot(t)
	for _, row := range []struct {
		name, data, expected string
		codes                string
	}{
		{"good", string(data), testPolicyID, ""},
		{"any policy", string(data), "", ""},
		{"another policy", string(data), "p", "POLICY_ID_MISMATCH"},
		{"nothing", "", "", "SNAPSHOT_CORRUPT"},
		{"empty policy", `{"formatVersion":1,"engineVersion":"","policyId":"","modules":{}}`, "", "SNAPSHOT_CORRUPT"},
		{"module with a fraction", `{"formatVersion":1,"engineVersion":"","policyId":"p","modules":{"M":0.5}}`, "p", "SNAPSHOT_CORRUPT"},
		{"modules as list", `{"formatVersion":1,"engineVersion":"","policyId":"p","modules":[]}`, "p", "SNAPSHOT_CORRUPT"},
		{"a name twice", `{"formatVersion":1,"engineVersion":"","policyId":"p","policyId":"p","modules":{}}`, "p", "SNAPSHOT_CORRUPT"},
	} {
		r := VerifySnapshot([]byte(row.data), row.expected)
		if r.Reasons() != row.codes || r.OK() != (r.StateHash != "") || r.OK() && r.StateHash != stateHash {
			t.Errorf("%s: got %s", row.name, r.AppendJSON(nil))
		}
	}
}
