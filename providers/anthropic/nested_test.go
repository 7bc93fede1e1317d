package anthropic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// TestWhatLiesInWhatIsAdmitted: who admits a block, a tool or a member that nobody knows
// does not admit what is more input than its text inside of it, what runs at the provider,
// or what may hold a credential.
func TestWhatLiesInWhatIsAdmitted(t *testing.T) {
	block := func(more string) string { return `,"system":[{"type":"odd",` + more + `}]` }
	tool := func(more string) string { return `,"tools":[{"type":"odd","name":"o",` + more + `}]` }
	for _, row := range []struct{ name, members, denied string }{
		{"a block of text", block(`"x":[{"type":"text","text":"hi"}]`), ""},
		{"an image, where nobody reads", block(`"x":[{"type":"image","source":{"type":"url","url":"https://x"}}]`), "a content block of type image"},
		{"an image, where blocks are", block(`"content":[{"type":"image","source":{"type":"base64","data":"x"}}]`), ""}, // it is counted
		{"a document deep inside", block(`"x":{"y":[[{"Type":"Document"}]]}`), "a content block of type document"},
		{"a document in an input", block(`"input":{"y":{"type":"document"}}`), "a content block of type document"},
		{"an upload, where blocks are", block(`"content":[{"type":"container_upload","file_id":"f"}]`), "a content block of type container_upload"},
		{"an upload, where nobody reads", block(`"x":{"type":"container_upload"}`), "a content block of type container_upload"},
		{"another block that nobody knows", block(`"content":[{"type":"stranger"}]`), "a content block of type stranger"},
		{"a key", block(`"x":{"api_key":"sk"}`), "api_key"},
		{"a tool's key", tool(`"access_token":"sk"`), "tools.access_token"},
		{"a tool in a tool", tool(`"x":[{"type":"web_search_20250305"}]`), "a tool of type web_search_20250305"},
		{"a tool of settings", tool(`"x":{"type":"object","y":1}`), ""},
		{"a member", `,"odd":{"a":[1]}`, ""},
		{"a member with an upload", `,"odd":{"a":[{"type":"container_upload"}]}`, "a content block of type container_upload"},
		{"a member that hides the usage", `,"response_fields":["content"]`, "response_fields"},
		{"that name deeper", `,"odd":{"fields":["content"]}`, ""},
		{"a member that is a key", `,"odd_api_key":"sk"`, "odd_api_key"},
	} {
		allow := &call.Allow{}
		allow.Names[call.ExtraPart], allow.Names[call.ExtraTool], allow.Names[call.ExtraMember] = []string{"odd"}, []string{"odd"}, []string{"odd*", "tools.*", "response_fields"}
		r, err := parseWith(t, providers.Head{}, row.members)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		got := ""
		if _, err := r.On(providers.Terms{Provider: "anthropic", Allow: allow, Context: 200_000, MaxImage: 2000}); err != nil {
			no, _ := errors.AsType[*providers.Unbounded](err)
			got = no.Causes[0].Member
		}
		if got != row.denied {
			t.Errorf("%s: denied for %q, want %q", row.name, got, row.denied)
		}
	}
}

// TestCacheInWhatIsAdmitted: what lies in a place that nobody knows may be written to the
// cache, for as long as there is.
func TestCacheInWhatIsAdmitted(t *testing.T) {
	allow := &call.Allow{}
	allow.Names[call.ExtraPart], allow.Names[call.ExtraMember] = []string{"odd"}, []string{"odd*", "system.odd*"}
	for members, want := range map[string]bool{
		`,"odd":{"x":[{"cache_control":{"type":"ephemeral"}}]}`:             true,
		`,"system":[{"type":"odd","odd_too":{"ttl":"1h"}}]`:                 true,
		`,"system":[{"type":"odd","input":{"cache_control":{"ttl":"1h"}}}]`: true,
		`,"odd":{"x":[{"type":"text"}]}`:                                    false,
	} {
		r, err := parseWith(t, providers.Head{}, members)
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.On(providers.Terms{Provider: "anthropic", Allow: allow})
		if err != nil {
			t.Fatalf("%s: %v", members, err)
		}
		if kinds := o.Bound().Input.Kinds; kinds.Has(call.CacheWrite1h) != want {
			t.Errorf("%s: %v", members, kinds)
		}
	}
}

// TestSafeguards: servers of other makers do not get them, since they may run another model
// for a check.
func TestSafeguards(t *testing.T) {
	allow := &call.Allow{}
	allow.Names[call.ExtraMember] = []string{"safeguards"}
	const checks = `,"safeguards":[{"type":"dangerous_tool_use"}]`
	r, err := parseWith(t, providers.Head{}, checks)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		terms providers.Terms
		sent  bool
	}{
		{providers.Terms{Provider: "anthropic"}, true},
		{providers.Terms{Provider: "google"}, true},
		{providers.Terms{Provider: "zai"}, false},
		{providers.Terms{Provider: "zai", Allow: allow}, true},
	} {
		o, err := r.On(row.terms)
		if err != nil {
			t.Fatal(err)
		}
		if sent := string(o.Send(0).Body.Join()); strings.Contains(sent, checks) != row.sent || strings.Contains(sent, "safeguards") != row.sent {
			t.Errorf("%s: %s", row.terms.Provider, sent)
		}
	}
}
