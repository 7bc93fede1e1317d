package oxdeai

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestResultOrder(t *testing.T) {
	t.Parallel()
	var f findings
	f.addAt(2, CodePolicyIDMismatch, "late event")
	f.addAt(0, CodePolicyIDMismatch, "first event, found first")
	f.add(CodePolicyIDMismatch, "no event, found second")
	f.add(CodeMalformedEvent, "a code that sorts first")
	want := "a code that sorts first|first event, found first|no event, found second|late event"
	if got := messages(f.sorted()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func messages(list []Violation) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.Message
	}
	return strings.Join(texts, "|")
}

func TestResultStatus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		codes []Code
		want  Status
	}{
		{nil, StatusOK},
		{[]Code{CodeNoStateAnchor}, StatusInconclusive},
		{[]Code{CodeNoStateAnchor, CodeNoHeadAnchor}, StatusInconclusive},
		{[]Code{CodeNoStateAnchor, CodeMixedPolicyID}, StatusInvalid},
		{[]Code{"SOMETHING_NEW"}, StatusInvalid},
	} {
		var f findings
		for _, c := range row.codes {
			f.add(c, "")
		}
		if r := f.result(); r.Status != row.want || r.OK() != (row.want == StatusOK) {
			t.Errorf("%v: got %s, want %s", row.codes, r.Status, row.want)
		}
	}
}

func TestResultListIsBoundedAndStaysInvalid(t *testing.T) {
	t.Parallel()
	var f findings
	for range MaxViolations + 2 {
		f.add(CodeNoStateAnchor, "")
	}
	r := f.result()
	if len(r.Violations) != MaxViolations || r.Status != StatusInvalid || r.Violations[MaxViolations-1].Code != CodeTooManyViolations {
		t.Errorf("%d violations, status %s, last %v", len(r.Violations), r.Status, r.Violations[len(r.Violations)-1])
	}
}

func TestResultJSON(t *testing.T) {
	t.Parallel()
	r := Result{Status: StatusInvalid, EmptyPolicyID: true, StateHash: "s", AuditHeadHash: "h", Violations: []Violation{
		{Code: CodeMalformedEvent, Message: "a \"quote\"", Index: 0, Indexed: true}, {Code: CodeEnvelopeMalformed},
	}}
	want := `{"ok":false,"status":"invalid","violations":[{"code":"MALFORMED_EVENT","message":"a \"quote\"","index":0},` +
		`{"code":"ENVELOPE_MALFORMED"}],"policyId":"","stateHash":"s","auditHeadHash":"h"}`
	if got := string(r.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := r.Reasons(); got != "MALFORMED_EVENT,ENVELOPE_MALFORMED" {
		t.Errorf("reasons %s", got)
	}
}

// shuffled gives the value with the members of every object in another order.
func shuffled(t *rapid.T, v Value) Value {
	switch v := v.(type) {
	case *Object:
		out := &Object{}
		if len(v.Members) > 0 {
			out.Members = rapid.Permutation(v.Members).Draw(t, "members")
		}
		for i := range out.Members {
			out.Members[i].Value = shuffled(t, out.Members[i].Value)
		}
		return out
	case []Value:
		out := make([]Value, len(v))
		for i := range v {
			out[i] = shuffled(t, v[i])
		}
		return out
	}
	return v
}

// The order of members in the input never changes a result: neither the violations, nor their order, nor a hash.
func TestPropertyResultIgnoresMemberOrder(t *testing.T) {
	t.Parallel()
	d, parent, trust := testChain(t, DelegationRequest{ID: "d-1", Scope: Scope{Tools: []string{"wipe", "pay", "drop"}}})
	badEvents := mustParse(t, []byte(`[{"type":"DECISION","timestamp":-1,"zz":1,"aa":2,"reasons":[3],"policyId":7},{"type":"NEW","timestamp":2.5},
		{"type":"STATE_CHECKPOINT","timestamp":9,"stateHash":"ab"},{"type":"STATE_CHECKPOINT","timestamp":3,"stateHash":"cd","policyId":"p"}]`))
	inputs := map[string]struct {
		value  Value
		verify func(Value) Result
	}{
		"events": {badEvents, func(v Value) Result { return VerifyAuditEvents(v, AuditOptions{ExpectedPolicyID: "q"}) }},
		"envelope": {mustParse(t, testEnvelope(t)), func(v Value) Result {
			return VerifyEnvelope(asJSON(v.(*Object)), testNow, EnvelopeOptions{Trust: testTrust(t)})
		}},
		"authorization": {signedAuth(t, Member{"expiry", "x"}, Member{"issuer", Int(5)}, Member{"decision", "DENY"}), func(v Value) Result {
			return VerifyAuthorization(v.(*Object), testNow, AuthorizationOptions{Trust: testTrust(t), ExpectedIssuer: testIssuer})
		}},
		"nested authorization": {nestedAuth(t), func(v Value) Result {
			return VerifyAuthorization(v.(*Object), testNow, AuthorizationOptions{Trust: testTrust(t)})
		}},
		"delegation": {d, func(v Value) Result {
			return VerifyDelegationChain(v.(*Object), parent, testNow, DelegationOptions{Trust: trust, ExpectedDelegatee: "x"})
		}},
	}
	for name, input := range inputs {
		want := string(input.verify(input.value).AppendJSON(nil))
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			if got := string(input.verify(shuffled(t, input.value)).AppendJSON(nil)); got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		}))
	}
}

// asJSON writes an object in its own order of members, which Canonical would sort.
func asJSON(v Value) []byte {
	switch v := v.(type) {
	case *Object:
		out := []byte{'{'}
		for i, m := range v.Members {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(appendQuoted(out, m.Name), ':')
			out = append(out, asJSON(m.Value)...)
		}
		return append(out, '}')
	case []Value:
		out := []byte{'['}
		for i, e := range v {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, asJSON(e)...)
		}
		return append(out, ']')
	}
	out, err := Canonical(v)
	if err != nil {
		panic(err)
	}
	return out
}
