package openai_test

import (
	"encoding/json"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

func TestAppendError(t *testing.T) {
	tests := []struct {
		name string
		err  openai.Error
		want string
	}{
		{"without details",
			openai.Error{Status: 400, Type: "invalid_request_error", Message: "aegis: n must be an integer", Param: "n"},
			`{"error":{"message":"aegis: n must be an integer","type":"invalid_request_error","param":"n","code":null}}`},
		{"budget",
			openai.Error{Status: 402, Type: "insufficient_quota", Code: "insufficient_quota", Message: `aegis: budget "team" is used up`,
				Details: openai.Details{Budget: "team", Limit: "1.5", Spent: "1.4", Needed: "0.2", ResetsAt: "2026-01-01T00:00:00Z"}},
			`{"error":{"message":"aegis: budget \"team\" is used up","type":"insufficient_quota","param":null,"code":"insufficient_quota",` +
				`"aegis":{"budget":"team","limit":"1.5","spent":"1.4","needed":"0.2","resets_at":"2026-01-01T00:00:00Z"}}}`},
		{"all details",
			openai.Error{Details: openai.Details{Budget: "b", Limit: "1", Spent: "2", Held: "3", Needed: "4", ResetsAt: "5", LargestCap: "6"}},
			`{"error":{"message":"","type":"","param":null,"code":null,` +
				`"aegis":{"budget":"b","limit":"1","spent":"2","held":"3","needed":"4","resets_at":"5","largest_cap":"6"}}}`},
		{"what JSON must escape",
			openai.Error{Message: "a\"\\\n\x00\u2028é", Type: "bad \xff"},
			`{"error":{"message":"a\"\\\n\u0000` + "\u2028" + `é","type":"bad ` + "\ufffd" + `","param":null,"code":null}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := openai.AppendError(nil, &tt.err)
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
	err := &openai.Error{Status: 403, Message: "aegis: no"}
	if got := err.Error(); got != "403: aegis: no" {
		t.Error(got)
	}
}
