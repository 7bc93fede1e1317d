package providers_test

import (
	"strconv"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// TestDetails: what a limit adds to its denial, without what is not the client's to know.
func TestDetails(t *testing.T) {
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, row := range []struct {
		name   string
		denial call.Denial
		want   string
	}{
		{"no limit", call.Denial{Message: "no"}, ""},
		{"all", call.Denial{Budget: "b", Limit: 4, Spent: 3, Held: 2, Needed: 1, Format: count, ResetsAt: 1_000, LargestCap: 7},
			`,"aegis":{"budget":"b","limit":"4","spent":"3","held":"2","needed":"1","resets_at":"1970-01-01T00:00:01Z","largest_cap":"7"}`},
		{"that never resets", call.Denial{Budget: "b", Format: count}, `,"aegis":{"budget":"b","limit":"0","spent":"0","held":"0","needed":"0"}`},
		{"redacted", call.Denial{Budget: "b", Limit: 4, Redact: true, ResetsAt: 1_000}, `,"aegis":{"budget":"b","resets_at":"1970-01-01T00:00:01Z"}`},
		{"of no limit, with a cap that fits", call.Denial{LargestCap: 7}, `,"aegis":{"largest_cap":"7"}`},
	} {
		if got := string(providers.AppendDetails(nil, &row.denial)); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}
