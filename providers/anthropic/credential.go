package anthropic

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

// Why a request has no credential.
var (
	errNoKey = unidentified("no API key: send one tenant key as x-api-key or as Authorization: Bearer")
	errTwo   = unidentified("two API keys that differ: send one tenant key, as x-api-key or as Authorization: Bearer")
)

func unidentified(message string) *call.Denial {
	return &call.Denial{
		Class: call.Unidentified, Code: "invalid_api_key", Retry: call.RetryNever, Message: "" + message,
	}
}

// places are where a key may stand.
var places = []string{"X-Api-Key", "Api-Key", "Authorization"}

// Payer returns who pays: the key or the token of a login, and the accounts that withheld names.
func (Dialect) Payer(h providers.Head) map[string][]string {
	return providers.Named(h.Header, slices.Concat(places, withheld))
}

// Credential returns the key that stands in x-api-key, in Authorization as a bearer
// token, or in api-key, where the SDKs for Azure repeat it. It may stand in several
// places; two that differ are refused, and an empty one is absent.
func (Dialect) Credential(h providers.Head) (string, error) {
	found := ""
	for _, place := range places {
		for _, value := range h.Header[place] {
			key := keyIn(place, value)
			if found != "" && key != "" && key != found {
				return "", errTwo
			}
			if key != "" {
				found = key
			}
		}
	}
	if found == "" {
		return "", errNoKey
	}
	return found, nil
}

// keyIn is the key that a header holds. Another scheme than Bearer is no key that a
// tenant has, and so differs from all that are.
func keyIn(place, value string) string {
	value = strings.TrimSpace(value)
	if place != "Authorization" {
		return value
	}
	scheme, secret, _ := strings.Cut(value, " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(secret)
	}
	return value
}
