package openai_test

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

func TestMatch(t *testing.T) {
	for _, row := range []struct {
		method, path, want string
	}{
		{"POST", "/v1/chat/completions", call.ChatCompletions},
		{"POST", "/chat/completions", call.ChatCompletions},
		{"POST", "/v1/completions", call.Completions},
		{"POST", "/v1/embeddings", call.Embeddings},
		{"GET", "/v1/models", "models"},
		{"POST", "/completions", call.Completions},
		{"GET", "/models", "models"},
		{"GET", "/v1/completions", ""},
		{"post", "/v1/chat/completions", ""},
		{"POST", "/v1/chat/completions/", ""},
		{"POST", "//chat/completions", ""},
		{"DELETE", "/v1/models", ""},
		{"POST", "", ""},
		{"POST", "/v1/v1/chat/completions", ""},
		{"POST", "/v1beta/openai/chat/completions", call.ChatCompletions},
		{"POST", "/v1/openai/embeddings", call.Embeddings},
		{"GET", "/v1beta/openai/models/gemini-2.5-pro", "models/{model}"},
		{"POST", "/v1beta/chat/completions", ""},
		{"POST", "/openai/chat/completions", ""},
		{"POST", "/v1beta/openai", ""},
		{"POST", "/v1beta/openai/v1/chat/completions", ""},
		{"POST", "/v1chat/completions", ""},
		{"POST", "/v2/chat/completions", ""},
		{"POST", "/v1/respond", ""},
		{"POST", "/v1/responses", "responses"},
		{"GET", "/v1/files/f1/content", "files/{file_id}/content"},
	} {
		if op, ok := (openai.Dialect{}).Match(providers.Head{Method: row.method, Path: row.path}); op.Operation != row.want || ok != (row.want != "") {
			t.Errorf("%s %s is %q, want %q", row.method, row.path, op.Operation, row.want)
		}
	}
}

func TestCredential(t *testing.T) {
	type headers = map[string][]string
	for _, row := range []struct {
		name   string
		header headers
		want   string
	}{
		{"bearer", headers{"Authorization": {"Bearer k"}}, "k"},
		{"bearer in any case, with blanks", headers{"Authorization": {"bEARER  k "}}, "k"},
		{"twice", headers{"Authorization": {"Bearer k", "Bearer k"}}, ""},
		{"another scheme", headers{"Authorization": {"Basic k"}}, ""},
		{"an empty bearer", headers{"Authorization": {"Bearer "}}, ""},
		{"in another header", headers{"Api-Key": {"k"}, "X-Api-Key": {"k"}}, ""},
		{"a bare token", headers{"Authorization": {"k"}}, ""},
		{"none", headers{}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			key, err := openai.Dialect{}.Credential(providers.Head{Header: row.header})
			if key != row.want {
				t.Errorf("key %q, want %q", key, row.want)
			}
			if d, ok := errors.AsType[*call.Denial](err); ok != (row.want == "") || ok && (d.Class != call.Unidentified || d.Code != "no_key") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// chatOn parses a chat and bounds it.
func chatOn(t *testing.T, body string, header map[string][]string, terms providers.Terms) (providers.Offer, error) {
	t.Helper()
	h := providers.Head{Method: "POST", Path: "/v1/chat/completions", Query: "api-version=b%20c", Header: header}
	op, _ := openai.Dialect{}.Match(h)
	r, err := openai.Dialect{}.Parse(op, h, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r.On(terms)
}

var terms = providers.Terms{Provider: "openai", MaxOutput: 100, Obeys: providers.Obeys{CapField: openai.FieldMaxCompletionTokens, StreamUsage: true}}

func TestOffer(t *testing.T) {
	header := map[string][]string{"Authorization": {"Bearer k"}, "Api_key": {"k"}, "Openai-Organization": {"o"}, "X-Other": {"a", "b"}, "Content-Type": {"application/json; charset=utf-8"}}
	offer, err := chatOn(t, `{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}],"stream":true}`, header, terms)
	if err != nil {
		t.Fatal(err)
	}
	b := offer.Bound()
	if b.Input.Fixed == 0 || strings.Join(b.Input.Texts, ",") != "user,hello" || !b.Input.Exact || b.Input.Contexts != 1 {
		t.Errorf("input %+v", b.Input)
	}
	if b.Output.Cap != 100 || b.Output.Choices != 1 || b.Output.Fit != providers.Enforced {
		t.Errorf("output %+v", b.Output)
	}
	sent := offer.Send(7)
	if sent.Path != "/chat/completions" || sent.Query != "api-version=b%20c" {
		t.Errorf("sent to %q with %q", sent.Path, sent.Query)
	}
	if want := (map[string][]string{"X-Other": {"a", "b"}, "Content-Type": {"application/json"}}); !reflect.DeepEqual(sent.Header, want) {
		t.Errorf("headers %v, want %v", sent.Header, want)
	}
	body, _ := io.ReadAll(sent.Body)
	if want := `{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}],"stream":true,"max_completion_tokens":7,"stream_options":{"include_usage":true},"service_tier":"default"}`; string(body) != want {
		t.Errorf("body %s", body)
	}
	m := sent.Meter(providers.Answer{Status: 200, Header: map[string][]string{"Content-Type": {"text/event-stream"}}, Framed: true})
	if edits, sure := m.Edits(); !edits || sure {
		t.Errorf("edits %v, sure %v", edits, sure)
	}
	stream := `data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}` + "\n\n" + `data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}` + "\n\ndata: [DONE]\n\n"
	got := string(m.Feed([]byte(stream)))
	if want := `data: {"choices":[{"delta":{"content":"hi"}}]}` + "\n\ndata: [DONE]\n\n"; got != want {
		t.Errorf("passed %q", got)
	}
	if seen, complete := m.Seen(); seen != 2 || !complete {
		t.Errorf("saw %d tokens, complete %v", seen, complete)
	}
}

func TestUnboundedOffer(t *testing.T) {
	for _, row := range []struct {
		name, body, provider, member, message string
	}{
		{"a member", `{"model":"m","messages":[],"max_tokens":1,"provider":{}}`, "openai", "provider", "because of provider"},
		{"a tier", `{"model":"m","messages":[],"max_tokens":1,"service_tier":"priority"}`, "openai", "service_tier priority", "because of service_tier"},
		{"an image", `{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{"url":"u"}}]}],"max_tokens":1}`, "openai", "messages.content.image_url", "no published rule"},
		{"no cap", `{"model":"m","messages":[]}`, "openai", "", "default_output_cap"},
	} {
		t.Run(row.name, func(t *testing.T) {
			offer, err := chatOn(t, row.body, nil, providers.Terms{Provider: row.provider})
			u, ok := errors.AsType[*providers.Unbounded](err)
			if offer != nil || !ok || u.Causes[0].Member != row.member || !strings.Contains(u.Error(), row.message) {
				t.Errorf("%v, want %q, %q", err, row.member, row.message)
			}
		})
	}
}

// TestStop: a stream that is stopped ends with an error, unless half an event was sent.
func TestStop(t *testing.T) {
	denial := &call.Denial{Class: call.Forbidden, Code: "kill_switch", Message: "stopped"}
	offer, err := chatOn(t, `{"model":"gpt-4o","messages":[],"stream":true}`, nil, terms)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, kind, sent, want string }{
		{"between events", "text/event-stream", "data: {\"choices\":[]}\n\n", "\ndata: {\"error\":{\"message\":\"aegis: stopped\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"kill_switch\"}}\n\n"},
		{"inside one", "text/event-stream", "data: {\"choi", ""},
		{"in a document", "application/json", "{\"choi", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := offer.Send(1).Meter(providers.Answer{Status: 200, Header: map[string][]string{"Content-Type": {row.kind}}})
			m.Feed([]byte(row.sent))
			if got, whole := m.Stop(denial); string(got) != row.want || whole {
				t.Errorf("stopped with %q, want %q", got, row.want)
			}
		})
	}
}

func TestModels(t *testing.T) {
	reply := openai.Dialect{}.Models(providers.Operation{}, []providers.Model{{ID: "m", Owner: "u"}})
	if want := `{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"u"}]}` + "\n"; reply.Status != 200 || string(reply.Body) != want {
		t.Errorf("%d %s", reply.Status, reply.Body)
	}
	if got := string(openai.Dialect{}.Models(providers.Operation{}, nil).Body); got != `{"object":"list","data":[]}`+"\n" {
		t.Errorf("none: %s", got)
	}
}

func TestDeny(t *testing.T) {
	for _, row := range []struct {
		name   string
		denial call.Denial
		status int
		retry  string
		after  string
		body   string
	}{
		{"exhausted", call.Denial{Class: call.Exhausted, Code: "budget_exhausted", Message: "no", Retry: call.RetryNever, After: 5, Budget: "b", Redact: true},
			402, "false", "", `{"error":{"message":"aegis: no","type":"insufficient_quota","param":null,"code":"insufficient_quota","family":"invalid_request_error","aegis":{"budget":"b"}}}`},
		{"held", call.Denial{Class: call.Held, Message: "wait", Retry: call.RetrySoon},
			429, "true", "1", `{"error":{"message":"aegis: wait","type":"requests","param":null,"code":"rate_limit_exceeded"}}`},
		{"a rate", call.Denial{Class: call.TooMany, Message: "wait", After: 7},
			429, "", "7", `{"error":{"message":"aegis: wait","type":"requests","param":null,"code":"rate_limit_exceeded"}}`},
		{"forbidden", call.Denial{Class: call.Forbidden, Code: "model_not_allowed", Message: "no", Retry: call.RetryNever},
			403, "false", "", `{"error":{"message":"aegis: no","type":"invalid_request_error","param":null,"code":"model_not_allowed"}}`},
		{"no key", call.Denial{Class: call.Unidentified, Code: "no_key", Message: "who?", Retry: call.RetryNever},
			401, "false", "", `{"error":{"message":"aegis: who?","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`},
		{"malformed", call.Denial{Class: call.Malformed, Code: "invalid_request", Message: "n", Param: "n", Retry: call.RetryNever},
			400, "false", "", `{"error":{"message":"aegis: n","type":"invalid_request_error","param":"n","code":"invalid_request"}}`},
		{"the ledger is down", call.Denial{Class: call.Down, Code: "ledger_unavailable", Message: "down", Retry: call.RetrySoon},
			503, "true", "1", `{"error":{"message":"aegis: down","type":"server_error","param":null,"code":"ledger_unavailable"}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			reply := openai.Dialect{}.Deny(providers.Operation{}, providers.Head{}, &row.denial)
			first := func(name string) string { return strings.Join(reply.Header[name], ",") }
			if reply.Status != row.status || first("X-Should-Retry") != row.retry || first("Retry-After") != row.after {
				t.Errorf("status %d, retry %q after %q", reply.Status, first("X-Should-Retry"), first("Retry-After"))
			}
			if string(reply.Body) != row.body+"\n" {
				t.Errorf("body %s", reply.Body)
			}
		})
	}
}

// TestMediaInChats: audio and files are bounded by the model's context, or files by what the policy
// says of one, at providers that are known to bill them as input, and elsewhere where they are
// admitted, wherever they lie.
func TestMediaInChats(t *testing.T) {
	const (
		audio  = `{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}`
		file   = `{"type":"file","file":{"filename":"a.pdf","file_data":"AAAA"}}`
		stored = `{"type":"file","file":{"file_id":"file-1"}}`
		odd    = `{"type":"odd","x":[` + file + `]}`
	)
	admits := &call.Allow{}
	admits.Names[call.ExtraPart] = []string{"odd", "file", "input_audio"}
	heard := call.Of(call.AudioInput, call.CachedAudioInput, call.AudioCacheWrite)
	for _, row := range []struct {
		name, part string
		terms      providers.Terms
		fixed      int64 // of the input; 0: it is denied
		kinds      call.Kinds
	}{
		{"audio", audio, providers.Terms{Provider: "openai", Context: 9000}, 9001, heard},
		{"null", `{"type":"text","text":"x","input_audio":null,"file":null}`, providers.Terms{Provider: "openai", Context: 9000}, 10, 0},
		{"a file", file, providers.Terms{Provider: "azure", Context: 9000}, 9001, 0},
		{"two files of a known size", file + "," + file, providers.Terms{Provider: "openai", Context: 9000, MaxDocument: 1000}, 2012, 0},
		{"one beside audio", file + "," + audio, providers.Terms{Provider: "openai", Context: 9000, MaxDocument: 1000}, 9001, heard},
		{"without a context", audio, providers.Terms{Provider: "openai"}, 0, 0},
		{"elsewhere", file, providers.Terms{Provider: "openrouter", Context: 9000}, 0, 0},
		{"elsewhere, admitted", file, providers.Terms{Provider: "openrouter", Context: 9000, Allow: admits}, 9001, 0},
		{"stored", stored, providers.Terms{Provider: "openai", Context: 9000}, 0, 0},
		{"inside another part", odd, providers.Terms{Provider: "openai", Context: 9000, Allow: allowing(call.ExtraPart, "odd")}, 0, 0},
		{"inside another part, admitted", odd, providers.Terms{Provider: "openai", Context: 9000, Allow: admits}, 9001, heard},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.terms.MaxOutput = 100
			offer, err := chatOn(t, `{"model":"gpt-4o","max_tokens":5,"messages":[{"role":"user","content":[`+row.part+`]}]}`, nil, row.terms)
			if _, no := errors.AsType[*providers.Unbounded](err); no != (row.fixed == 0) {
				t.Fatalf("%v", err)
			}
			if err != nil {
				return
			}
			in := offer.Bound().Input
			if in.Fixed != row.fixed || in.Kinds&heard != row.kinds {
				t.Errorf("%d tokens of %v, want %d", in.Fixed, in.Kinds, row.fixed)
			}
		})
	}
}
