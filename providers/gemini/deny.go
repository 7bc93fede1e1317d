package gemini

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// statusWords are the API's words by class (https://cloud.google.com/apis/design/errors).
var statusWords = map[call.Class]string{
	call.Malformed:    "INVALID_ARGUMENT",
	call.Unidentified: "UNAUTHENTICATED",
	call.Exhausted:    "RESOURCE_EXHAUSTED",
	call.Forbidden:    "PERMISSION_DENIED",
	call.NotFound:     "NOT_FOUND",
	call.Conflict:     "ABORTED",
	call.TooLarge:     "INVALID_ARGUMENT",
	call.Unreadable:   "INVALID_ARGUMENT",
	call.Held:         "RESOURCE_EXHAUSTED",
	call.TooMany:      "RESOURCE_EXHAUSTED",
	call.Gone:         "CANCELLED",
	call.Broken:       "INTERNAL",
	call.Unanswered:   "UNAVAILABLE",
	call.Late:         "DEADLINE_EXCEEDED",
	call.Down:         "UNAVAILABLE",
	call.Unavailable:  "UNAVAILABLE",
}

// Deny answers in the shape of the API. A stream that is a JSON array has the error as its one element.
func (Dialect) Deny(op providers.Operation, h providers.Head, d *call.Denial) providers.Reply {
	header, manner := jsonHeader(), agents.MannerOf(h, d)
	told := manner.Told(d)
	providers.AddRetry(header, told)
	body := errorObject(told, manner.Status)
	if op.Operation == stream && !asksForEvents(h.Query) {
		body = append(append([]byte("["), body...), ']')
	}
	return providers.Reply{Status: manner.Status, Header: header, Body: append(body, '\n')}
}

// errorObject is the JSON of an error, in one line. RetryInfo is what clients wait by; it is there only where
// waiting helps:
//
//	{"error":{"code":…,"message":…,"status":…,"details":[{"@type":…ErrorInfo…},{"@type":…RetryInfo…}],"aegis":{…}}}
func errorObject(d *call.Denial, status int) []byte {
	dst := strconv.AppendInt([]byte(`{"error":{"code":`), int64(status), 10)
	dst = wire.AppendString(append(dst, `,"message":`...), d.Error())
	dst = wire.AppendString(append(dst, `,"status":`...), statusWords[d.Class])
	dst = append(dst, `,"details":[`...)
	if d.Code != "" {
		dst = append(dst, `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":`...)
		dst = wire.AppendString(dst, strings.ToUpper(d.Code))
		dst = append(dst, `,"domain":"aegis-proxy"}`...)
	}
	if after := d.RetryAfter(); after > 0 {
		if d.Code != "" {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"`...)
		dst = append(strconv.AppendInt(dst, after, 10), `s"}`...)
	}
	return append(providers.AppendDetails(append(dst, ']'), d), "}}"...)
}

// asksForEvents reports whether a query asks for server-sent events.
func asksForEvents(query string) bool {
	values, err := url.ParseQuery(query)
	return err == nil && (values.Get("alt") == "sse" || values.Get("$alt") == "sse")
}
