package admission_test

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
)

// A setting is a policy with one upstream, one model and one tenant, and what each of them says
// beyond the least.
type setting struct{ provider, dialect, upstream, model, tenant string }

// with is the setting with a line of a denial at its place, by a number where the operator
// chooses one.
func (s setting) with(line, place string) setting {
	line = ", " + regexp.MustCompile(`\bN\b`).ReplaceAllString(line, "5")
	switch place {
	case "its upstream":
		s.upstream += line
	case "the model":
		s.model += strings.Replace(line, ": 5", ": 100000", 1)
	case "the tenant":
		s.tenant = line
	}
	return s
}

func (s setting) rules(t *testing.T) *gate.Rules {
	t.Helper()
	speaks := "cap_field: max_completion_tokens"
	if s.dialect == "anthropic" {
		speaks = "dialects: [{name: anthropic}]"
	}
	text := fmt.Sprintf(`generation: 1
upstreams: [{name: up, base_url: "http://localhost:1/v1", provider: %q, %s%s}]
models: [{match: "*", upstreams: [up]%s}]
tenants: [{name: acme%s}]
`, s.provider, speaks, s.upstream, s.model, s.tenant)
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	rules, err := gate.NewRules(p)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// denial is what a request is told under a setting; "" if it has a bound.
func (s setting) denial(t *testing.T, head providers.Head, body string) string {
	t.Helper()
	dialect, op, ok := dialects.All().Match(head)
	if !ok {
		t.Fatalf("%s is no operation", head.Path)
	}
	request, err := dialect.Parse(op, head, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	rules := s.rules(t)
	bid, err := admission.NewBid(rules, &policy.Key{Tenant: rules.Policy.Tenant("acme")}, request, admission.Origin{}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, denial := admission.Door{}.Bound(bid, request)
	switch {
	case denial == nil:
		return ""
	case denial.Reason != policy.NoBound:
		t.Fatalf("denied for %s: %s", denial.Reason, denial.Message)
	}
	return denial.Message
}

// told finds the lines of a policy in a denial, and where each belongs.
var told = regexp.MustCompile(`the line (.+?) at (its upstream|the model|the tenant) in the policy admits it`)

// TestEveryDenialNamesItsLine: a request whose cost has no bound is told, of each thing that has
// none, the line of the policy that admits it, or that there is none. The policy can hold that
// line, and with it the thing is admitted: what is denied then is something else.
func TestEveryDenialNamesItsLine(t *testing.T) {
	chat := func(members string) string {
		return `{"model":"m","max_completion_tokens":9,"messages":[{"role":"user","content":"x"}]` + members + `}`
	}
	part := func(part string) string {
		return `{"model":"m","max_completion_tokens":9,"messages":[{"role":"user","content":[` + part + `]}]}`
	}
	response := func(members string) string {
		return `{"model":"m","max_output_tokens":9,"input":"x"` + members + `}`
	}
	item := func(item string) string { return `{"model":"m","max_output_tokens":9,"input":[` + item + `]}` }
	message := func(members string) string { return `{"model":"m","max_tokens":9,"messages":[]` + members + `}` }
	block := func(block string) string {
		return `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[` + block + `]}]}`
	}
	const (
		chats, responses, messages = "/v1/chat/completions", "/v1/responses", "/v1/messages"
		strips                     = `, hosted_tools: [{kind: web_search, when_offered: strip}]`
		pays                       = `, hosted_tools: [{kind: web_search, when_offered: price, calls: 1, tokens: 5}]`
	)
	big := strings.Repeat("x", 200)
	for _, row := range []struct {
		name, path, body string
		none             bool // nothing in a policy admits it
		in               setting
	}{
		// Chats: what their lists lack, of each kind.
		{name: "a member", path: chats, body: chat(`,"foo":1`)},
		{name: "an object", path: chats, body: chat(`,"foo":{"bar":1}`)},
		{name: "a name that needs quotes", path: chats, body: chat(`,"f: {o\"o":1`)},
		{name: "a name in another script", path: chats, body: chat(`,"größe 模型":1`)},
		{name: "a name that begins with a space", path: chats, body: chat(`," yes":1`)},
		{name: "a name that YAML takes for something else", path: chats, body: chat(`,"null":1,"1e3":2,"~":3,"no":4`)},
		{name: "a name with a star", path: chats, body: chat(`,"foo*bar":1`)},
		{name: "a name that cannot be printed", path: chats, body: chat(`,"\u0007":1`), none: true},
		{name: "one whose beginning can", path: chats, body: chat(`,"foo\u0007":1`)},
		{name: "a longer one than is kept", path: chats, body: chat(`,"` + big + `":1`)},
		{name: "an empty name", path: chats, body: chat(`,"":1`), none: true},
		{name: "a part", path: chats, body: part(`{"type":"foo bar"}`)},
		{name: "a part without a type", path: chats, body: part(`{"text":"x"}`), none: true},
		{name: "audio", path: chats, body: part(`{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}`), in: setting{provider: "mistral"}},
		{name: "audio, by a model whose context is not known", path: chats, body: part(`{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}`)},
		{name: "a file", path: chats, body: part(`{"type":"file","file":{"filename":"a.pdf","file_data":"AAAA"}}`), in: setting{provider: "openrouter"}},
		{name: "a file that is stored", path: chats, body: part(`{"type":"file","file":{"file_id":"file-1"}}`)},
		{name: "an image", path: chats, body: part(`{"type":"image_url","image_url":{"url":"u"}}`)},
		{name: "audio of an earlier answer", path: chats, body: `{"model":"m","max_completion_tokens":9,"messages":[{"role":"assistant","audio":{"id":"a"}}]}`, none: true},
		{name: "a tool", path: chats, body: chat(`,"tools":[{"type":"foo"}]`)},
		{name: "a tool without a type", path: chats, body: chat(`,"tools":[{"name":"foo"}]`), none: true},
		{name: "a tier", path: chats, body: chat(`,"service_tier":"prio rity"`)},
		{name: "a query", path: chats + "?foo%20bar=1", body: chat("")},
		{name: "a header that costs", path: chats + "#X-Portkey-Config=a", body: chat("")},
		{name: "a beta, where they are denied", path: chats + "#OpenAI-Beta=foo bar", body: chat(""), in: setting{upstream: `, betas: deny`}},
		{name: "what overrides the cap", path: chats, body: chat(`,"n_predict":5`), none: true},
		{name: "a credential", path: chats, body: chat(`,"api_key":"x"`), none: true},
		{name: "what is laid over the body", path: chats, body: chat(`,"extra_body":{"messages":[1]}`), none: true},
		{name: "searches that nothing caps", path: chats, body: chat(`,"web_search_options":{}`)},
		{name: "a model that searches", path: chats, body: strings.Replace(chat(""), `"m"`, `"gpt-4o-search-preview"`, 1), none: true},
		{name: "a model that runs others", path: chats, body: strings.Replace(chat(""), `"m"`, `"compound"`, 1), none: true, in: setting{provider: "groq"}},
		{name: "a model that thinks beyond its cap", path: chats, body: strings.Replace(chat(""), `"m"`, `"qwen3-8b"`, 1), in: setting{provider: "bytedance", upstream: `, dialects: [{name: openai, cap_field: max_tokens}]`}},
		{name: "pictures to be made", path: chats, body: chat(`,"modalities":["image"]`), none: true},
		{name: "stored input", path: chats, body: `{"model":"m","max_completion_tokens":9,"messages":[{"role":"cache","content":"x"}]}`, none: true},
		{name: "no cap", path: chats, body: `{"model":"m","messages":[]}`},
		{name: "a cap of none", path: "/v1/completions", body: `{"model":"m","prompt":"x","max_tokens":0}`, none: true, in: setting{provider: "ollama"}},
		{name: "too much that nobody knows", path: chats, body: chat(many(200)), none: true},
		{name: "moderations elsewhere", path: "/v1/moderations", body: `{"input":"x"}`, none: true, in: setting{provider: "groq"}},

		// Responses.
		{name: "a response's member", path: responses, body: response(`,"turbo mode":true`)},
		{name: "an item", path: responses, body: item(`{"type":"tele port"}`)},
		{name: "a web search", path: responses, body: response(`,"tools":[{"type":"web_search"}]`)},
		{name: "a preview of it", path: responses, body: response(`,"tools":[{"type":"web_search_preview"}]`)},
		{name: "a preview of it, paid for", path: responses, body: response(`,"tools":[{"type":"web_search_preview"}]`), in: setting{tenant: pays}},
		{name: "a search of a provider that caps none", path: responses, body: response(`,"tools":[{"type":"web_search"}]`), in: setting{provider: "groq", tenant: pays}},
		{name: "a search that is taken out, and chosen", path: responses, body: response(`,"tool_choice":{"type":"web_search"},"tools":[{"type":"web_search"}]`), in: setting{tenant: strips}},
		{name: "the only tool, where one must be called", path: responses, body: response(`,"tool_choice":"required","tools":[{"type":"web_search"}]`), in: setting{tenant: strips}},
		{name: "a container", path: responses, body: response(`,"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]`)},
		{name: "a conversation", path: responses, body: response(`,"conversation":"c"`), none: true},
		{name: "a stored prompt", path: responses, body: response(`,"prompt":{"id":"p"}`), none: true},
		{name: "agents", path: responses, body: response(`,"multi_agent":{"enabled":true}`), none: true},
		{name: "several runs", path: responses, body: response(`,"reasoning":{"mode":"pro"}`), none: true},
		{name: "a compaction", path: responses, body: item(`{"type":"compaction_trigger"}`)},
		{name: "one that nobody knows", path: responses, body: response(`,"context_management":[{"type":"foo"}]`), none: true},
		{name: "an earlier response", path: responses, body: response(`,"previous_response_id":"resp_1"`)},
		{name: "an earlier response that nobody knows", path: responses, body: response(`,"previous_response_id":"resp_1"`), in: setting{tenant: `, when_response_unknown: deny`}},
		{name: "a file of a response", path: responses, body: item(`{"role":"user","content":[{"type":"input_file","file_data":"AAAA"}]}`)},
		{name: "a stored file of a response", path: responses, body: item(`{"role":"user","content":[{"type":"input_file","file_id":"f"}]}`)},
		{name: "audio of a response", path: responses, body: item(`{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}`)},
		{name: "an image of a response", path: responses, body: item(`{"role":"user","content":[{"type":"input_image","image_url":"u"}]}`)},
		{name: "a count elsewhere", path: "/v1/responses/input_tokens", body: `{"model":"m","input":"x"}`, none: true, in: setting{provider: "groq"}},

		// Messages.
		{name: "a message's member", path: messages, body: message(`,"zip zap":1`)},
		{name: "a member that costs", path: messages, body: message(`,"container":"c"`), none: true},
		{name: "a key", path: messages, body: message(`,"odd":{"api_key":"x"}`)},
		{name: "a block", path: messages, body: block(`{"type":"holo gram"}`)},
		{name: "a block without a type", path: messages, body: block(`{"text":"x"}`), none: true},
		{name: "an upload", path: messages, body: block(`{"type":"container_upload","file_id":"f"}`), none: true},
		{name: "an image from elsewhere", path: messages, body: block(`{"type":"image","source":{"type":"dream"}}`)},
		{name: "an image of a model that nobody knows", path: messages, body: strings.Replace(block(`{"type":"image","source":{"type":"url","url":"u"}}`), `"m"`, `"llava"`, 1), in: setting{provider: "groq"}},
		{name: "a document", path: messages, body: block(`{"type":"document","source":{"type":"url","url":"u"}}`)},
		{name: "a tool of the client's", path: messages, body: message(`,"tools":[{"type":"oracle_1","name":"o"}]`)},
		{name: "a search", path: messages, body: message(`,"tools":[{"type":"web_search_20250305","name":"web_search"}]`)},
		{name: "two searches", path: messages, body: message(`,"tools":[{"type":"web_search_20250305","name":"web_search"},{"type":"web_search_20250305","name":"again"}]`), in: setting{tenant: pays}},
		{name: "a search of another version", path: messages, body: message(`,"tools":[{"type":"web_search_29990101","name":"web_search"}]`)},
		{name: "an advisor", path: messages, body: message(`,"tools":[{"type":"advisor_20260301","name":"a","model":"m"}]`)},
		{name: "a search that is taken out, and chosen", path: messages, body: message(`,"tool_choice":{"type":"tool","name":"web_search"},"tools":[{"type":"web_search_20250305","name":"web_search"}]`), none: true, in: setting{tenant: strips}},
		{name: "servers", path: messages, body: message(`,"mcp_servers":[{"type":"url","url":"http://x","name":"n"}]`)},
		{name: "a call without a result", path: messages, body: block(`{"type":"server_tool_use","id":"i","name":"web_search","input":{}}`), none: true},
		{name: "a tier of messages", path: messages, body: message(`,"service_tier":"priority"`)},
		{name: "a compaction of messages", path: messages, body: message(`,"compaction":{"type":"summarize"}`)},
		{name: "a fallback that reads images", path: messages, body: strings.Replace(block(`{"type":"image","source":{"type":"url","url":"u"}}`), `"model":"m"`, `"model":"claude-opus-4-5","fallbacks":[{"model":"llava"}]`, 1), in: setting{provider: "groq"}},
		{name: "a fallback that reads pages", path: messages, body: strings.Replace(block(`{"type":"document","source":{"type":"url","url":"u"}}`), `"model":"m"`, `"model":"claude-opus-4-5","fallbacks":[{"model":"claude-sonnet-4-5"}]`, 1)},
		{name: "a place", path: messages, body: message(`,"inference_geo":"mars"`), none: true},
		{name: "a query of messages", path: messages + "?foo%20bar=1", body: message("")},
		{name: "a beta of messages, where they are denied", path: messages + "#Anthropic-Beta=foo bar", body: message(""), in: setting{upstream: `, betas: deny`}},
		{name: "thinking above the model's cap", path: messages, body: `{"model":"m","max_tokens":3000,"messages":[],"thinking":{"type":"enabled","budget_tokens":2000}}`, none: true, in: setting{model: `, max_output_tokens: 1500`}},
		{name: "no output elsewhere", path: messages, body: `{"model":"m","max_tokens":0,"messages":[]}`, none: true, in: setting{provider: "groq"}},
		{name: "too much of messages", path: messages, body: message(many(100))},
		{name: "a count of messages elsewhere", path: "/v1/messages/count_tokens", body: `{"model":"m","messages":[]}`, none: true, in: setting{provider: "groq"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			in, head := row.in, headOf(row.path)
			if in.dialect, in.provider = "openai", cmp.Or(in.provider, "openai"); strings.HasPrefix(row.path, messages) {
				in.dialect, in.provider = "anthropic", cmp.Or(row.in.provider, "anthropic")
			}
			said := in.denial(t, head, row.body)
			lines := told.FindAllStringSubmatch(said, -1)
			switch {
			case said == "":
				t.Fatal("it has a bound")
			case row.none && !strings.Contains(said, "nothing in a policy admits it"):
				t.Errorf("%s\nand not that nothing admits it", said)
			case !row.none && len(lines) == 0:
				t.Errorf("%s\nwithout a line that admits it", said)
			}
			for _, line := range lines {
				if then := in.with(line[1], line[2]).denial(t, head, row.body); strings.Contains(then, line[0]) {
					t.Errorf("with %s it is denied all the same: %s", line[1], then)
				}
			}
		})
	}
}

// TestADenialTellsAll: of several things that have no bound the first five are told, each with
// its line, and how many more there are.
func TestADenialTellsAll(t *testing.T) {
	for path, body := range map[string]string{
		"/v1/chat/completions": `{"model":"m","messages":[],"a1":1,"a2":1,"a3":1,"a4":1,"a5":1,"a6":1}`,
		"/v1/messages":         `{"model":"m","max_tokens":5,"messages":[],"a1":1,"a2":1,"a3":1,"a4":1,"a5":1,"a6":1,"compaction":{"type":"summarize"}}`,
	} {
		in := setting{provider: "openai", dialect: "openai"}
		if path == "/v1/messages" {
			in = setting{provider: "anthropic", dialect: "anthropic"}
		}
		said := in.denial(t, headOf(path), body)
		for _, want := range []string{"of a1: ", `[\"a5\"]`, "There are 2 reasons more"} {
			if want = strings.ReplaceAll(want, `\`, ""); !strings.Contains(said, want) {
				t.Errorf("%s: %q does not say %q", path, said, want)
			}
		}
		in.upstream = `, allow: {members: ["a*"]}`
		if said = in.denial(t, headOf(path), body); !strings.Contains(said, "output") || strings.Contains(said, "a1") {
			t.Errorf("%s: what is left is told as %q", path, said)
		}
	}
}

// TestATierWithoutAPriceNamesItsLine: a model that has no price, or none at a tier, is told the line
// that gives it one.
func TestATierWithoutAPriceNamesItsLine(t *testing.T) {
	given := regexp.MustCompile(`by the line (.+) at the model in the policy`)
	for _, key := range []call.Key{{}, {Service: "turbo"}, {Variant: "720p"}} {
		model := "gpt-4o"
		if key == (call.Key{}) {
			model = "m"
		}
		price := func(in setting) error {
			price, err := in.rules(t).Prices.Lookup("openai", model, time.Now())
			if err == nil {
				_, err = price.For(key)
			}
			return err
		}
		in := setting{provider: "openai", dialect: "openai"}
		err := price(in)
		if err == nil {
			t.Fatalf("%+v has a price", key)
		}
		line := given.FindStringSubmatch(err.Error())
		if line == nil {
			t.Fatalf("no line is told: %v", err)
		}
		in.model = ", " + regexp.MustCompile(`\bN\b`).ReplaceAllString(line[1], `"1"`)
		if err := price(in); err != nil {
			t.Errorf("with the line %s: %v", line[1], err)
		}
	}
}

// headOf is the head of a call of a path, with a query, or with a header behind a #.
func headOf(path string) providers.Head {
	path, header, _ := strings.Cut(path, "#")
	path, query, _ := strings.Cut(path, "?")
	head := providers.Head{Method: "POST", Path: path, Query: query, Header: map[string][]string{}}
	if name, value, ok := strings.Cut(header, "="); ok {
		head.Header[name] = []string{value}
	}
	return head
}

// many is so many members that nobody knows.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"odd%d":1`, i)
	}
	return b.String()
}
