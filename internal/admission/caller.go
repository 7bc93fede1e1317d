package admission

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// KeyHeader names a tenant's key, beside a credential that is the client's own.
const KeyHeader = "X-Aegis-Key"

// What is wrong with what a request says of who sends it.
var (
	errBadKey = Deny(call.Unidentified, "unknown_key", call.RetryNever, "this API key belongs to no tenant")
	// errBadName is of a key that stands beside a credential, which is not what is wrong.
	errBadName = Deny(call.Unidentified, "unknown_key", call.RetryNever, "the key in %s, or behind /key/ in the base URL, belongs to no tenant", KeyHeader)
	// ErrTwoKeys says that a request has two keys of tenants.
	ErrTwoKeys = Deny(call.Unidentified, "two_keys", call.RetryNever,
		"the request has two keys of this proxy that differ; send one: in %s, as /key/KEY in front of the path, or where the API takes its own", KeyHeader)
)

// errKeyInPath says that a key of ours stands where a path goes upstream.
var errKeyInPath = Deny(call.Unidentified, "key_in_path", call.RetryNever,
	"a key of this proxy stands inside of the path; send it in %s, or as /key/KEY in front of the path", KeyHeader)

// Caller is who sends a request: the tenant's key that is charged, and, where that is named
// beside it, the client's own credential.
type Caller struct {
	secret string              // of the tenant's key
	named  bool                // beside the API's credential
	own    string              // the client's own credential; "": none
	payer  map[string][]string // the headers that have it, and the client's account
}

// CallerOf reads who sends a request. The tenant's key is the one that the request's path or
// KeyHeader names, and then the API's credential is the client's own; without either it is
// the API's credential. It takes the key out of the head: nothing that leaves is made of it.
// named is the key that the path names, "" for none. The error is a *call.Denial.
func CallerOf(d providers.Dialect, head *providers.Head, h http.Header, named string) (*Caller, error) {
	secret, err := keyOf(h, named)
	if err != nil {
		return nil, err
	}
	if secret == "" {
		if secret, err = d.Credential(*head); err != nil {
			return nil, err
		}
		return &Caller{secret: secret}, forget(head, secret)
	}
	if err := forget(head, secret); err != nil {
		return nil, err
	}
	c := &Caller{secret: secret, named: true}
	c.own, c.payer = ownOf(d, *head)
	return c, nil
}

// ownOf returns a request's own credential and the headers of it and of its account; "" where
// it has none that a header carries, or two, of which no upstream gets either. What has a space in it is of another
// scheme than a bearer's, which may hide anything.
func ownOf(d providers.Dialect, head providers.Head) (string, map[string][]string) {
	own, err := d.Credential(head)
	if err != nil || strings.ContainsAny(own, " \t") {
		return "", nil
	}
	payer := d.Payer(head)
	if !carries(payer, own) {
		return "", nil
	}
	return own, payer
}

// carries reports whether a credential is in some headers. One that stands in the query alone
// travels nowhere.
func carries(header map[string][]string, credential string) bool {
	for _, values := range header {
		if slices.ContainsFunc(values, func(value string) bool { return strings.Contains(value, credential) }) {
			return true
		}
	}
	return false
}

// PayerOf are the headers by which a program's own request says who pays for it; nil where
// that is a key of the policy's.
func PayerOf(d providers.Dialect, head providers.Head, p *policy.Policy) map[string][]string {
	own, payer := ownOf(d, head)
	if _, ours := p.Identify(own); ours {
		return nil
	}
	return payer
}

// keyOf returns the key that is named beside the API's credential; "" for none.
func keyOf(h http.Header, named string) (string, error) {
	for _, value := range h[KeyHeader] {
		switch value = strings.TrimSpace(value); {
		case value == "":
		case named != "" && named != value:
			return "", ErrTwoKeys
		default:
			named = value
		}
	}
	return named, nil
}

// Key returns the key that is charged, by the policy. The error is a *call.Denial.
func (c *Caller) Key(p *policy.Policy) (*policy.Key, error) {
	key, ok := p.Identify(c.secret)
	switch {
	case !ok && c.named:
		return nil, errBadName
	case !ok:
		return nil, errBadKey
	}
	if _, ours := p.Identify(c.own); ours && c.own != "" {
		return nil, ErrTwoKeys
	}
	return key, nil
}

// Pays reports whether the client brings a credential of its own.
func (c *Caller) Pays() bool { return len(c.payer) > 0 }

// Payer are the headers that travel on to an upstream that takes the client's own credential.
func (c *Caller) Payer() map[string][]string { return c.payer }

// wholeSecret is how long a key is at least that is looked for inside of other text, in bytes.
// A shorter one, which nobody should have, may stand in a header by chance.
const wholeSecret = 16

// forget takes whatever has the tenant's key out of a head. Another key is an error: a client
// that has two does not know whom it is charged to. So is any in what is left of the path.
func forget(head *providers.Head, secret string) error {
	if has, err := holds([]string{head.Path}, secret); has || err != nil {
		return errKeyInPath
	}
	header := head.Header
	for name, values := range head.Header {
		has, err := holds(append(values[:len(values):len(values)], strings.ToLower(name)), secret)
		if err != nil {
			return err
		}
		if has {
			if len(header) == len(head.Header) {
				header = maps.Clone(header)
			}
			delete(header, name)
		}
	}
	head.Header = header
	return forgetQuery(head, secret)
}

// forgetQuery takes the parameters out of a query that have the tenant's key.
func forgetQuery(head *providers.Head, secret string) error {
	if head.Query == "" {
		return nil
	}
	var kept []string
	for pair := range strings.SplitSeq(head.Query, "&") {
		has, err := holds([]string{pair}, secret)
		if err != nil {
			return err
		}
		if !has {
			kept = append(kept, pair)
		}
	}
	head.Query = strings.Join(kept, "&")
	return nil
}

// holds reports whether one of some values has the tenant's key in it, as it is or escaped for
// a URL. The error is that another key is there.
func holds(values []string, secret string) (bool, error) {
	has := false
	for _, value := range values {
		if strings.Contains(value, "%") {
			if plain, err := url.QueryUnescape(value); err == nil {
				value = plain
			}
		}
		for other := range policy.SecretsIn(value) {
			if other != secret {
				return false, ErrTwoKeys
			}
			has = true
		}
		has = has || value == secret || len(secret) >= wholeSecret && strings.Contains(value, secret)
	}
	return has, nil
}
