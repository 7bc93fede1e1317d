package policy_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
)

// upstreamOf loads a policy with one upstream.
func upstreamOf(t *testing.T, fields string) (*policy.Upstream, error) {
	t.Helper()
	p, err := policy.Parse("policy.yaml", fmt.Appendf(nil, `
generation: 1
upstreams:
  - {name: u, base_url: "https://example.com/v1", provider: openai, %s}
models: [{match: "*", upstreams: [u]}]
tenants: [{name: t, keys: [{id: k, sha256: %s}], budgets: [{name: b, limit_usd: 1, window: day}]}]
`, fields, strings.Repeat("ab", 32)))
	if err != nil {
		return nil, err
	}
	return p.Upstreams["u"], nil
}

func TestWhatAnUpstreamSpeaks(t *testing.T) {
	for _, row := range []struct {
		name, fields string
		want         policy.Speech
	}{
		{"as before there were dialects", `cap_field: max_tokens`,
			policy.Speech{Dialect: "openai", BaseURL: "https://example.com/v1", CapField: "max_tokens", StreamUsage: true}},
		{"all of it", `cap_field: max_completion_tokens, stream_usage: false, cancel_stops_billing: true`,
			policy.Speech{Dialect: "openai", BaseURL: "https://example.com/v1", CapField: "max_completion_tokens", CancelStops: true}},
		{"a dialect by its name", `cap_field: max_tokens, cancel_stops_billing: true, dialects: [{name: openai}]`,
			policy.Speech{Dialect: "openai", BaseURL: "https://example.com/v1", CapField: "max_tokens", StreamUsage: true, CancelStops: true}},
		{"a dialect's own", `cap_field: max_tokens, dialects: [{name: openai, base_url: "https://example.com/x/", cap_field: max_completion_tokens, stream_usage: false}]`,
			policy.Speech{Dialect: "openai", BaseURL: "https://example.com/x", CapField: "max_completion_tokens"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			u, err := upstreamOf(t, row.fields)
			if err != nil {
				t.Fatal(err)
			}
			if len(u.Speaks) != 1 || !reflect.DeepEqual(*u.In("openai"), row.want) {
				t.Errorf("speaks %+v, want %+v", u.Speaks, row.want)
			}
			if u.In("another") != nil || len(policy.Speaking([]*policy.Upstream{u}, "another")) != 0 || len(policy.Speaking([]*policy.Upstream{u}, "openai")) != 1 {
				t.Error("it speaks another dialect")
			}
			if u.CancelStops() != row.want.CancelStops {
				t.Error("it stops billing otherwise than it says")
			}
		})
	}
}

func TestWrongDialects(t *testing.T) {
	for fields, want := range map[string]string{
		`dialects: [{name: openai}]`:                                        "cap_field is missing",
		`cap_field: max_tokens, dialects: [{name: klingon}]`:                "not known",
		`cap_field: max_tokens, dialects: [{cap_field: max_tokens}]`:        "name is missing",
		`cap_field: max_tokens, dialects: [{name: openai}, {name: openai}]`: "listed twice",
		`cap_field: max_tokens, dialects: []`:                               "names no dialect",
		`cap_field: max_tokens, key_header: "x api"`:                        "no header's name",
		`cap_field: max_output_tokens`:                                      "max_completion_tokens, max_tokens or none",
	} {
		if _, err := upstreamOf(t, fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
}

// TestSign: the key stands where the policy says, and nowhere without one.
func TestSign(t *testing.T) {
	t.Setenv("AEGIS_TEST_KEY", "k")
	for fields, want := range map[string]map[string][]string{
		`cap_field: max_tokens`:                                                     {},
		`cap_field: max_tokens, api_key_env: AEGIS_TEST_KEY`:                        {"Authorization": {"Bearer k"}},
		`cap_field: max_tokens, api_key_env: AEGIS_TEST_KEY, key_header: x-api-key`: {"X-Api-Key": {"k"}},
	} {
		u, err := upstreamOf(t, fields)
		if err != nil {
			t.Fatal(err)
		}
		header := map[string][]string{}
		if err := u.Sign(header, nil); err != nil || !reflect.DeepEqual(header, want) {
			t.Errorf("%s: %v %v, want %v", fields, header, err, want)
		}
	}
	u, err := upstreamOf(t, `cap_field: max_tokens, api_key_env: AEGIS_TEST_NO_KEY`)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Sign(map[string][]string{}, nil); err == nil {
		t.Error("signed without a key")
	}
}

// TestClientPays: what the client sends for a credential is all that is signed with, and no key
// of the proxy's may stand beside.
func TestClientPays(t *testing.T) {
	u, err := upstreamOf(t, `cap_field: max_tokens, credential: client`)
	if err != nil {
		t.Fatal(err)
	}
	header, payer := map[string][]string{"X-Other": {"1"}}, map[string][]string{"Authorization": {"Bearer own"}}
	want := map[string][]string{"X-Other": {"1"}, "Authorization": {"Bearer own"}}
	if err := u.Sign(header, payer); err != nil || !reflect.DeepEqual(header, want) {
		t.Errorf("signed %v: %v", header, err)
	}
	if err := u.Sign(map[string][]string{}, nil); !errors.Is(err, policy.ErrNoCredential) {
		t.Errorf("signed without a credential: %v", err)
	}
	for fields, want := range map[string]string{
		`credential: client, api_key_env: A`:      "api_key_env has no use beside credential: client",
		`credential: client, api_key_file: a`:     "api_key_file has no use beside credential: client",
		`credential: client, key_header: x-api-k`: "key_header has no use beside credential: client",
		`credential: theirs`:                      "write proxy or client",
	} {
		if _, err := upstreamOf(t, `cap_field: max_tokens, `+fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
}

// TestDialectsAreThoseThatAreSpoken: what a policy can name is what the proxy knows.
func TestDialectsAreThoseThatAreSpoken(t *testing.T) {
	var names []string
	for _, d := range dialects.All() {
		names = append(names, d.Name())
	}
	if got := policy.Dialects(); !reflect.DeepEqual(got, names) {
		t.Errorf("a policy knows %v, the proxy speaks %v", got, names)
	}
}

// TestPoliciesFromBeforeDialects: one that was written before there were dialects means
// what it meant.
func TestPoliciesFromBeforeDialects(t *testing.T) {
	p, err := policy.Load("testdata/before_dialects.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]policy.Speech{
		"openai": {Dialect: "openai", BaseURL: "https://api.openai.com/v1", CapField: "max_completion_tokens", StreamUsage: true},
		"azure":  {Dialect: "openai", BaseURL: "https://example.openai.azure.com/openai/v1", CapField: "max_completion_tokens", StreamUsage: true},
		"local":  {Dialect: "openai", BaseURL: "http://localhost:11434/v1", CapField: "max_tokens", StreamUsage: true},
	}
	for name, speech := range want {
		u := p.Upstreams[name]
		if u.KeyHeader != "" || len(u.Speaks) != 1 || !reflect.DeepEqual(u.Speaks[0], speech) {
			t.Errorf("%s speaks %+v, want %+v", name, u.Speaks, speech)
		}
	}
	if before, err := os.ReadFile("testdata/before_dialects.yaml"); err != nil || strings.Contains(string(before), "dialects") {
		t.Errorf("the file names dialects (%v)", err)
	}
}
