package providers

import (
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Reply is an answer of the proxy, in the way of an API.
type Reply struct {
	Status int
	Header map[string][]string
	Body   []byte
}

// AddRetry adds what the official SDKs obey first: X-Should-Retry, and Retry-After.
func AddRetry(h map[string][]string, d *call.Denial) {
	switch d.Retry {
	case call.RetryNever:
		h["X-Should-Retry"] = []string{"false"}
	case call.RetrySoon:
		h["X-Should-Retry"] = []string{"true"}
	}
	if after := d.RetryAfter(); after > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(after, 10)}
	}
}

// AppendDetails appends what the denial of a limit adds, as the member "aegis" behind
// others: its name, amounts, reset and the largest cap. Without a limit it adds nothing.
func AppendDetails(dst []byte, d *call.Denial) []byte {
	reset, largest := "", ""
	if d.ResetsAt != 0 {
		reset = time.UnixMilli(d.ResetsAt).UTC().Format(time.RFC3339)
	}
	if d.LargestCap > 0 {
		largest = strconv.FormatInt(d.LargestCap, 10)
	}
	amount := func(n int64) string {
		if d.Redact || d.Budget == "" {
			return ""
		}
		return d.Format(n)
	}
	separator := `,"aegis":{`
	for _, m := range [...]struct{ name, value string }{
		{"budget", d.Budget},
		{"limit", amount(d.Limit)},
		{"spent", amount(d.Spent)},
		{"held", amount(d.Held)},
		{"needed", amount(d.Needed)},
		{"resets_at", reset},
		{"largest_cap", largest},
	} {
		if m.value == "" {
			continue
		}
		dst = wire.AppendString(append(dst, separator...), m.name)
		dst = wire.AppendString(append(dst, ':'), m.value)
		separator = ","
	}
	if separator == "," {
		dst = append(dst, '}')
	}
	return dst
}
