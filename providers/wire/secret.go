package wire

import "github.com/aegis-proxy/aegis-proxy/internal/names"

// SecretEnds are the ends of names under which a credential is sent, squeezed.
var SecretEnds = []string{
	"apikey", "accesskey", "accesskeyid", "secret", "secretkey", "secretaccesskey", "accesstoken", "authtoken",
	"bearertoken", "idtoken", "sessiontoken", "securitytoken", "adtoken", "subscriptionkey", "authorization",
	"credential", "credentials", "password", "passwd", "cookie", "jwtassertion",
}

// Secret reports whether a name, of a header, a parameter or a member, is one under which
// a credential is sent. Those of a client go to no upstream.
func Secret(name string) bool {
	var room [squeezedBytes]byte
	plain := appendSqueezed(room[:0], name)
	switch string(plain) {
	case "key", "token", "auth", "sig", "signature", "code":
		return true
	}
	for _, end := range SecretEnds {
		if len(plain) >= len(end) && string(plain[len(plain)-len(end):]) == end {
			return true
		}
	}
	return false
}

// HidesUsage reports whether a name, of a header, a parameter or a member of the body itself,
// is one by which a server can be told what of an answer to show, and in what shape. Google
// (https://cloud.google.com/apis/docs/system-parameters), OData and llama.cpp have them.
func HidesUsage(name string) bool {
	var room [squeezedBytes]byte
	switch string(appendSqueezed(room[:0], name)) {
	case "fields", "xgoogfieldmask", "fieldmask", "responsefields", "select", "expand", "callback", "jsonp", "alt", "xgafv":
		return true
	}
	return false
}

// squeezedBytes has room for usual names.
const squeezedBytes = 64

// Squeezed is a name without its case and what joins its words.
func Squeezed(name string) string {
	var room [squeezedBytes]byte
	return string(appendSqueezed(room[:0], name))
}

func appendSqueezed(dst []byte, name string) []byte {
	dst = names.AppendFold(dst, name)
	kept := dst[:0]
	for _, c := range dst {
		if c != '-' && c != '_' && c != '.' && c != ' ' && c != '$' {
			kept = append(kept, c)
		}
	}
	return kept
}
