package anthropic

import (
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// errorTypes are the API's error types by class
// (https://platform.claude.com/docs/en/api/errors).
var errorTypes = map[providers.Class]string{
	providers.Malformed:    "invalid_request_error",
	providers.Unidentified: "authentication_error",
	providers.Exhausted:    "billing_error",
	providers.Forbidden:    "permission_error",
	providers.NotFound:     "not_found_error",
	providers.Conflict:     "conflict_error",
	providers.TooLarge:     "request_too_large",
	providers.Unreadable:   "invalid_request_error",
	providers.Held:         "rate_limit_error",
	providers.TooMany:      "rate_limit_error",
	providers.Gone:         "invalid_request_error",
	providers.Broken:       "api_error",
	providers.Unanswered:   "api_error",
	providers.Late:         "timeout_error",
	providers.Unavailable:  "api_error",
}

// Deny answers in the shape of the API, so that its SDKs raise what they would raise
// for the provider's own. They go by the status, and by x-should-retry first.
func (Dialect) Deny(_ providers.Operation, _ providers.Head, d *providers.Denial) providers.Reply {
	header := jsonHeader()
	d.AddRetry(header)
	return providers.Reply{Status: d.Class.Status(), Header: header, Body: append(errorObject(d), '\n')}
}

// errorObject is the JSON of an error, in one line. What is empty is left out:
//
//	{"type":"error","error":{"type":…,"message":…,"details":{"error_code":…,"param":…},"aegis":{…}}}
func errorObject(d *providers.Denial) []byte {
	dst := append([]byte(nil), `{"type":"error","error":{"type":`...)
	dst = wire.AppendString(dst, errorTypes[d.Class])
	dst = append(dst, `,"message":`...)
	dst = wire.AppendString(dst, d.Message)
	if d.Code != "" {
		dst = append(dst, `,"details":{"error_code":`...)
		dst = wire.AppendString(dst, d.Code)
		if d.Param != "" {
			dst = append(dst, `,"param":`...)
			dst = wire.AppendString(dst, d.Param)
		}
		dst = append(dst, '}')
	}
	if d.Details != (providers.Details{}) {
		dst = d.Details.Append(append(dst, `,"aegis":`...))
	}
	return append(dst, "}}"...)
}

func jsonHeader() map[string][]string {
	return map[string][]string{"Content-Type": {"application/json"}}
}
