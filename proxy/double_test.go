package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/dialects"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// double is a dialect that is as unlike OpenAI's as any API is: the model is in the path,
// the key in the query, a stream is a JSON array that is sent in pieces, and errors have a
// shape of their own.
type double struct{}

var doubleRoutes = []providers.Route{
	{Method: "POST", Path: "/double/models/{model}:generate", Kind: providers.Governed, Operation: "generate"},
	{Method: "POST", Path: "/double/models/{model}:stream", Kind: providers.Governed, Operation: "stream"},
	{Method: "GET", Path: "/double/models", Kind: providers.Listed, Operation: "models"},
}

func (double) Name() string              { return "double" }
func (double) Routes() []providers.Route { return doubleRoutes }

func (double) Match(h providers.Head) (providers.Operation, bool) {
	return providers.NewTable(doubleRoutes).Find(h.Method, h.Path)
}

func (double) Credential(h providers.Head) (string, error) {
	query, _ := url.ParseQuery(h.Query)
	keys := slices.DeleteFunc(append(query["key"], h.Header["X-Double-Key"]...), func(key string) bool { return key == "" })
	if slices.Sort(keys); len(slices.Compact(keys)) != 1 {
		return "", &call.Denial{Class: call.Unidentified, Code: "no_key", Message: "one key, as ?key="}
	}
	return keys[0], nil
}

func (double) Payer(h providers.Head) map[string][]string {
	return providers.Named(h.Header, []string{"X-Double-Key"})
}

func (double) Models(_ providers.Operation, models []providers.Model) providers.Reply {
	body, _ := json.Marshal(models)
	return providers.Reply{Status: 200, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: body}
}

func (double) Deny(op providers.Operation, _ providers.Head, d *call.Denial) providers.Reply {
	body, _ := json.Marshal(map[string]string{"no": d.Error(), "to": op.Operation})
	return providers.Reply{Status: d.Class.Status(), Header: map[string][]string{"Content-Type": {"application/json"}}, Body: body}
}

// doubled is a request. Its body is {"text": ..., "max": ...}, max at the end, maybe with
// "tools" between them: "search" runs at the provider, up to "uses" times, and "judge" is
// another model that reads all and writes as much again.
type doubled struct {
	op    providers.Operation
	head  providers.Head
	model string // that is asked for
	body  []byte
	text  string
	max   int64
	tools []string
}

func (double) Parse(op providers.Operation, h providers.Head, body []byte) (providers.Request, error) {
	var told struct {
		Text  string
		Max   int64
		Tools []string
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, wire.Errorf("text", "not this API's")
	}
	return &doubled{op, h, op.Params["model"], body, told.Text, told.Max, told.Tools}, nil
}

func (r *doubled) Facts() call.Facts {
	return call.Facts{Dialect: "double", Endpoint: r.op.Operation, Model: r.op.Params["model"], Stream: r.op.Operation == "stream", Tools: r.tools}
}
func (r *doubled) Field(string) (string, bool) { return "", false }
func (r *doubled) Copied() int64               { return 0 }
func (r *doubled) Rename(model string)         { r.model = model }

type doubleOffer struct {
	*doubled
	bound providers.Bound
	uses  int64 // of the search; 0: there is none
}

func (r *doubled) On(t providers.Terms) (providers.Offer, error) {
	if r.max == 0 {
		return nil, (*providers.Unbounded)(nil).And(providers.Cause{Member: "max", Why: "max is missing"})
	}
	o := &doubleOffer{doubled: r, bound: providers.Bound{
		Input:  providers.Input{Part: call.Part{Texts: []string{r.text}, Kinds: call.Of(call.Input)}, Contexts: 1},
		Output: providers.Output{Part: call.Part{Kinds: call.Of(call.Output)}, Cap: t.OutputCap(r.max), Choices: 1},
	}}
	if slices.Contains(r.tools, "judge") {
		o.bound.Beside = append(o.bound.Beside, call.Line{Key: call.Key{Model: "judge"}, Usage: call.Usage{call.Input: int64(len(r.text)), call.Output: r.max}})
	}
	if slices.Contains(r.tools, "search") {
		return o, o.search(t.Tools[call.WebSearch])
	}
	return o, nil
}

// search bounds or strips the tool, each call of which is a round of its own.
func (o *doubleOffer) search(rule call.HostedTool) error {
	switch n := rule.Calls; rule.When {
	case call.StripHosted:
		o.bound.Stripped = []string{"search"}
	case call.PriceHosted:
		o.uses, o.bound.Input.Rereads, o.bound.Output.Rereads = n, n, n
		o.bound.Beside = append(o.bound.Beside, call.Line{Usage: call.Usage{call.Searches: n, call.Input: rule.Tokens * n * (n + 1) / 2}})
	default:
		return (*providers.Unbounded)(nil).And(providers.Cause{Member: "tools", Why: "search has no bound; write hosted_tools"})
	}
	return nil
}

// splices take the search out, or limit it.
func (o *doubleOffer) splices() []wire.Splice {
	const tool = `"search"`
	at := bytes.Index(o.body, []byte(tool))
	switch {
	case o.uses > 0:
		return []wire.Splice{wire.Insert(1, fmt.Sprintf(`"uses":%d,`, o.uses))}
	case len(o.bound.Stripped) > 0:
		return []wire.Splice{wire.Replace(wire.Span{Start: at, End: at + len(tool)}, "null")}
	}
	return nil
}

func (o *doubleOffer) Bound() *providers.Bound { return &o.bound }

func (o *doubleOffer) Send(int64) providers.Sent {
	query, _ := url.ParseQuery(o.head.Query)
	query.Del("key")
	verb := o.op.Operation
	return providers.Sent{
		Path:   "/models/" + url.PathEscape(o.model) + ":" + verb,
		Query:  query.Encode(),
		Header: providers.Forwarded(o.head.Header, []string{"X-Double-Key", "Authorization"}),
		Body:   wire.Apply(o.body, o.splices()),
		Meter:  func(providers.Answer) providers.Meter { return newDoubleMeter(verb == "stream") },
	}
}

// doubleMeter reads the last usage of an object, or of all objects in an array, with the
// number of searches, and the output of the judge, which reads nothing.
type doubleMeter struct {
	document wire.Document
	stream   bool
	ended    bool
}

var doubleWatch = wire.Paths{Keep: []string{"usage"}, Output: []string{"text"}}.Watch()

func newDoubleMeter(stream bool) *doubleMeter {
	return &doubleMeter{document: wire.NewDocument(doubleWatch), stream: stream}
}

func (m *doubleMeter) Feed(chunk []byte) []byte {
	m.document.Feed(chunk)
	return chunk
}

func (m *doubleMeter) Close(err error) []byte {
	m.ended = err == io.EOF
	return nil
}

func (m *doubleMeter) Edits() (edits, sure bool) { return false, true }
func (m *doubleMeter) Seen() (int64, bool)       { return 0, m.document.Complete() }

func (m *doubleMeter) Report() providers.Report {
	var told struct{ In, Out, Searches, Judge int64 }
	err := json.Unmarshal(m.document.Kept("usage").Last(), &told)
	line := call.Line{}
	line.Usage[call.Input], line.Usage[call.Output] = told.In, told.Out
	line.Usage[call.Searches] = told.Searches
	lines := []call.Line{line}
	if told.Judge > 0 {
		lines = append(lines, call.Line{Key: call.Key{Model: "judge"}, Usage: call.Usage{call.Output: told.Judge}})
	}
	return providers.Report{
		Lines: lines, HasUsage: err == nil && m.document.Complete(), Stream: m.stream,
		Complete: m.document.Complete() || m.ended, Ran: m.document.Output(),
	}
}

func (m *doubleMeter) Stop(*call.Denial) ([]byte, bool) { return nil, false }

// doubleWorld has upstreams of which the first ones speak the double and the last one, if
// there are several, does not.
func doubleWorld(t *testing.T, tenant string, upstreams ...http.Handler) *world {
	w := newWorld(t, setting{upstreams: upstreams, tenant: tenant, dialects: append(providers.Registry{double{}}, dialects.All()...)})
	for i, server := range w.upstreams {
		if u := w.policy.Upstreams["up"+string(rune('1'+i))]; i == 0 || i < len(upstreams)-1 {
			u.Speaks = append(u.Speaks, policy.Speech{Dialect: "double", BaseURL: server.URL + "/base"})
		}
	}
	return w
}

const doublePath = "/double/models/toy:generate?alt=x&key=" + tenantKey

// doublePost sends a body without the key that OpenAI's clients send.
func (w *world) doublePost(path, body string, headers ...string) answer {
	w.t.Helper()
	r := request(w.t.Context(), w.front.URL+path, body, headers...)
	r.Header.Del("Authorization")
	return w.do(r)
}

func TestAnotherDialect(t *testing.T) {
	var got *http.Request
	var body string
	w := doubleWorld(t, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got, body = r, string(text)
		io.WriteString(w, `{"text":"hi","usage":{"in":3,"out":2}}`)
	}))
	a := w.doublePost("/run/r%2F1/double/models/to%79:generate?alt=x&key="+tenantKey, `{"text":"hello","max":9}`, "X-Other", "kept")
	if a.status != 200 || a.body != `{"text":"hi","usage":{"in":3,"out":2}}` {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got.URL.EscapedPath() != "/base/models/toy:generate" || got.URL.RawQuery != "alt=x" || body != `{"text":"hello","max":9}` {
		t.Errorf("sent to %s with %s", got.URL, body)
	}
	if got.Header.Get("Authorization") != "Bearer "+upstreamKey || got.Header.Get("X-Other") != "kept" || strings.Contains(got.URL.String(), tenantKey) {
		t.Errorf("sent %v", got.Header)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisReported || s.Charge != 3+2*2 {
		t.Errorf("charged %d on the basis %s", s.Charge, s.Basis)
	}
	if d := read[audit.Decision](w)[0]; d.Facts.Endpoint != "generate" || d.Facts.Model != "toy" {
		t.Errorf("receipt of %q for %q", d.Facts.Endpoint, d.Facts.Model)
	}
}

// TestHostedTools: what runs at the provider is held with its fees, its rounds and its
// other model, capped in what is sent, charged by what is told, and made again.
func TestHostedTools(t *testing.T) {
	const (
		priced = "hosted_tools: [{kind: web_search, when_offered: price, calls: 2, tokens: 100}]\n"
		strip  = "hosted_tools: [{kind: web_search, when_offered: strip}]\ntools: {deny: [search]}\n"
		asked  = `{"text":"hello","tools":["search","judge"],"max":9}`
		usage  = `{"text":"hi","usage":{"in":30,"out":2,"searches":2,"judge":4}}`
		hold   = (3*6 + 2*9 + 300) + 9*2 + 2*1000 + 5*10 + 9*20
	)
	for _, row := range []struct {
		name, tenant, body string
		status             int
		sent               string
		hold, charge       int64
	}{
		{"priced", priced + ampleBudget, asked, 200, `{"uses":2,"text":"hello","tools":["search","judge"],"max":9}`, hold, 30 + 2*2 + 2*1000 + 4*20},
		{"too dear", priced + fmt.Sprintf(`budgets: [{name: daily, window: forever, limit_usd: "%.9f"}]`, float64(hold-1)/1e9), asked, 402, "", 0, 0},
		{"stripped", strip + ampleBudget, `{"text":"hello","tools":["search"],"max":9}`, 200, `{"text":"hello","tools":[null],"max":9}`, 6 + 9*2, 30 + 2*2 + 2*1000 + 4*20},
		{"denied", ampleBudget, asked, 403, "", 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			sent := ""
			w := doubleWorld(t, row.tenant, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				sent = string(body)
				io.WriteString(w, usage)
			}))
			if a := w.doublePost(doublePath, row.body); a.status != row.status || sent != row.sent {
				t.Fatalf("%d %s, sent %s, want %d and %s", a.status, a.body, sent, row.status, row.sent)
			}
			if row.status != 200 {
				w.nothingReserved()
				return
			}
			if s := w.settled(1)[0]; s.Basis != audit.BasisReported || s.Hold != row.hold || s.Charge != row.charge {
				t.Errorf("held %d, charged %d on the basis %s; want %d and %d", s.Hold, s.Charge, s.Basis, row.hold, row.charge)
			}
			w.mustReplay()
		})
	}
}

// TestArrayAsStream: pieces of a JSON array pass as they come, and are metered.
func TestArrayAsStream(t *testing.T) {
	pieces := []string{`[{"text":"a","usage":{"in":3,`, `"out":1}},` + "\r\n", `{"text":"b","usage":{"in":3,"out":5}}`, `]`}
	w := doubleWorld(t, "", raw(func(w http.ResponseWriter) {
		for _, piece := range pieces {
			io.WriteString(w, piece)
			w.(http.Flusher).Flush()
		}
	}))
	a := w.doublePost("/double/models/toy:stream?key="+tenantKey, `{"text":"hello","max":9}`)
	if a.status != 200 || a.body != strings.Join(pieces, "") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if s := w.settled(1)[0]; s.Basis != audit.BasisReported || s.Charge != 3+2*5 {
		t.Errorf("charged %d on the basis %s", s.Charge, s.Basis)
	}
}

// TestDenialsOfAnotherDialect have its shape, also before anything is known but the path.
func TestDenialsOfAnotherDialect(t *testing.T) {
	w := doubleWorld(t, `budgets: [{name: daily, window: forever, limit_usd: "0.00000002"}]`, raw(func(http.ResponseWriter) {}))
	for _, row := range []struct {
		name, path, body string
		status           int
		says             string
	}{
		{"no key", "/double/models/toy:generate", `{"max":1}`, 401, `{"no":"aegis: one key, as ?key=","to":"generate"}`},
		{"a wrong key", "/double/models/toy:generate?key=wrong", `{"max":1}`, 401, `belongs to no tenant","to":"generate"}`},
		{"two keys", doublePath + "&key=wrong", `{"max":1}`, 401, `{"no":`},
		{"no such route", "/double/models/toy:destroy?key=" + tenantKey, `{}`, 404, `"to":""}`},
		{"a run without a name", "/run//double/models/toy:generate?key=" + tenantKey, `{}`, 400, `{"no":"aegis: the run's name`},
		{"a body that is not its", doublePath, `{"text":1}`, 400, `{"no":"aegis: not this API's"`},
		{"no bound", doublePath, `{"text":"x"}`, 403, `{"no":"aegis: what this request costs has no bound, because of max: max is missing; nothing in a policy admits it"`},
		{"too dear", doublePath, `{"text":"x","max":90}`, 402, `{"no":"aegis: `},
		{"OpenAI's route", chatPath, hello, 401, `{"error":{"message":"aegis: no API key`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if a := w.doublePost(row.path, row.body); a.status != row.status || !strings.Contains(a.body, row.says) || a.header.Get("X-Aegis-Decision") != "deny" {
				t.Errorf("%d %s, want %d %s", a.status, a.body, row.status, row.says)
			}
		})
	}
	w.nothingReserved()
}

// TestFallbackSpeaksTheSameDialect: an upstream that does not is never asked, not even
// where no other is left.
func TestFallbackSpeaksTheSameDialect(t *testing.T) {
	failing := raw(func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
	asked := 0
	other := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ })
	w := doubleWorld(t, "", failing, other)
	if a := w.doublePost(doublePath, `{"text":"x","max":9}`); a.status != http.StatusServiceUnavailable || asked > 0 {
		t.Errorf("%d, the other was asked %d times", a.status, asked)
	}
	w.policy.Upstreams["up1"].Speaks = w.policy.Upstreams["up1"].Speaks[:1]
	if a := w.doublePost(doublePath, `{"text":"x","max":9}`); a.status != 403 || !strings.Contains(a.body, "no upstream of this model speaks") || asked > 0 {
		t.Errorf("%d %s, the other was asked %d times", a.status, a.body, asked)
	}
}

func TestModelsOfAnotherDialect(t *testing.T) {
	w := doubleWorld(t, "", raw(func(http.ResponseWriter) {}))
	r := request(t.Context(), w.front.URL+"/double/models?key="+tenantKey, "")
	r.Method = http.MethodGet
	if a := w.do(r); a.status != 200 || !strings.HasPrefix(a.body, `[{"ID":"toy","Owner":"up1"}`) {
		t.Errorf("%d %.80s", a.status, a.body)
	}
}
