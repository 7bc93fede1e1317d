package proxy_test

import (
	"testing"

	"github.com/aegis-proxy/aegis-proxy/audit"
)

const sse = "text/event-stream"

// TestAnswersAreMetered: what an answer says is charged, in whatever way it says
// it.
func TestAnswersAreMetered(t *testing.T) {
	play(t, []wireCase{
		{
			name: "a blank before null, and usage beside the last choice",
			body: gptStream,
			reply: reply{kind: sse, body: events(
				`{"id": "c", "choices": [{"index": 0, "delta": {"content": "", "tool_calls": [{"id": "t1", "function": null}]}, "finish_reason": null}]}`,
				`{"id": "c", "choices": [{"index": 0, "delta": {"content": "", "function_call": null}, "finish_reason": "stop"}], "usage": `+usage20and4+`}`,
			)},
			want: want{basis: audit.BasisReported, charge: 5400},
		},
	})
}
