package admission_test

import (
	"mime"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/internal/admission"
)

// FuzzForeignCharset: a charset that another reader of the header finds is found.
func FuzzForeignCharset(f *testing.F) {
	for _, header := range []string{"application/json", "application/json; charset=utf-7", `a/b;x="y;charset=utf-8";charset="utf-16"`, "a/b; CHARSET = UTF-32 ;", "text/plain;charset=utf-8,a/b"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		_, params, err := mime.ParseMediaType(header)
		if err != nil {
			return
		}
		charset := strings.ToLower(strings.Trim(params["charset"], " \t\"'"))
		_, extended := params["charset*"]
		switch charset {
		case "", "utf-8", "utf8", "us-ascii", "ascii":
			return
		}
		if _, foreign := admission.ForeignCharset([]string{header}); !foreign && !extended {
			t.Errorf("%q is in %q", header, charset)
		}
	})
}
