package anthropic

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// errorTypes are the API's error types by class
// (https://platform.claude.com/docs/en/api/errors).
var errorTypes = map[call.Class]string{
	call.Malformed:    "invalid_request_error",
	call.Unidentified: "authentication_error",
	call.Exhausted:    "billing_error",
	call.Forbidden:    "permission_error",
	call.NotFound:     "not_found_error",
	call.Conflict:     "conflict_error",
	call.TooLarge:     "request_too_large",
	call.Unreadable:   "invalid_request_error",
	call.Held:         "rate_limit_error",
	call.TooMany:      "rate_limit_error",
	call.Gone:         "invalid_request_error",
	call.Broken:       "api_error",
	call.Unanswered:   "api_error",
	call.Late:         "timeout_error",
	call.Down:         "api_error",
	call.Unavailable:  "api_error",
}

// Deny answers in the shape of the API, so that its SDKs raise what they would raise
// for the provider's own. They go by the status, and by x-should-retry first.
func (Dialect) Deny(_ providers.Operation, h providers.Head, d *call.Denial) providers.Reply {
	header, manner := jsonHeader(), agents.MannerOf(h, d)
	providers.AddRetry(header, manner.Told(d))
	return providers.Reply{Status: manner.Status, Header: header, Body: append(errorObject(d), '\n')}
}

// errorObject is the JSON of an error, in one line. What is empty is left out:
//
//	{"type":"error","error":{"type":…,"message":…,"details":{"error_code":…,"param":…},"aegis":{…}}}
func errorObject(d *call.Denial) []byte {
	dst := append([]byte(nil), `{"type":"error","error":{"type":`...)
	dst = wire.AppendString(dst, errorTypes[d.Class])
	dst = append(dst, `,"message":`...)
	dst = wire.AppendString(dst, d.Error())
	if d.Code != "" {
		dst = append(dst, `,"details":{"error_code":`...)
		dst = wire.AppendString(dst, d.Code)
		if d.Param != "" {
			dst = append(dst, `,"param":`...)
			dst = wire.AppendString(dst, d.Param)
		}
		dst = append(dst, '}')
	}
	return append(providers.AppendDetails(dst, d), "}}"...)
}

func jsonHeader() map[string][]string {
	return map[string][]string{"Content-Type": {"application/json"}}
}
