package openai_test

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
	"github.com/aegis-proxy/aegis-proxy/providers/providertest"
)

// Tools of a response, as agents send them.
const (
	webSearch = `{"type":"web_search","external_web_access":false}`
	function  = `{"type":"function","name":"f"}`
)

// TestHostedTools: what becomes of tools that run at the provider, by what the policy says.
func TestHostedTools(t *testing.T) {
	price := call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 3, Tokens: 1000}}
	strip := call.HostedTools{call.WebSearch: {When: call.StripHosted}, call.ImageGeneration: {When: call.StripHosted}}
	body := func(members string) string {
		return `{"model":"gpt-4o","input":"hi","max_output_tokens":50,` + members + `}`
	}
	for _, row := range []struct {
		name     string
		rules    call.HostedTools
		body     string
		provider string
		sent     string // members behind the cap; "" where it is denied
		stripped string
		allow    string
		calls    int64
		says     string
	}{
		{name: "denied", body: body(`"tools":[` + webSearch + `]`), says: "hosted_tools"},
		{name: "denied, and no policy prices it", body: body(`"tools":[{"type":"file_search"}]`), says: "{kind: file_search, when_offered: strip}"},
		{name: "admitted, with a key in it", allow: "mcp", body: body(`"tools":[{"type":"mcp","server_label":"s","authorization":"sk"}]`), says: "tools.authorization: it may hold a credential"},
		{name: "priced", rules: price, body: body(`"tools":[` + function + `,` + webSearch + `]`),
			sent: `"tools":[` + function + `,` + webSearch + `],"max_tool_calls":3`, calls: 3},
		{name: "priced, with fewer calls", rules: price, body: body(`"max_tool_calls":2,"tools":[` + webSearch + `]`),
			sent: `"max_tool_calls":2,"tools":[` + webSearch + `]`, calls: 2},
		{name: "priced, with more calls", rules: price, body: body(`"max_tool_calls":9,"tools":[` + webSearch + `]`),
			sent: `"max_tool_calls":3,"tools":[` + webSearch + `]`, calls: 3},
		{name: "priced, and chosen", rules: price, body: body(`"tool_choice":{"type":"web_search"},"tools":[` + webSearch + `]`),
			sent: `"tool_choice":{"type":"web_search"},"tools":[` + webSearch + `],"max_tool_calls":3`, calls: 3},
		{name: "priced, and not offered", rules: price, body: body(`"tools":[` + function + `]`), sent: `"tools":[` + function + `]`},
		{name: "chosen, and not offered", rules: price, body: body(`"tool_choice":{"type":"web_search"}`), says: "web_search"},
		{name: "priced, in an item", rules: price, body: `{"model":"gpt-4o","max_output_tokens":50,"input":[{"type":"additional_tools","tools":[` + webSearch + `]}]}`,
			sent: `"input":[{"type":"additional_tools","tools":[` + webSearch + `]}],"max_tool_calls":3`, calls: 3},
		{name: "a preview has another fee", rules: price, body: body(`"tools":[{"type":"web_search_preview"}]`), says: "its fee is not the one"},
		{name: "a member that nobody knows", rules: price, body: body(`"tools":[{"type":"web_search","deep":true}]`), says: "tools.deep"},
		{name: "beside one that nobody prices", rules: price, body: body(`"tools":[` + webSearch + `,{"type":"mcp","server_url":"u"}]`), says: "mcp"},
		{name: "a server that may not obey the cap", rules: price, provider: "xai", body: body(`"tools":[` + webSearch + `]`), says: "max_tool_calls"},
		{name: "stripped, the only one", rules: strip, body: body(`"tools":[ ` + webSearch + ` ]`), sent: `"tools":[  ]`, stripped: "web_search"},
		{name: "stripped, the first", rules: strip, body: body(`"tools":[` + webSearch + `, ` + function + `]`), sent: `"tools":[` + function + `]`, stripped: "web_search"},
		{name: "stripped, the last two", rules: strip, body: body(`"tools":[` + function + `, ` + webSearch + ` ,{"type":"image_generation"}]`),
			sent: `"tools":[` + function + `]`, stripped: "web_search,image_generation"},
		{name: "stripped, between", rules: strip, body: body(`"tools":[{"type":"web_search_preview"},` + function + `,` + webSearch + `,{"type":"local_shell"}]`),
			sent: `"tools":[` + function + `,{"type":"local_shell"}]`, stripped: "web_search_preview,web_search"},
		{name: "stripped, and chosen", rules: strip, body: body(`"tool_choice":{"type":"web_search"},"tools":[` + webSearch + `]`), says: "takes it out"},
		{name: "stripped, and one of those that may be chosen", rules: strip, body: body(`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"web_search"}]},"tools":[` + webSearch + `]`), says: "takes it out"},
		{name: "stripped, and the only one where one must be called", rules: strip, body: body(`"tool_choice":"required","tools":[` + webSearch + `,{"type":"image_generation"}]`), says: "there is no other"},
		{name: "stripped, and another one where one must be called", rules: strip, body: body(`"tool_choice":"required","tools":[` + webSearch + `,` + function + `]`), sent: `"tools":[` + function + `]`, stripped: "web_search"},
		{name: "stripped, and used before", rules: strip, body: `{"model":"gpt-4o","input":[{"type":"web_search_call","id":"ws","status":"completed"}],"tools":[` + webSearch + `]}`, says: "takes it out"},
		{name: "stripped, in an item", rules: strip, body: `{"model":"gpt-4o","input":[{"type":"additional_tools","tools":[` + webSearch + `]}]}`, says: "takes it out"},
		{name: "stripped, in a namespace", rules: strip, body: body(`"tools":[{"type":"namespace","name":"n","tools":[` + webSearch + `]}]`), says: "takes it out"},
	} {
		t.Run(row.name, func(t *testing.T) {
			terms := responseTerms
			terms.Tools = row.rules
			if row.provider != "" {
				terms.Provider = row.provider
			}
			if row.allow != "" {
				terms.Allow = allowing(call.ExtraTool, row.allow)
			}
			_, offer, err := responseOn(t, "/v1/responses", row.body, terms)
			if row.says != "" {
				no, ok := errors.AsType[*providers.Unbounded](err)
				if !ok || !strings.Contains(no.Error(), row.says) {
					t.Fatalf("%v, want %q", err, row.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sent, _ := io.ReadAll(offer.Send(50).Body)
			if !json.Valid(sent) || !strings.Contains(string(sent), row.sent+`,"service_tier"`) {
				t.Errorf("sent %s, want %s", sent, row.sent)
			}
			b := offer.Bound()
			if told := offer.Send(50).Removed.Tools; strings.Join(b.Stripped, ",") != row.stripped || !slices.Equal(told, b.Stripped) {
				t.Errorf("taken out were %q, told of are %q, want %q", b.Stripped, told, row.stripped)
			}
			if b.Input.Rereads != row.calls || b.Output.Rereads != row.calls {
				t.Errorf("%d and %d rounds, want %d", b.Input.Rereads, b.Output.Rereads, row.calls)
			}
			var fees call.Usage
			for _, line := range b.Beside {
				fees = line.Usage
			}
			if fees[call.Searches] != row.calls || fees[call.Input] != 1000*row.calls*(row.calls+1)/2 {
				t.Errorf("beside the call %s", fees)
			}
		})
	}
}

// TestHostedSearches: searches are counted as they are told, or else by the items of the
// output, where it is known to have any.
func TestHostedSearches(t *testing.T) {
	const (
		search = `{"type":"web_search_call","action":{"type":"search","query":"q"}}`
		open   = `{"type":"web_search_call","action":{"type":"open_page","url":"u"}}`
		usage  = `"usage":{"input_tokens":5,"output_tokens":1}`
	)
	terms := responseTerms
	terms.Tools = call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 4, Tokens: 1000}}
	for _, row := range []struct {
		name, response string
		want           int64
	}{
		{"none", `{"output":[],` + usage + `}`, 0},
		{"told", `{"output":[],` + usage + `,"tool_usage":{"web_search":{"num_requests":2}}}`, 2},
		{"by items", `{"output":[` + search + `,` + open + `,` + search + `],` + usage + `}`, 2},
		{"told as none", `{"output":[` + search + `],` + usage + `,"tool_usage":{"web_search":{"num_requests":0}}}`, 1},
		{"an output too long to look at", `{"output":[` + search + `,"` + strings.Repeat("x", 1<<21) + `"],` + usage + `}`, 4},
	} {
		for kind, answer := range map[string]string{
			"document": row.response,
			"stream":   event("response.completed", `,"response":`+row.response),
		} {
			if kind == "stream" && len(row.response) > 1<<20 {
				answer = "data: {\"type\":\"response.completed\",\"response\":" + row.response + "}\n\n"
			}
			_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":"hi","tools":[`+webSearch+`]}`, terms)
			if err != nil {
				t.Fatal(err)
			}
			m := offer.Send(50).Meter(providers.Answer{Status: 200, Framed: true})
			m.Feed([]byte(answer))
			m.Close(io.EOF)
			if r := m.Report(); !r.HasUsage || r.Lines[0].Usage[call.Searches] != row.want {
				t.Errorf("%s, a %s: %s, usage known: %v; want %d", row.name, kind, r.Lines[0].Usage, r.HasUsage, row.want)
			}
		}
	}
}

// TestRecordedSearches: recorded responses that searched stay within what is held for
// them under a policy that prices searches.
func TestRecordedSearches(t *testing.T) {
	seen := 0
	for _, r := range providertest.Recordings(t, "testdata/recordings") {
		head, terms, ok := place(r)
		if !ok || !r.Whole() || !strings.Contains(string(r.Request.Bytes()), `"web_search"`) || !strings.HasSuffix(head.Path, "/responses") {
			continue
		}
		op, _ := openai.Dialect{}.Match(head)
		request, err := openai.Dialect{}.Parse(op, head, r.Request.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		terms.Tools = call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 10, Tokens: 10_000}}
		offer, err := request.On(terms)
		if err != nil {
			t.Logf("%s: %v", r.ID, err)
			continue
		}
		seen++
		m := offer.Send(offer.Bound().Output.Cap).Meter(providers.Answer{Status: r.Response.Status, Header: r.Response.Header(), Framed: true})
		m.Feed(r.Response.Bytes())
		m.Close(io.EOF)
		used, in := m.Report().Lines[0].Usage, offer.Bound().Input
		beside := offer.Bound().Beside[0].Usage
		if most := (in.Fixed+in.Bytes())*(in.Rereads+1) + offer.Bound().Output.Cap*offer.Bound().Output.Rereads + beside[call.Input]; used.InputTokens() > most || used[call.Searches] > beside[call.Searches] {
			t.Errorf("%s used %s, held were %d and %s", r.ID, used, most, beside)
		}
		t.Logf("%s: %s", r.ID, used)
	}
	t.Logf("%d recordings", seen)
}

// TestToolsThatAreTold: tools that an item tells of, and does not offer, are none of the
// request's.
func TestToolsThatAreTold(t *testing.T) {
	r, _, err := responseOn(t, "/v1/responses",
		`{"model":"gpt-4o","input":[{"type":"mcp_list_tools","id":"m","server_label":"s","tools":[{"type":"function","name":"f"}]}]}`, responseTerms)
	if err != nil || len(r.Facts().Tools) != 0 {
		t.Errorf("%v are offered: %v", r.Facts().Tools, err)
	}
}

// TestSearchesOfferedTwice: what the provider says to the model of a search is counted for
// each that is offered.
func TestSearchesOfferedTwice(t *testing.T) {
	terms := responseTerms
	terms.Tools = call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 2}}
	fixed := func(tools string) int64 {
		_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":"hi","tools":[`+tools+`]}`, terms)
		if err != nil {
			t.Fatal(err)
		}
		return offer.Bound().Input.Fixed
	}
	const said = 2048 // tokens of each
	if one, two := fixed(webSearch), fixed(webSearch+","+webSearch); two < one+said {
		t.Errorf("one is %d tokens, two are %d", one, two)
	}
}

// TestEarlierSearches: a search that has an id may be kept with what it found, which is as
// much as the policy says of one. One without is what its text says.
func TestEarlierSearches(t *testing.T) {
	price := call.HostedTools{call.WebSearch: {When: call.PriceHosted, Calls: 2, Tokens: 1000}}
	const kept, told = `{"type":"web_search_call","id":"ws_1","action":{"type":"search","query":"q"}}`, `{"type":"web_search_call","action":{"type":"search","query":"q"}}`
	fixed := func(items string, rules call.HostedTools) int64 {
		terms := responseTerms
		terms.Tools = rules
		_, offer, err := responseOn(t, "/v1/responses", `{"model":"gpt-4o","input":[`+items+`]}`, terms)
		if err != nil {
			t.Fatal(err)
		}
		return offer.Bound().Input.Fixed
	}
	alone := fixed(told+","+told, price)
	if got := fixed(kept+","+kept, price); got != alone+2000 {
		t.Errorf("two that are kept are %d tokens, two that are told %d", got, alone)
	}
	if got := fixed(kept+","+kept, nil); got != alone {
		t.Errorf("two where none can have been made are %d tokens, told %d", got, alone)
	}
}
