package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
)

// TestWhatAnUpstreamTakes: a policy without allow admits nothing more, and each of its
// lists admits names of its own kind.
func TestWhatAnUpstreamTakes(t *testing.T) {
	if plain := upstream(t, "stream_usage: true").In("openai"); plain.Allow.Scalars || plain.Allow.Betas != call.StripBetas || plain.Allow.Has(call.ExtraMember, "a") {
		t.Errorf("without: %+v", plain.Allow)
	}
	u := upstream(t, `allow: {members: [a, "b.*"], parts: p, tools: ["t_*"], tiers: [x], queries: [q], headers: [X_Some-Header], betas: ["b=v1"]}`+
		"\n    extra: pass\n    betas: deny").In("openai")
	if !u.Allow.Scalars || u.Allow.Betas != call.DenyBetas {
		t.Errorf("extra, betas: %+v", u.Allow)
	}
	for kind, names := range [call.ExtraKinds][]string{{"a", "b.c.d"}, {"p"}, {"t_1"}, {"x"}, {"q"}, {"x-some-header"}, {"b=v1"}} {
		for _, name := range names {
			for other := range call.ExtraKinds {
				if got := u.Allow.Has(other, name); got != (int(other) == kind) {
					t.Errorf("%s among %s: %v", name, other, got)
				}
			}
		}
	}
	for _, name := range []string{"A", "b", "bc", "a.b", ""} {
		if u.Allow.Has(call.ExtraMember, name) {
			t.Errorf("%q is admitted", name)
		}
	}
}

// TestWhatADialectTakes: an upstream's own lists hold for all its dialects, and what one of
// them says beside holds for that one alone.
func TestWhatADialectTakes(t *testing.T) {
	u, err := upstreamOf(t, `cap_field: max_tokens, allow: {members: [both], betas: [b]}, extra: pass, betas: deny, dialects: [
    {name: openai, allow: {members: [chat], headers: [X_Chat]}, betas: pass},
    {name: anthropic, allow: {members: ["message.*"]}, extra: deny}]`)
	if err != nil {
		t.Fatal(err)
	}
	chat, messages := &u.In("openai").Allow, &u.In("anthropic").Allow
	for _, row := range []struct {
		kind           call.ExtraKind
		name           string
		chat, messages bool
	}{
		{call.ExtraMember, "both", true, true},
		{call.ExtraMember, "chat", true, false},
		{call.ExtraMember, "message.x", false, true},
		{call.ExtraHeader, "x-chat", true, false},
		{call.ExtraBeta, "b", true, true},
	} {
		if chat.Has(row.kind, row.name) != row.chat || messages.Has(row.kind, row.name) != row.messages {
			t.Errorf("%s %s is admitted otherwise", row.kind, row.name)
		}
	}
	if !chat.Scalars || messages.Scalars || chat.Betas != call.PassBetas || messages.Betas != call.DenyBetas {
		t.Errorf("extra, betas: %+v, %+v", chat, messages)
	}
	if _, err := upstreamOf(t, `cap_field: max_tokens, dialects: [{name: openai, allow: {members: ["a*b"]}, extra: some, betas: drop}]`); err == nil ||
		!strings.Contains(err.Error(), "is no name") || !strings.Contains(err.Error(), "write deny or pass") || !strings.Contains(err.Error(), "write strip, deny or pass") {
		t.Errorf("a dialect's own: %v", err)
	}
}

func TestWhatNoUpstreamTakes(t *testing.T) {
	for _, row := range []struct{ members, want string }{
		{`allow: {members: ["a\nb"]}`, "is no name"},
		{`allow: {members: [""]}`, "is no name"},
		{`allow: {members: ["a*b"]}`, "is no name"},
		{`allow: {members: ["a**"]}`, "is no name"},
		{`allow: {members: ["` + strings.Repeat("x", 161) + `"]}`, "is no name"},
		{`allow: {members: [` + strings.Join(slices.Repeat([]string{"x"}, 257), ",") + `]}`, "more than 256"},
		{`allow: {members: {a: b}}`, "must be a list"},
		{`allow: {fields: [a]}`, "unknown field"},
		{`allow: [a]`, "must be a mapping"},
		{`extra: allow`, "write deny or pass"},
		{`betas: drop`, "write strip, deny or pass"},
	} {
		if _, err := policy.Parse("policy.yaml", []byte(upstreamText(row.members))); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%.60s: %v", row.members, err)
		}
	}
}

// TestNamesThatNeedQuotes: whatever can be printed is read as it is quoted.
func TestNamesThatNeedQuotes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := call.Extra{Name: rapid.String().Draw(t, "name")}.Pattern()
		if pattern == "" {
			return
		}
		p, err := policy.Parse("policy.yaml", []byte(upstreamText(fmt.Sprintf(`allow: {members: [%q]}`, pattern))))
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range p.Upstreams {
			if names := u.In("openai").Allow.Names[call.ExtraMember]; len(names) != 1 || names[0] != pattern {
				t.Errorf("%q is read as %q", pattern, names)
			}
		}
	})
}
