package openai

import (
	"github.com/aegis-proxy/aegis-proxy/call"
	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/agents"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
)

// Deny answers in the shape of the API, so that official SDKs raise what they would
// raise for the provider's own. 402 and 403 are never retried by them; LangChain stops
// on insufficient_quota.
func (Dialect) Deny(op providers.Operation, h providers.Head, d *call.Denial) providers.Reply {
	header := jsonHeader()
	providers.AddRetry(header, d)
	manner := agents.MannerOf(h, d)
	status := manner.Status
	if opensSocket(op, h) {
		status, header["Upgrade"] = upgradeRequired, []string{"HTTP/1.1"}
	}
	if manner.Bare {
		header["Content-Type"] = []string{"text/plain; charset=utf-8"}
		return providers.Reply{Status: status, Header: header, Body: []byte(d.Error() + "\n")}
	}
	return providers.Reply{Status: status, Header: header, Body: errorBody(d)}
}

// upgradeRequired is the status by which a server takes one protocol alone (RFC 9110,
// section 15.5.22). Codex then sends its requests over HTTP, at once; after a 403 it tries
// seven times before.
const upgradeRequired = 426

// opensSocket reports whether a request asks for a WebSocket of Responses. Upgrade itself
// is no header that a dialect sees.
func opensSocket(op providers.Operation, h providers.Head) bool {
	return op.Method == "GET" && op.Path == socketPath && len(h.Header["Sec-Websocket-Version"]) > 0
}

// kindAndCode are the error's type and code.
func kindAndCode(d *call.Denial) (kind, code string) {
	switch d.Class {
	case call.Unidentified:
		return "invalid_request_error", "invalid_api_key"
	case call.Exhausted:
		return "insufficient_quota", "insufficient_quota"
	case call.Held, call.TooMany:
		return "requests", "rate_limit_exceeded"
	case call.Down, call.Unavailable, call.Broken, call.Unanswered, call.Late:
		return "server_error", d.Code
	}
	return "invalid_request_error", d.Code
}

// errorBody is the JSON of an error, in one line. An empty param or code is null; the
// "aegis" object, which SDKs ignore, is left out where it would be empty:
//
//	{"error":{"message":…,"type":…,"param":…,"code":…,"family":…,"aegis":{…}}}
func errorBody(d *call.Denial) []byte {
	kind, code := kindAndCode(d)
	dst := append([]byte(nil), `{"error":{"message":`...)
	dst = wire.AppendString(dst, d.Error())
	dst = append(dst, `,"type":`...)
	dst = wire.AppendString(dst, kind)
	dst = append(dst, `,"param":`...)
	dst = appendNullable(dst, d.Param)
	dst = append(dst, `,"code":`...)
	dst = appendNullable(dst, code)
	if d.Class == call.Exhausted {
		dst = append(dst, finalWord...)
	}
	dst = providers.AppendDetails(dst, d)
	return append(dst, "}}\n"...)
}

// finalWord stands in the error of a 402. LiteLLM takes an error in whose text the word is
// for final, and any other 402 for a failure of the server: aider, which is built on it, then sends it
// eight times more. No library reads the member.
const finalWord = `,"family":"invalid_request_error"`

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return wire.AppendString(dst, s)
}
