package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkListModels lists a policy of 2,000 entries.
func BenchmarkListModels(b *testing.B) {
	for name, match := range map[string]string{"names": "model-%d", "patterns": "model-%d*"} {
		b.Run(name, func(b *testing.B) {
			var entries strings.Builder
			for i := range 2_000 {
				fmt.Fprintf(&entries, "  - {match: %q, upstreams: [up], price: {input_usd_per_million: \"1\", output_usd_per_million: \"2\"}}\n", fmt.Sprintf(match, i))
			}
			w := newWorld(b, setting{upstreams: []http.Handler{raw(func(http.ResponseWriter) {})}, policy: "generation: 1\nupstreams: [{name: up, base_url: \"{up}/v1\", provider: openai, cap_field: max_tokens}]\nmodels:\n" +
				entries.String() + "tenants:\n  - name: acme\n    keys: [{id: k, sha256: {hash}}]\n"})
			r := request(b.Context(), "http://proxy/v1/models", "")
			r.Method = http.MethodGet
			for b.Loop() {
				recorder := httptest.NewRecorder()
				w.proxy.ServeHTTP(recorder, r)
				if recorder.Code != 200 {
					b.Fatal(recorder.Body)
				}
			}
		})
	}
}
