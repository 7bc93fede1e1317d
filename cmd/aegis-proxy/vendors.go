package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/policy"
)

// base is a variable that has the base URL of a vendor, less the version.
type base struct{ vendor, variable, version string }

// baseVariables are those by which clients are told another base URL, by the vendor
// whose key they bring. Anthropic's goes without a version.
var baseVariables = []base{
	{"openai", "OPENAI_BASE_URL", ""},
	{"openai", "OPENAI_API_BASE", ""},
	{"anthropic", "ANTHROPIC_BASE_URL", "/v1"},
	{"anthropic", "ANTHROPIC_API_BASE", "/v1"},
	{"google", "GOOGLE_GEMINI_BASE_URL", ""},
}

// baseVariable is where LiteLLM looks for a vendor's base URL, and where run puts it.
func baseVariable(v policy.Vendor) string { return strings.TrimSuffix(v.KeyEnv, "_KEY") + "_BASE" }

// keyVendors are the APIs that need a key.
func keyVendors() []policy.Vendor {
	return slices.DeleteFunc(policy.Vendors(), func(v policy.Vendor) bool { return v.KeyEnv == "" })
}

// keyedVendors are those whose keys are in the environment.
func keyedVendors() []policy.Vendor {
	return slices.DeleteFunc(keyVendors(), func(v policy.Vendor) bool { return os.Getenv(v.KeyEnv) == "" })
}

// reachedVendors are the APIs that a program started here would call: those whose keys
// are in the environment, at the base URLs that stand there too, and before them those
// named as NAME=URL.
func reachedVendors(named []string) ([]policy.Vendor, error) {
	list, err := namedVendors(named)
	if err != nil {
		return nil, err
	}
	for _, v := range keyedVendors() {
		if !slices.ContainsFunc(list, func(other policy.Vendor) bool { return other.Name == v.Name }) {
			list = append(list, elsewhere(v))
		}
	}
	if len(list) == 0 {
		return nil, errNoVendor()
	}
	return list, nil
}

func errNoVendor() error {
	var variables []string
	for _, v := range keyVendors() {
		variables = append(variables, v.KeyEnv)
	}
	return fmt.Errorf("no provider's key in the environment: set one of %s; or name a server that needs none, as in --upstream ollama=http://localhost:11434/v1",
		strings.Join(variables, ", "))
}

// namedVendors reads what --upstream names.
func namedVendors(named []string) (list []policy.Vendor, err error) {
	for _, text := range named {
		name, address, found := strings.Cut(text, "=")
		v, known := vendorWhere(func(v policy.Vendor) bool { return v.Name == name })
		switch {
		case !found || address == "":
			return nil, errors.New("--upstream: want NAME=URL, as in ollama=http://localhost:11434/v1")
		case !known:
			return nil, fmt.Errorf("--upstream %s=...: no API of that name is known; there is %s", name, strings.Join(vendorNames(), ", "))
		}
		if v.BaseURL, err = baseURLOf(v, address); err != nil {
			return nil, err
		}
		if os.Getenv(v.KeyEnv) == "" {
			v.KeyEnv = "" // nor does a server of one's own need any
		}
		list = append(list, v)
	}
	return list, nil
}

// baseURLOf checks the base URL that --upstream names. That of an API like Anthropic's may be
// without a version, as in ANTHROPIC_BASE_URL, and that of one like Google's may have one.
func baseURLOf(v policy.Vendor, text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("--upstream %s=...: want a URL that begins with http:// or https://, as in %s=http://localhost:8000/v1", v.Name, v.Name)
	}
	if v.Speaks() == "anthropic" && strings.Trim(u.Path, "/") == "" {
		return u.JoinPath("v1").String(), nil
	}
	return unversioned(v, text), nil
}

// unversioned is a base URL as a policy has it, which for an API like Google's is without
// the version.
func unversioned(v policy.Vendor, url string) string {
	if v.Speaks() == geminiDialect {
		return strings.TrimSuffix(strings.TrimRight(url, "/"), geminiVersion)
	}
	return url
}

func vendorNames() (names []string) {
	for _, v := range policy.Vendors() {
		names = append(names, v.Name)
	}
	return names
}

func vendorWhere(is func(policy.Vendor) bool) (policy.Vendor, bool) {
	all := policy.Vendors()
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	return policy.Vendor{}, false
}

// elsewhere is a vendor at the base URL that the environment has for it. Where that is
// another vendor's, it is that one, with this one's key.
func elsewhere(v policy.Vendor) policy.Vendor {
	for _, b := range append(slices.Clone(baseVariables), base{v.Name, baseVariable(v), ""}) {
		url := strings.TrimRight(os.Getenv(b.variable), "/")
		if b.vendor != v.Name || url == "" {
			continue
		}
		url = unversioned(v, url+b.version)
		if other, known := vendorWhere(func(o policy.Vendor) bool { return o.BaseURL == url }); known {
			other.KeyEnv = v.KeyEnv
			return other
		}
		v.BaseURL = url
		return v
	}
	return v
}
