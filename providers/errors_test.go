package providers_test

import (
	"encoding/json"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers"
)

func TestAppendError(t *testing.T) {
	tests := []struct {
		name string
		err  providers.Error
		want string
	}{
		{"without details",
			providers.Error{Status: 400, Type: "invalid_request_error", Message: "aegis: n must be an integer", Param: "n"},
			`{"error":{"message":"aegis: n must be an integer","type":"invalid_request_error","param":"n","code":null}}`},
		{"budget",
			providers.Error{Status: 402, Type: "insufficient_quota", Code: "insufficient_quota", Message: `aegis: budget "team" is used up`,
				Details: providers.Details{Budget: "team", Limit: "1.5", Spent: "1.4", Needed: "0.2", ResetsAt: "2026-01-01T00:00:00Z"}},
			`{"error":{"message":"aegis: budget \"team\" is used up","type":"insufficient_quota","param":null,"code":"insufficient_quota",` +
				`"aegis":{"budget":"team","limit":"1.5","spent":"1.4","needed":"0.2","resets_at":"2026-01-01T00:00:00Z"}}}`},
		{"all details",
			providers.Error{Details: providers.Details{Budget: "b", Limit: "1", Spent: "2", Held: "3", Needed: "4", ResetsAt: "5", LargestCap: "6"}},
			`{"error":{"message":"","type":"","param":null,"code":null,` +
				`"aegis":{"budget":"b","limit":"1","spent":"2","held":"3","needed":"4","resets_at":"5","largest_cap":"6"}}}`},
		{"what JSON must escape",
			providers.Error{Message: "a\"\\\n\x00\u2028é", Type: "bad \xff"},
			`{"error":{"message":"a\"\\\n\u0000` + "\u2028" + `é","type":"bad ` + "\ufffd" + `","param":null,"code":null}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := providers.AppendError(nil, &tt.err)
			if string(got) != tt.want+"\n" {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !json.Valid(got) {
				t.Error("not JSON")
			}
		})
	}
}

func TestErrorMessage(t *testing.T) {
	err := &providers.Error{Status: 403, Message: "aegis: no"}
	if got := err.Error(); got != "403: aegis: no" {
		t.Error(got)
	}
}
