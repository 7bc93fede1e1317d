package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestUnbilledStatuses is what each status says of the bill.
func TestUnbilledStatuses(t *testing.T) {
	plain := upstream(t, "stream_usage: true")
	listed := upstream(t, "unbilled_statuses: [200, 502]\n    billed_statuses: 409")
	for status := 100; status < 700; status++ {
		want := policy.Never
		switch {
		case status/100 == 2:
			want = policy.ByStream
		case slices.Contains([]int{408, 499}, status):
		case status/100 == 3, status/100 == 4, status == 503, status == 529:
			want = policy.Always
		case status == 500:
			want = policy.ByErrorObject
		}
		if got := plain.Unbilled(status); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
		switch status {
		case 200:
			want = policy.ByError
		case 502:
			want = policy.Always
		case 409:
			want = policy.Never
		}
		if got := listed.Unbilled(status); got != want {
			t.Errorf("%d where the policy lists some: %v, want %v", status, got, want)
		}
	}
}

func TestMayBeUnbilled(t *testing.T) {
	u := upstream(t, "stream_usage: true")
	for status, want := range map[int][2]bool{200: {false, true}, 404: {true, true}, 500: {true, true}, 502: {false, false}, 0: {false, false}} {
		if got := [2]bool{u.MayBeUnbilled(status, false), u.MayBeUnbilled(status, true)}; got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
}

func TestStatusesThatCannotBeListed(t *testing.T) {
	for _, row := range []struct{ members, want string }{
		{"unbilled_statuses: [600]", "whole number from 200 to 599"},
		{"billed_statuses: [all]", "whole number from 200 to 599"},
		{"unbilled_statuses: {a: b}", "must be a list"},
		{"unbilled_statuses: [500, 502]\n    billed_statuses: [502]", "502 is in unbilled_statuses too"},
	} {
		if _, err := policy.Parse("policy.yaml", []byte(upstreamText(row.members))); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.members, err)
		}
	}
}
