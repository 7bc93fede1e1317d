package admission_test

import (
	"fmt"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

func left(id string, in, out int64) *providers.Report {
	return &providers.Report{Left: id, LeftBy: "m", LeftKinds: call.Of(call.AudioInput), HasUsage: true, Lines: []call.Line{{Usage: call.Usage{call.Input: in, call.CachedInput: 1, call.Reasoning: out}}}}
}

// TestChains: an answer is its tenant's, and carries what it used.
func TestChains(t *testing.T) {
	var c admission.Chains
	c.Note("a", left("r1", 10, 5))
	c.Note("a", &providers.Report{Left: "r2", Lines: []call.Line{{Usage: call.Usage{call.Input: 7}}}})
	c.Note("a", &providers.Report{HasUsage: true})
	c.Note("b", left("r1", 1, 1))
	parts := left("r4", 10, 5)
	parts.Items = []providers.Item{{ID: "msg", Content: providers.Written}, {ID: "ws", Content: providers.Found}, {ID: "ig"}, {ID: "r1", Content: providers.Found}}
	c.Note("b", parts)
	for _, row := range []struct {
		tenant, id string
		want       providers.Earlier
	}{
		{"a", "r1", providers.Earlier{Own: true, Tokens: 16, Reader: "m", Kinds: call.Of(call.AudioInput)}},
		{"b", "r1", providers.Earlier{Foreign: true}},
		{"a", "r2", providers.Earlier{Own: true}},
		{"b", "r2", providers.Earlier{Foreign: true}},
		{"a", "r3", providers.Earlier{}},
		{"b", "r4", providers.Earlier{Own: true, Tokens: 16, Reader: "m", Kinds: call.Of(call.AudioInput)}},
		{"b", "msg", providers.Earlier{Own: true, Tokens: 5, Reader: "m", Kinds: call.Of(call.AudioInput)}},
		{"b", "ws", providers.Earlier{Own: true, Tokens: 16, Reader: "m", Kinds: call.Of(call.AudioInput)}},
		{"b", "ig", providers.Earlier{Own: true, Reader: "m", Kinds: call.Of(call.AudioInput)}},
		{"a", "msg", providers.Earlier{Foreign: true}},
		{"a", "", providers.Earlier{}},
	} {
		if got := c.Earlier(row.tenant)(row.id); got != row.want {
			t.Errorf("%s at %s: %+v, want %+v", row.id, row.tenant, got, row.want)
		}
	}
}

// TestChainsForget: the oldest answers are forgotten, and no more than that.
func TestChainsForget(t *testing.T) {
	const most = 1 << 16
	var c admission.Chains
	for i := range most + 3 {
		c.Note("a", left(fmt.Sprint(i), int64(i), 0))
		c.Note("a", left(fmt.Sprint(i), int64(i), 0))
	}
	for i, want := range map[int]int64{0: 0, 2: 0, 3: 4, 4: 5, most + 2: most + 3} {
		if got := c.Earlier("a")(fmt.Sprint(i)).Tokens; got != want {
			t.Errorf("%d carries %d, want %d", i, got, want)
		}
	}
}

// TestChainsAreShared: a tenant with many answers forgets its own, and leaves another's;
// one that comes late gets room of it.
func TestChainsAreShared(t *testing.T) {
	const most = 1 << 16
	var c admission.Chains
	knows := func(tenant, id string) bool { return c.Earlier(tenant)(id).Tokens > 0 }
	c.Note("quiet", left("q", 1, 0))
	for i := range 3 * most {
		c.Note("loud", left(fmt.Sprint("l", i), 1, 0))
	}
	if !knows("quiet", "q") || knows("loud", "l0") || !knows("loud", fmt.Sprint("l", 3*most-1)) {
		t.Error("the one that has many answers has not forgotten its own")
	}
	for i := range most / 4 {
		c.Note("late", left(fmt.Sprint("n", i), 1, 0))
	}
	for i := range most {
		c.Note("loud", left(fmt.Sprint("m", i), 1, 0))
	}
	if !knows("late", "n0") || !knows("late", fmt.Sprint("n", most/4-1)) {
		t.Error("one that came late, and has less than its share, has lost some of it")
	}
	for i := range most + 2 {
		c.Note(fmt.Sprint("t", i), left(fmt.Sprint("t", i), 1, 0))
	}
	if knows("t1", "t1") || !knows("t2", "t2") || knows("late", "n0") {
		t.Error("of more tenants than there is room for, not the last ones are known")
	}
}
