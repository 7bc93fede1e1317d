package proxy_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/aegis-proxy/aegis-proxy/audit"
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/pricing"
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
		m := openai.NewMeter(openai.ChatCompletions, false, false)
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
