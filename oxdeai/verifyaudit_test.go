package oxdeai

import (
	"slices"
	"strings"
	"testing"
)

// headOf is the head of a log, as a caller would have kept it.
func headOf(tb testing.TB, events []Value) string {
	tb.Helper()
	head := GenesisHash
	for _, e := range events {
		var err error
		if head, err = ChainStep(head, e.(*Object)); err != nil {
			tb.Fatal(err)
		}
	}
	return head
}

func TestVerifyAuditEventsFindsEditsByTheHead(t *testing.T) {
	t.Parallel()
	events := testEvents(testHash('1'))
	opts := AuditOptions{ExpectedPolicyID: testPolicyID, ExpectedHead: headOf(t, events)}
	edit := func(i int, m Member) []Value {
		out := slices.Clone(events)
		out[i] = set(out[i].(*Object), m)
		return out
	}
	swapped := slices.Clone(events)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for _, row := range []struct {
		name   string
		events []Value
		want   Status
		codes  string
	}{
		{"as it was", events, StatusOK, ""},
		{"another agent", edit(0, Member{"agent_id", "agent-2"}), StatusInvalid, "AUDIT_HEAD_MISMATCH"},
		{"another decision", edit(1, Member{"decision", "DENY"}), StatusInvalid, "AUDIT_HEAD_MISMATCH"},
		{"two events of one second swapped", swapped, StatusInvalid, "AUDIT_HEAD_MISMATCH"},
		{"first event cut off", events[1:], StatusInvalid, "AUDIT_HEAD_MISMATCH"},
		{"last event cut off", events[:3], StatusInvalid, "AUDIT_HEAD_MISMATCH,NO_STATE_ANCHOR"},
		{"one event twice", append(slices.Clone(events), events[3]), StatusInvalid, "AUDIT_HEAD_MISMATCH"},
		{"nothing", []Value{}, StatusInvalid, "AUDIT_HEAD_MISMATCH,NO_STATE_ANCHOR"},
	} {
		if r := VerifyAuditEvents(row.events, opts); r.Status != row.want || r.Reasons() != row.codes {
			t.Errorf("%s: got %s %s, want %s %s", row.name, r.Status, r.Reasons(), row.want, row.codes)
		}
	}
}

func TestVerifyAuditEventsDemands(t *testing.T) {
	t.Parallel()
	events := testEvents(testHash('1'))
	for _, row := range []struct {
		name   string
		events Value
		opts   AuditOptions
		want   Status
		codes  string
	}{
		{"no head to compare with", events, AuditOptions{}, StatusInconclusive, "NO_HEAD_ANCHOR"},
		{"the caller compares the head itself", events, AuditOptions{AcceptUnanchoredHead: true}, StatusOK, ""},
		{"no checkpoint", events[:3], AuditOptions{AcceptUnanchoredHead: true}, StatusInconclusive, "NO_STATE_ANCHOR"},
		{"no checkpoint, mode unset", events[:3], AuditOptions{AcceptUnanchoredHead: true, Mode: ModeUnset}, StatusInconclusive, "NO_STATE_ANCHOR"},
		{"no checkpoint, best effort", events[:3], AuditOptions{AcceptUnanchoredHead: true, Mode: ModeBestEffort}, StatusOK, ""},
		{"best effort wants one all the same", events[:3],
			AuditOptions{AcceptUnanchoredHead: true, Mode: ModeBestEffort, Anchors: AnchorsRequired}, StatusInconclusive, "NO_STATE_ANCHOR"},
		{"strict without", events[:3], AuditOptions{AcceptUnanchoredHead: true, Anchors: AnchorsOptional}, StatusOK, ""},
		{"not a list", NewObject(), AuditOptions{}, StatusInvalid, "MALFORMED_EVENT"},
		{"nothing at all", nil, AuditOptions{}, StatusInvalid, "MALFORMED_EVENT"},
		{"a nil event", []Value{(*Object)(nil)}, AuditOptions{Anchors: AnchorsOptional, AcceptUnanchoredHead: true}, StatusInvalid, "MALFORMED_EVENT"},
	} {
		if r := VerifyAuditEvents(row.events, row.opts); r.Status != row.want || r.Reasons() != row.codes {
			t.Errorf("%s: got %s %s, want %s %s", row.name, r.Status, r.Reasons(), row.want, row.codes)
		}
	}
}

func TestCheckEvent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, event, want string }{
		{"good", `{"type":"EXECUTION_ATTESTED","timestamp":0,"intent_hash":"x","execution_ref":""}`, ""},
		{"no type stops", `{"timestamp":-1,"zz":1}`, "$.type REQUIRED"},
		{"type is no text", `{"type":5,"timestamp":-1}`, "$.type REQUIRED"},
		{"unknown type", `{"type":"","timestamp":-1,"policyId":null,"zz":1}`, "$.policyId TYPE|$.timestamp TYPE|$.type ENUM"},
		{"member of another type", `{"type":"STATE_CHECKPOINT","timestamp":1,"stateHash":"x","agent_id":"a"}`, "$.agent_id ADDITIONAL"},
		{"all members wrong", `{"type":"DECISION","timestamp":1,"decision":"MAYBE","reasons":"x"}`,
			"$.decision ENUM|$.intent_hash TYPE|$.policy_version TYPE|$.reasons TYPE"},
		{"path order is text order", `{"type":"AUTH_EMITTED","timestamp":1,"afoo":1,"zfoo":1}`,
			"$.afoo ADDITIONAL|$.authorization_id TYPE|$.expires_at TYPE|$.intent_hash TYPE|$.zfoo ADDITIONAL"},
	} {
		var got []string
		for _, i := range CheckEvent(mustObject(t, []byte(row.event))) {
			got = append(got, i.Path+" "+i.Code)
		}
		if s := strings.Join(got, "|"); s != row.want {
			t.Errorf("%s: got %s, want %s", row.name, s, row.want)
		}
	}
}

func TestDecodeEvents(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, text string
		want       int // events, -1 for an error
	}{
		{"array", ` [{"a":1},{"b":2}] `, 2},
		{"lines", "{\"a\":1}\n\n{\"b\":2}\n", 2},
		{"lines of Windows", "{\"a\":1}\r\n{\"b\":2}\r\n", 2},
		{"nothing", "", 0},
		{"half a line", "{\"a\":1}\n{\"b\":", -1},
		{"two values on a line", `{"a":1}{"b":2}`, -1},
		{"a name twice", `[{"a":1,"a":2}]`, -1},
		{"byte order mark", "\ufeff[]", -1},
		{"too many", "[" + strings.Repeat("1,", MaxEvents) + "1]", -1},
		{"too many lines", strings.Repeat("1\n", MaxEvents+1), -1},
	} {
		events, err := DecodeEvents([]byte(row.text))
		if (err != nil) != (row.want < 0) || err == nil && len(events) != row.want {
			t.Errorf("%s: %d events, error %v", row.name, len(events), err)
		}
	}
}

func TestNumberText(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]float64{"0": 0, "1730000000": 1730000000, "9007199254740992": 1 << 53, "100000000000000000000": 1e20, "1e+21": 1e21} {
		if got := numberText(f); got != want {
			t.Errorf("%v: got %s", f, got)
		}
	}
}
