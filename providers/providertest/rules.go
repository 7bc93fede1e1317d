package providertest

import (
	"io"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// routes: each stands in the table once, and its own path leads to it.
func (s *Suite) routes(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range s.Dialect.Routes() {
		id := r.Method + " " + r.Path
		if seen[id] {
			t.Errorf("%s stands there twice", id)
		}
		seen[id] = true
		if (r.Why != "") != (r.Kind == providers.Denied) {
			t.Errorf("%s is of kind %d, and is denied because %q", id, r.Kind, r.Why)
		}
		if r.Operation == "" {
			t.Errorf("%s has no name", id)
		}
		path := strings.NewReplacer("{", "", "}", "").Replace(r.Path)
		op, ok := s.Dialect.Match(providers.Head{Method: r.Method, Path: path, Header: s.Header})
		if !ok || op.Path != r.Path {
			t.Errorf("%s %s leads to %q", r.Method, path, op.Path)
		}
	}
	for _, path := range [...]string{"", "/", "//", "/v1", "/v1/", "/../v1/models", "/v1/no/such/route"} {
		if op, ok := s.Dialect.Match(providers.Head{Method: "POST", Path: path, Header: s.Header}); ok {
			t.Errorf("POST %q leads to %q", path, op.Path)
		}
	}
}

// credentials: a key is found in each place, two that differ are refused, and none leaves but as who
// pays, to an upstream that takes that.
func (s *Suite) credentials(t *testing.T) {
	if _, err := s.Dialect.Credential(providers.Head{Header: map[string][]string{}}); err == nil {
		t.Error("no key is one")
	}
	for i, put := range s.Credentials {
		h := providers.Head{Method: "POST", Header: map[string][]string{}}
		put(&h, secret)
		if key, err := s.Dialect.Credential(h); key != secret || err != nil {
			t.Errorf("place %d: found %q: %v", i, key, err)
		}
		s.payer(t, h)
		for j, other := range s.Credentials {
			if i != j {
				both := providers.Head{Method: "POST", Header: map[string][]string{}, Query: h.Query}
				put(&both, secret)
				other(&both, "another")
				if key, err := s.Dialect.Credential(both); err == nil {
					t.Errorf("places %d and %d differ, and %q counts", i, j, key)
				}
			}
		}
	}
	for _, r := range s.Dialect.Routes() {
		if r.Kind == providers.Governed {
			s.keepsSecrets(t, r)
		}
	}
}

// payer: what says who pays is what the client sent, as it sent it, and nothing beside.
func (s *Suite) payer(t *testing.T, h providers.Head) {
	want := maps.Clone(h.Header)
	for _, other := range [...]string{"X-Other", "Cookie", "User-Agent", "Content-Type", "Proxy-Authorization", "X-Aegis-Key"} {
		h.Header[other] = []string{secret}
	}
	if got := s.Dialect.Payer(h); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
		t.Errorf("who pays is told by %v, want %v", got, want)
	}
}

// known are headers by which some client of some API sends a key.
var known = []string{"Authorization", "X-Api-Key", "Api-Key"}

// keepsSecrets sends a request with a key in every place.
func (s *Suite) keepsSecrets(t *testing.T, r providers.Route) {
	h := providers.Head{
		Method: r.Method, Path: strings.NewReplacer("{", "", "}", "").Replace(r.Path),
		Header: map[string][]string{"X-Other": {"kept"}},
	}
	for _, put := range s.Credentials {
		put(&h, secret)
	}
	for _, name := range known {
		h.Header[name] = []string{"Bearer " + secret}
		h.Header[strings.ReplaceAll(name, "-", "_")] = []string{secret}
	}
	op, _ := s.Dialect.Match(h)
	standIn := s.StandIn(op, true)
	h = headOf(h, standIn)
	request, err := s.Dialect.Parse(op, h, standIn)
	if err != nil {
		t.Fatal(err)
	}
	offer, err := request.On(providers.Terms{Provider: s.Vendor, MaxOutput: 16, DefaultOutput: 16})
	if err != nil {
		t.Fatal(err)
	}
	sent := offer.Send(offer.Bound().Output.Cap)
	body, err := io.ReadAll(sent.Body)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"path": sent.Path, "query": sent.Query, "body": string(body)} {
		if strings.Contains(text, secret) {
			t.Errorf("%s: the client's key is in the %s: %s", r.Path, where, text)
		}
	}
	for name, values := range sent.Header {
		if strings.Contains(strings.Join(values, "\n"), secret) {
			t.Errorf("%s: the client's key is in %s", r.Path, name)
		}
	}
	for name := range s.Dialect.Payer(h) {
		if len(sent.Header[name]) > 0 {
			t.Errorf("%s: %s says who pays, and leaves for every upstream", r.Path, name)
		}
	}
	if len(sent.Header["X-Other"]) != 1 {
		t.Errorf("%s: another header is gone", r.Path)
	}
}

// denials: each class is told with a status of an error, in words that clients find.
func (s *Suite) denials(t *testing.T) {
	const message = `"no" for é`
	for class := call.Malformed; class <= call.Unavailable; class++ {
		for _, r := range append([]providers.Route{{}}, s.Dialect.Routes()...) {
			d := &call.Denial{Class: class, Code: "code", Message: message, Param: "param", Retry: call.RetryNever, Budget: "b", Redact: true}
			reply := s.Dialect.Deny(providers.Operation{Route: r}, providers.Head{Header: map[string][]string{}}, d)
			if reply.Status < 400 || reply.Status > 599 {
				t.Errorf("class %d has status %d", class, reply.Status)
			}
			if got := s.ErrorMessage(reply); got != "aegis: "+message {
				t.Errorf("class %d: clients read %q in %s", class, got, reply.Body)
			}
			if len(reply.Header["Retry-After"]) > 0 {
				t.Errorf("class %d: a retry is of no use, and Retry-After says %q", class, reply.Header["Retry-After"])
			}
		}
	}
}
