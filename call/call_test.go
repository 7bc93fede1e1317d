package call_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// TestTable: every unit has a row that stands by itself.
func TestTable(t *testing.T) {
	form := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	if call.Units > 64 {
		t.Fatalf("%d units do not fit a Kinds", call.Units)
	}
	for u := range call.Units {
		row := call.Table[u]
		if !form.MatchString(row.Name) || row.Per < 1 || 1_000_000%row.Per != 0 {
			t.Errorf("unit %d: name %q, per %d", u, row.Name, row.Per)
		}
		if found, ok := call.ByName(row.Name); !ok || found != u || u.String() != row.Name {
			t.Errorf("%q is the name of unit %d too", row.Name, found)
		}
		for _, other := range row.Else {
			if other == u || leadsTo(other, u) {
				t.Errorf("%s falls back to itself", row.Name)
			}
			if call.Table[other].Input != row.Input || call.Table[other].Per != row.Per || call.Table[other].Scaled != row.Scaled {
				t.Errorf("%s falls back to %s, which is counted otherwise", row.Name, other)
			}
		}
	}
}

func leadsTo(from, to call.Unit) bool {
	return slices.ContainsFunc(call.Table[from].Else, func(u call.Unit) bool { return u == to || leadsTo(u, to) })
}

func TestKinds(t *testing.T) {
	k := call.Of(call.Credits, call.Input, call.Reasoning)
	if got := slices.Collect(k.All()); !slices.Equal(got, []call.Unit{call.Input, call.Reasoning, call.Credits}) {
		t.Errorf("units %v", got)
	}
	if !k.Has(call.Input) || k.Has(call.Output) || call.Of() != 0 {
		t.Errorf("%b has input, reasoning and credits alone", k)
	}
}

func TestTokensOfAUsage(t *testing.T) {
	u := call.Usage{call.Input: 1, call.CachedInput: 2, call.CachedVideoInput: 4, call.Output: 8, call.Reasoning: 16, call.Searches: 32, call.AudioTimeIn: 64}
	if text := u.String(); text != "input 1, cached_input 2, cached_video_input 4, output 8, reasoning 16, audio_seconds_in 64, searches 32" {
		t.Errorf("it is %q", text)
	}
	if in, out := u.InputTokens(), u.OutputTokens(); in != 7 || out != 24 {
		t.Errorf("%d tokens in and %d out, want 7 and 24", in, out)
	}
}
