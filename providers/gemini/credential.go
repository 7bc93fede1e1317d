package gemini

import (
	"net/url"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// keyHeader is where the SDKs put the key.
const keyHeader = "X-Goog-Api-Key"

// keyParameter is where it stands in the query of older clients.
const keyParameter = "key"

// Why a request has no credential.
var (
	errNoKey = unidentified("no API key: send one tenant key as x-goog-api-key, as key in the query, or as Authorization: Bearer")
	errTwo   = unidentified("two API keys that differ: send one tenant key, as x-goog-api-key, as key in the query, or as Authorization: Bearer")
)

func unidentified(message string) *call.Denial {
	return &call.Denial{Class: call.Unidentified, Code: "invalid_api_key", Retry: call.RetryNever, Message: message}
}

// Credential returns the key that stands in x-goog-api-key, in Authorization as a bearer token, or as key in the
// query. It may stand in several places; two that differ are refused, and an empty one is absent.
func (Dialect) Credential(h providers.Head) (string, error) {
	found := ""
	for _, key := range keysIn(h) {
		if found != "" && key != "" && key != found {
			return "", errTwo
		}
		if key != "" {
			found = key
		}
	}
	if found == "" {
		return "", errNoKey
	}
	return found, nil
}

// Payer returns who pays: the key or the token of a login, and the project that may be billed. A key in the query
// travels to nobody.
func (Dialect) Payer(h providers.Head) map[string][]string {
	return providers.Named(h.Header, withheld)
}

// keysIn are the keys of a request, some of them perhaps empty.
func keysIn(h providers.Head) (keys []string) {
	for _, value := range h.Header[keyHeader] {
		keys = append(keys, strings.TrimSpace(value))
	}
	for _, value := range h.Header["Authorization"] {
		keys = append(keys, bearer(value))
	}
	return append(keys, keysInQuery(h.Query)...)
}

// keysInQuery are the keys of a query.
func keysInQuery(query string) (keys []string) {
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || plain != keyParameter {
			continue
		}
		key, err := url.QueryUnescape(value)
		if err != nil {
			key = value // no tenant has such a key
		}
		keys = append(keys, strings.TrimSpace(key))
	}
	return keys
}

// bearer is the key of an Authorization header. Another scheme than Bearer is no key that a tenant has, and so
// differs from all that are.
func bearer(value string) string {
	value = strings.TrimSpace(value)
	scheme, secret, _ := strings.Cut(value, " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(secret)
	}
	return value
}
