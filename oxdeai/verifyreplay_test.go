package oxdeai

import (
	"strings"
	"testing"
)

func TestVerifyReplay(t *testing.T) {
	t.Parallel()
	checkpoint := `{"type":"STATE_CHECKPOINT","timestamp":1,"policyId":"p","stateHash":"` + testHash('0') + `"}`
	for _, row := range []struct {
		name, events string
		opts         ReplayOptions
		want         ReplayStatus
		codes        string
	}{
		{"a checkpoint", `[` + checkpoint + `]`, ReplayOptions{PolicyID: "p"}, ReplayOK, ""},
		{"no checkpoint", `[]`, ReplayOptions{}, ReplayInconclusive, "NO_STATE_ANCHOR"},
		{"no checkpoint, best effort", `[]`, ReplayOptions{Mode: ModeBestEffort}, ReplayOK, ""},
		{"back in time", `[` + checkpoint + `,{"timestamp":0}]`, ReplayOptions{}, ReplayViolation, "NON_MONOTONIC_TIMESTAMP@1"},
		{"time before 1970 first", `[{"timestamp":-5},` + checkpoint + `]`, ReplayOptions{}, ReplayOK, ""},
		{"no time", `[` + checkpoint + `,{}]`, ReplayOptions{}, ReplayViolation, "NON_MONOTONIC_TIMESTAMP@1"},
		{"hash in uppercase", strings.Replace(`[`+checkpoint+`]`, testHash('0'), testHash('A'), 1), ReplayOptions{}, ReplayViolation, "INVALID_STATE_HASH@0"},
		{"two policies, found in order", `[{"timestamp":1,"policyId":""},` + checkpoint + `]`, ReplayOptions{PolicyID: "q"}, ReplayViolation, "MIXED_POLICY_ID"},
		{"another policy", `[` + checkpoint + `]`, ReplayOptions{PolicyID: "q"}, ReplayViolation, "POLICY_ID_MISMATCH"},
	} {
		r, err := VerifyReplay(mustParse(t, []byte(row.events)).([]Value), row.opts)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if got := findingsText(r); r.Status != row.want || got != row.codes {
			t.Errorf("%s: got %s %q, want %s %q", row.name, r.Status, got, row.want, row.codes)
		}
	}
}

func findingsText(r ReplayResult) string {
	var parts []string
	for _, v := range r.Violations {
		text := string(v.Code)
		if v.HasAt {
			text += "@" + string(rune('0'+v.At))
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ",")
}

func TestVerifyReplayHeadIsThatOfTheLog(t *testing.T) {
	t.Parallel()
	events := testEvents(testHash('1'))
	r, err := VerifyReplay(events, ReplayOptions{})
	if err != nil || r.AuditHeadHash != headOf(t, events) {
		t.Errorf("head %s, error %v", r.AuditHeadHash, err)
	}
}

func TestVerifyReplayErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`[5]`, `[null]`, `[{"timestamp":1,"x":0.5}]`, `[{"timestamp":1},{"timestamp":1e300}]`} {
		if _, err := VerifyReplay(mustParse(t, []byte(text)).([]Value), ReplayOptions{}); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}
