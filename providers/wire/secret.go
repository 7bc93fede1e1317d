package wire

import (
	"slices"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/internal/names"
)

// SecretEnds are the ends of names under which a credential is sent, squeezed.
var SecretEnds = []string{
	"apikey", "accesskey", "accesskeyid", "secret", "secretkey", "secretaccesskey", "accesstoken", "authtoken",
	"bearertoken", "idtoken", "sessiontoken", "securitytoken", "adtoken", "subscriptionkey", "authorization",
	"credential", "credentials", "password", "passwd", "cookie", "jwtassertion",
}

// Secret reports whether a name, of a header, a parameter or a member, is one under which
// a credential is sent. Those of a client go to no upstream.
func Secret(name string) bool {
	plain := Squeezed(name)
	switch plain {
	case "key", "token", "auth", "sig", "signature", "code":
		return true
	}
	return slices.ContainsFunc(SecretEnds, func(end string) bool { return strings.HasSuffix(plain, end) })
}

// Squeezed is a name without its case and what joins its words.
func Squeezed(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r == ' ' || r == '$' {
			return -1
		}
		return r
	}, names.Fold(name))
}
