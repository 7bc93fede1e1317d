package anthropic_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/anthropic"
)

type headers = map[string][]string

func TestMatch(t *testing.T) {
	version := headers{"Anthropic-Version": {"2023-06-01"}}
	for _, row := range []struct {
		method, path string
		header       headers
		want         string
	}{
		{"POST", "/v1/messages", nil, "messages"},
		{"POST", "/messages", nil, "messages"},
		{"POST", "/v1/messages", version, "messages"},
		{"GET", "/v1/messages", version, ""},
		{"POST", "/v1/messages/count_tokens", nil, "messages/count_tokens"},
		{"POST", "/v1/messages/batches", nil, "messages/batches"},
		{"GET", "/v1/messages/batches/b_1/results", nil, "messages/batches/{message_batch_id}/results"},
		{"GET", "/v1/organizations/spend_limits/effective", version, "organizations/spend_limits/effective"},
		{"POST", "/v1/sessions/s/events", version, "sessions/{session_id}/events"},
		{"POST", "/v1/complete", nil, "complete"},
		{"GET", "/v1/models", version, "models"},
		{"GET", "/v1/models", nil, ""},
		{"GET", "/v1/models/claude-opus-5", version, "models/{model}"},
		{"POST", "/v1/files", version, "files"},
		{"POST", "/v1/files", nil, ""},
		{"POST", "/v1/chat/completions", version, ""},
		{"POST", "/v2/messages", version, ""},
	} {
		head := providers.Head{Method: row.method, Path: row.path, Query: "beta=true", Header: row.header}
		if op, ok := (anthropic.Dialect{}).Match(head); op.Operation != row.want || ok != (row.want != "") {
			t.Errorf("%s %s is %q, want %q", row.method, row.path, op.Operation, row.want)
		}
	}
}

// TestRoutesAreInOneList: whatever is denied says why.
func TestRoutesAreInOneList(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range (anthropic.Dialect{}).Routes() {
		if seen[r.Method+" "+r.Path] || (r.Why != "") != (r.Kind == providers.Denied) {
			t.Errorf("%s %s: twice, or without a reason: %+v", r.Method, r.Path, r)
		}
		seen[r.Method+" "+r.Path] = true
	}
}

func TestCredential(t *testing.T) {
	for _, row := range []struct {
		name   string
		header headers
		want   string
	}{
		{"x-api-key", headers{"X-Api-Key": {"k"}}, "k"},
		{"bearer", headers{"Authorization": {"Bearer k"}}, "k"},
		{"bearer in any case, with blanks", headers{"Authorization": {"bEARER  k "}}, "k"},
		{"both alike", headers{"Authorization": {"Bearer k"}, "X-Api-Key": {"k"}}, "k"},
		{"x-api-key and api-key alike", headers{"X-Api-Key": {"k"}, "Api-Key": {"k"}}, "k"},
		{"both that differ", headers{"Authorization": {"Bearer k"}, "X-Api-Key": {"l"}}, ""},
		{"two of one name that differ", headers{"X-Api-Key": {"k", "l"}}, ""},
		{"an empty x-api-key beside a bearer", headers{"Authorization": {"Bearer k"}, "X-Api-Key": {""}}, "k"},
		{"an empty bearer beside x-api-key", headers{"Authorization": {"Bearer "}, "X-Api-Key": {"k"}}, "k"},
		{"another scheme", headers{"Authorization": {"Basic azps"}, "X-Api-Key": {"k"}}, ""},
		{"an empty one", headers{"X-Api-Key": {" "}}, ""},
		{"none", headers{}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			key, err := anthropic.Dialect{}.Credential(providers.Head{Header: row.header})
			if key != row.want {
				t.Errorf("key %q, want %q", key, row.want)
			}
			if d, ok := errors.AsType[*call.Denial](err); ok != (row.want == "") || ok && d.Class != call.Unidentified {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestDeny(t *testing.T) {
	for _, row := range []struct {
		name   string
		denial call.Denial
		status int
		want   string
		header headers
	}{
		{"exhausted", call.Denial{Class: call.Exhausted, Code: "budget_exhausted", Message: "spend limit", Retry: call.RetryNever, Budget: "month", Redact: true}, 402,
			`{"type":"error","error":{"type":"billing_error","message":"aegis: spend limit","details":{"error_code":"budget_exhausted"},"aegis":{"budget":"month"}}}`,
			headers{"X-Should-Retry": {"false"}}},
		{"held", call.Denial{Class: call.Held, Message: "m", Retry: call.RetrySoon}, 429,
			`{"type":"error","error":{"type":"rate_limit_error","message":"aegis: m"}}`,
			headers{"X-Should-Retry": {"true"}, "Retry-After": {"1"}}},
		{"a rule", call.Denial{Class: call.Forbidden, Code: "no_bound", Param: "messages", Message: "m", Retry: call.RetryNever}, 403,
			`{"type":"error","error":{"type":"permission_error","message":"aegis: m","details":{"error_code":"no_bound","param":"messages"}}}`,
			headers{"X-Should-Retry": {"false"}}},
		{"no key", call.Denial{Class: call.Unidentified, Message: "m"}, 401, `{"type":"error","error":{"type":"authentication_error","message":"aegis: m"}}`, nil},
		{"nothing there", call.Denial{Class: call.NotFound, Message: "m"}, 404, `{"type":"error","error":{"type":"not_found_error","message":"aegis: m"}}`, nil},
		{"again", call.Denial{Class: call.Conflict, Message: "m", Retry: call.RetryNever}, 409, `{"type":"error","error":{"type":"conflict_error","message":"aegis: m"}}`, headers{"X-Should-Retry": {"false"}}},
		{"large", call.Denial{Class: call.TooLarge, Message: "m"}, 413, `{"type":"error","error":{"type":"request_too_large","message":"aegis: m"}}`, nil},
		{"down", call.Denial{Class: call.Down, Message: "m", Retry: call.RetrySoon}, 503, `{"type":"error","error":{"type":"api_error","message":"aegis: m"}}`, headers{"X-Should-Retry": {"true"}, "Retry-After": {"1"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			reply := anthropic.Dialect{}.Deny(providers.Operation{}, providers.Head{}, &row.denial)
			if reply.Status != row.status || string(reply.Body) != row.want+"\n" {
				t.Errorf("%d %s", reply.Status, reply.Body)
			}
			for _, name := range []string{"X-Should-Retry", "Retry-After"} {
				if strings.Join(reply.Header[name], ",") != strings.Join(row.header[name], ",") {
					t.Errorf("%s: %v, want %v", name, reply.Header[name], row.header[name])
				}
			}
		})
	}
	claude := providers.Head{Header: map[string][]string{"User-Agent": {"claude-cli/2.1.332"}}}
	down := &call.Denial{Class: call.Down, Message: "m", Retry: call.RetrySoon}
	if reply := (anthropic.Dialect{}).Deny(providers.Operation{}, claude, down); reply.Header["X-Should-Retry"][0] != "false" || reply.Header["Retry-After"] != nil || down.Retry != call.RetrySoon {
		t.Errorf("Claude Code is told to retry: %v", reply.Header)
	}
	for class := call.Malformed; class <= call.Unavailable; class++ {
		reply := anthropic.Dialect{}.Deny(providers.Operation{}, providers.Head{}, &call.Denial{Class: class})
		if strings.Contains(string(reply.Body), `"type":""`) {
			t.Errorf("class %d has no error type", class)
		}
	}
}

func TestModels(t *testing.T) {
	d := anthropic.Dialect{}
	models := []providers.Model{{ID: "claude-opus-5"}, {ID: "claude-sonnet-5"}}
	list := d.Models(providers.Operation{}, models)
	want := `{"data":[{"type":"model","id":"claude-opus-5","display_name":"claude-opus-5","created_at":"1970-01-01T00:00:00Z"},` +
		`{"type":"model","id":"claude-sonnet-5","display_name":"claude-sonnet-5","created_at":"1970-01-01T00:00:00Z"}],` +
		`"first_id":"claude-opus-5","last_id":"claude-sonnet-5","has_more":false}` + "\n"
	if list.Status != 200 || string(list.Body) != want {
		t.Errorf("%d %s", list.Status, list.Body)
	}
	if none := d.Models(providers.Operation{}, nil); string(none.Body) != `{"data":[],"first_id":null,"last_id":null,"has_more":false}`+"\n" {
		t.Errorf("no models: %s", none.Body)
	}
	one := d.Models(providers.Operation{Params: map[string]string{"model": "claude-sonnet-5"}}, models[1:])
	if one.Status != 200 || !strings.Contains(string(one.Body), `"id":"claude-sonnet-5"`) {
		t.Errorf("%d %s", one.Status, one.Body)
	}
}
