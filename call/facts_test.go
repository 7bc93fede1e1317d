package call_test

import (
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
)

// TestNames: what a caller names is hashed, each by itself, and no name stays none.
func TestNames(t *testing.T) {
	const ofR = "454349e422f05297191ead13e21d3db5" // printf r | sha256sum | head -c 32
	for _, c := range []struct{ run, user, nonce string }{{"r", "u", "n"}, {"", "u", ""}, {"r", "", "r"}, {"", "", ""}} {
		var f call.Facts
		f.SetNames(c.run, c.user, c.nonce)
		if f.Run != call.HashName(c.run) || f.User != call.HashName(c.user) || f.Nonce != call.HashName(c.nonce) {
			t.Errorf("%+v: run %q, user %q, nonce %q", c, f.Run, f.User, f.Nonce)
		}
	}
	if got := call.HashName("r"); got != ofR || len(got) != call.NameBytes || call.HashName("") != "" {
		t.Errorf("the name of r is %q", got)
	}
}

// TestActionsByTheirEndpoint: the kind stands in the endpoint.
func TestActionsByTheirEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{"actions/payment": "payment", "chat/completions": "", "": "", "actions/": ""} {
		if got := (&call.Facts{Endpoint: endpoint}).Action(); got != want {
			t.Errorf("%q is an action of kind %q, want %q", endpoint, got, want)
		}
	}
}
