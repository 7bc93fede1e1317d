package proxy_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/openai"
)

// TestOnePriceForHoldAndCharge: the policy's price of the model that was asked for
// is final; the table's yields only to a dearer model that the answer names.
func TestOnePriceForHoldAndCharge(t *testing.T) {
	const used = `{"prompt_tokens":8,"completion_tokens":1000,"total_tokens":1008}`
	own := func(match, provider, in, out string) string {
		return casePolicy(provider, "max_completion_tokens",
			`{match: "`+match+`", upstreams: [up], price: {input_usd_per_million: "`+in+`", output_usd_per_million: "`+out+`"}}`+"\n"+
				`{match: "*", upstreams: [up]}`, "100")
	}
	table := casePolicy("openai", "max_completion_tokens", `{match: "*", upstreams: [up]}`, "100")
	for _, row := range []struct {
		name, policy, asks, answers string
		charge                      int64
	}{
		{"own, cheaper than the table, a dated name", own("gpt-4.1-mini", "openai", "0.01", "0.04"), "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", 40_080},
		{"own, dearer than the table, a dated name", own("gpt-4o", "openai", "3", "12"), "gpt-4o", "gpt-4o-2024-08-06", 12_024_000},
		{"own of a pattern", own("gpt-4o*", "openai", "3", "12"), "gpt-4o", "gpt-4o-2024-08-06", 12_024_000},
		{"own of every model", own("*-4o", "openai", "3", "12"), "gpt-4o", "gpt-4o-2024-08-06", 12_024_000},
		{"own of a deployment", own("prod-chat", "azure", "3", "12"), "prod-chat", "gpt-4o-2024-08-06", 12_024_000},
		{"own of a dear alias, a cheap model", own("dear", "openai", "100", "200"), "dear", "gpt-4o-mini-2024-07-18", 200_800_000},
		{"own of a cheap alias, a dear model", own("cheap", "openai", "0.1", "0.2"), "cheap", "gpt-4-32k", 200_800},
		{"own, and no name", own("gpt-4o", "openai", "3", "12"), "gpt-4o", "", 12_024_000},
		{"the table's, a dated name", table, "gpt-4o-mini", "gpt-4o-mini-2024-07-18", 601_200},
		{"the table's, a dearer model", table, "gpt-4o-mini", "gpt-4o-2024-08-06", 10_020_000},
		{"the table's, a cheaper model", table, "gpt-4o", "gpt-4o-mini-2024-07-18", 10_020_000},
		{"the table's, a name without a price", table, "gpt-4o", "who-knows", 10_020_000},
		{"the table's, a model without output", table, "gpt-4o", "text-embedding-3-small", 10_020_000},
	} {
		ask := strings.NewReplacer("gpt-4o-mini", row.asks)
		answer := strings.Replace(says("MODEL", "Hi.", used), "MODEL", row.answers, 1)
		stream := strings.NewReplacer("gpt-4o-mini", row.answers).Replace(events(delta, lastDelta, `{"choices":[],"usage":`+used+`}`))
		w := want{basis: audit.BasisReported, charge: row.charge}
		play(t, []wireCase{
			{name: row.name, policy: row.policy, body: ask.Replace(gptChat), reply: reply{body: answer}, want: w},
			{name: row.name + ", in a stream", policy: row.policy, body: ask.Replace(gptAsks), reply: reply{kind: sse, body: stream}, want: w},
		})
	}
}

// TestBilled: where the answer names what it cost, the larger of that and the price is
// charged, and what is above the hold is an overrun.
func TestBilled(t *testing.T) {
	const ask = `{"model":"m","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}`
	policy := casePolicy("openrouter", "max_tokens", `{match: "m", upstreams: [up], price: {input: "1", output: "2"}}`, "100")
	usage := func(cost string) string {
		return `{"prompt_tokens":8,"completion_tokens":10,"total_tokens":18,"cost":` + cost + `,"is_byok":false}`
	}
	for _, row := range []struct {
		name, cost string
		want       want
	}{
		{"less than the price", "0.000001", want{basis: audit.BasisReported, charge: 28_000, within: true}},
		{"more than the price", "0.00005", want{basis: audit.BasisReported, charge: 50_000, within: true}},
		{"more than the hold", "0.25", want{basis: audit.BasisReported, charge: 250_000_000}},
		{"no amount", "-1", want{basis: audit.BasisUnknown, within: true}},
	} {
		stream := events(`{"choices":[{"delta":{"content":"Hi."},"finish_reason":"stop"}]}`, `{"choices":[],"usage":`+usage(row.cost)+`}`)
		asks := strings.Replace(ask, "{", `{"stream":true,"stream_options":{"include_usage":true},`, 1)
		play(t, []wireCase{
			{name: row.name, policy: policy, body: ask, reply: reply{body: says("m", "Hi.", usage(row.cost))}, want: row.want},
			{name: row.name + ", in a stream", policy: policy, body: asks, reply: reply{kind: sse, body: stream}, want: row.want},
		})
	}
}

// TestBilledWithoutUsage: where the answer names what it cost and not what it used, the larger
// of that and the hold is charged; a gateway may say so in a header.
func TestBilledWithoutUsage(t *testing.T) {
	const ask = `{"model":"m","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}`
	policy := casePolicy("openrouter", "max_tokens", `{match: "m", upstreams: [up], price: {input: "1", output: "2"}}`, "100")
	const counted = `{"prompt_tokens":8,"completion_tokens":10,"total_tokens":18}`
	dear, unknown := map[string]string{"X-Litellm-Response-Cost": "0.25"}, map[string]string{"x-litellm-response-cost": "None"}
	charged := want{basis: audit.BasisUnknown, charge: 250_000_000}
	play(t, []wireCase{
		{name: "an amount alone", policy: policy, body: ask, reply: reply{body: says("m", "Hi.", `{"cost":0.25}`)}, want: charged},
		{name: "a header and no usage", policy: policy, body: ask, reply: reply{body: says("m", "Hi.", `null`), header: dear}, want: charged},
		{name: "a header of an error", policy: policy, body: ask, reply: reply{status: 400, body: `{"error":{"message":"no"}}`, header: dear}, want: charged},
		{name: "a header beside usage", policy: policy, body: ask, reply: reply{body: says("m", "Hi.", counted), header: dear}, want: want{basis: audit.BasisReported, charge: 250_000_000}},
		{name: "a header that does not know", policy: policy, body: ask, reply: reply{body: says("m", "Hi.", counted), header: unknown}, want: want{basis: audit.BasisReported, charge: 28_000, within: true}},
		{name: "an amount below the hold alone", policy: policy, body: ask, reply: reply{body: says("m", "Hi.", `{"cost":1e-9}`)}, want: want{basis: audit.BasisUnknown, within: true}},
	})
}

// TestOwnPriceKeepsTheLimit: what the policy's own prices bound stays bounded, when
// the answer has another name.
func TestOwnPriceKeepsTheLimit(t *testing.T) {
	policy := casePolicy("openai", "max_completion_tokens",
		`{match: "gpt-4.1-mini", upstreams: [up], price: {input_usd_per_million: "0.01", output_usd_per_million: "0.04"}}`, "0.0001")
	play(t, []wireCase{{
		name: "twice within the limit", policy: policy, times: 2,
		body:  strings.Replace(gptChat, "gpt-4o-mini", "gpt-4.1-mini", 1),
		reply: reply{body: says("gpt-4.1-mini-2025-04-14", "Hi.", `{"prompt_tokens":8,"completion_tokens":1000,"total_tokens":1008}`)},
		want:  want{basis: audit.BasisReported, charge: 40_080, within: true},
	}})
}

// TestUsageCostsAtLeastEachOfItsParts: whatever an upstream tells, it is charged no
// less than any count in it costs by itself.
func TestUsageCostsAtLeastEachOfItsParts(t *testing.T) {
	price, err := pricing.Builtin().Lookup("openai", "gpt-audio", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	alone := map[string]func(n int64) call.Usage{
		"prompt_tokens":      func(n int64) call.Usage { return call.Usage{call.CachedInput: n} },
		"completion_tokens":  func(n int64) call.Usage { return call.Usage{call.Output: n} },
		"cached_tokens":      func(n int64) call.Usage { return call.Usage{call.CachedInput: n} },
		"cache_write_tokens": func(n int64) call.Usage { return call.Usage{call.CacheWrite: n} },
		"audio_tokens in":    func(n int64) call.Usage { return call.Usage{call.AudioInput: n} },
		"reasoning_tokens":   func(n int64) call.Usage { return call.Usage{call.Reasoning: n} },
		"audio_tokens out":   func(n int64) call.Usage { return call.Usage{call.AudioOutput: n} },
	}
	rapid.Check(t, func(t *rapid.T) {
		told := map[string]int64{}
		count := func(name string) string {
			told[name] = rapid.Int64Range(0, 1000).Draw(t, name)
			if name == "prompt_tokens" {
				told[name]++
			}
			return strconv.Quote(strings.Fields(name)[0]) + ":" + rapid.SampledFrom([]string{"%d", "%d.0", "%de0"}).Draw(t, "as")
		}
		usage := func(names ...string) string {
			var members []string
			for _, name := range names {
				text := count(name)
				members = append(members, fmt.Sprintf(text, told[name]))
			}
			return strings.Join(members, ",")
		}
		body := fmt.Sprintf(`{"usage":{%s,"prompt_tokens_details":{%s},"completion_tokens_details":{%s}}}`,
			usage("prompt_tokens", "completion_tokens"), usage("cached_tokens", "cache_write_tokens", "audio_tokens in"), usage("reasoning_tokens", "audio_tokens out"))
		m := openai.NewMeter(openai.ChatCompletions, providers.Answer{Framed: true}, false, false)
		m.Feed([]byte(body))
		report := m.Report()
		charge, err := price.Cost(report.Lines[0].Usage)
		if err != nil || !report.HasUsage {
			t.Fatalf("%s: %+v %v", body, report, err)
		}
		for name, n := range told {
			if least, err := price.Cost(alone[name](n)); err != nil || charge < least {
				t.Fatalf("%s: charged %d, %s alone costs %d (%v)", body, charge, name, least, err)
			}
		}
	})
}

// pinned is a body as it leaves for a provider that knows the tier to ask for.
func pinned(body string) string {
	at := strings.LastIndex(body, "}")
	return body[:at] + `,"service_tier":"default"` + body[at:]
}

// TestTier: what a project's own setting could make dearer is asked for at the standard
// tier, or held at the dearest that the policy allows; an answer that says otherwise is
// charged by what it says.
func TestTier(t *testing.T) {
	with := func(upstream, tier string) string {
		policy := strings.Replace(casePolicy("azure", "max_completion_tokens", `{match: "m", upstreams: [up], price: {input: "1", output: "1", services: {priority: {input: "3", output: "3"}}}}`, "1"),
			"provider: azure", "provider: "+upstream, 1)
		return strings.Replace(policy, "cap_field:", "allow: {tiers: ["+tier+"]}, cap_field:", 1)
	}
	ask := func(tier string) string {
		return `{"model":"m","max_completion_tokens":10,` + tier + `"messages":[{"role":"user","content":"hi"}]}`
	}
	answered := func(tier string) reply {
		return reply{body: `{` + tier + `"model":"m","choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":8,"completion_tokens":4,"total_tokens":12}}`}
	}
	sends := func(body string) func(*testing.T, http.Header, string) {
		return func(t *testing.T, _ http.Header, got string) {
			if got != body {
				t.Errorf("sent %s, want %s", got, body)
			}
		}
	}
	reported := want{basis: audit.BasisReported, charge: 12_000, within: true}
	dearer := want{basis: audit.BasisReported, charge: 36_000, within: true}
	over := want{basis: audit.BasisReported, charge: 36_000, atLeast: true}
	unknown := want{basis: audit.BasisUnknown, within: true}
	sending := func(w want, body string) want { w.sent = sends(body); return w }
	play(t, []wireCase{
		{name: "none is asked for at the standard one", policy: with("openai", "priority"), body: ask(""), reply: answered(""), want: sending(reported, pinned(ask("")))},
		{name: "auto too", policy: with("openai", "priority"), body: ask(`"service_tier":"auto",`), reply: answered(""), want: sending(reported, ask(`"service_tier":"default",`))},
		{name: "one that is asked for stays, and is charged", policy: with("openai", "priority"), body: ask(`"service_tier":"priority",`), reply: answered(`"service_tier":"priority",`), want: sending(dearer, ask(`"service_tier":"priority",`))},
		{name: "downgraded", policy: with("openai", "priority"), body: ask(`"service_tier":"priority",`), reply: answered(`"service_tier":"default",`), want: reported},
		{name: "asked for and not told: the dearer", policy: with("openai", "priority"), body: ask(`"service_tier":"priority",`), reply: answered(""), want: dearer},
		{name: "a host that does not know the name is sent nothing", policy: with("house", "priority"), body: ask(""), reply: answered(`"service_tier":"priority",`), want: sending(dearer, ask(""))},
		{name: "one that is served unasked", policy: with("openai", "fast"), body: ask(""), reply: answered(`"service_tier":"priority",`), want: over},
		{name: "one without a price", policy: with("openai", "priority"), body: ask(""), reply: answered(`"service_tier":"ultrafast",`), want: unknown},
	})
}

// TestCacheWrites: what Anthropic's models write to a cache is charged by its lifetime.
func TestCacheWrites(t *testing.T) {
	policy := casePolicy("anthropic", "max_tokens", `{match: "claude-*", upstreams: [up]}`, "1")
	body := `{"model":"claude-haiku-4-5","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}`
	answer := func(usage string) reply { return reply{body: says("claude-haiku-4-5", "Hi.", usage)} }
	charged := func(nano int64) want { return want{basis: audit.BasisReported, charge: nano} }
	play(t, []wireCase{
		{name: "for five minutes", policy: policy, body: body, want: charged(9*1000 + 17102*1250 + 10*5000),
			reply: answer(`{"prompt_tokens":17111,"completion_tokens":10,"total_tokens":17121,"cache_creation_input_tokens":17102,"cache_read_input_tokens":0,"prompt_tokens_details":{"cached_tokens":0,"cache_creation_tokens":17102}}`)},
		{name: "for an hour", policy: policy, body: body, want: charged(9*1000 + 17102*2000 + 10*5000),
			reply: answer(`{"prompt_tokens":17111,"completion_tokens":10,"total_tokens":17121,"cache_creation_input_tokens":17102,"cache_creation":{"ephemeral_1h_input_tokens":17102,"ephemeral_5m_input_tokens":0}}`)},
		{name: "beside the prompt", policy: policy, body: body, want: charged(9*1000 + 17102*1250 + 10*5000),
			reply: answer(`{"prompt_tokens":9,"completion_tokens":10,"total_tokens":17121,"cache_creation_input_tokens":17102,"cache_read_input_tokens":0}`)},
	})
}
