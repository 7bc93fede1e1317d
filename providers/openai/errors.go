package openai

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Error is an error in the shape of the OpenAI API, so that official SDKs raise
// what they would raise for the provider's own. An empty Param or Code is
// written as null.
type Error struct {
	// Status is the HTTP status that goes with it. It is not part of the body.
	Status  int
	Type    string
	Code    string
	Message string
	Param   string
	Details Details
}

// Details are what a budget denial adds, in an "aegis" object that SDKs ignore.
// Amounts are decimal strings; an empty field is left out.
type Details struct {
	Budget     string // name of the budget that denied
	Limit      string
	Spent      string
	Held       string
	Needed     string // what this request would have claimed
	ResetsAt   string // RFC 3339
	LargestCap string // largest output cap, in tokens, that would have fit
}

// Error returns the status and the message.
func (e *Error) Error() string {
	return strconv.Itoa(e.Status) + ": " + e.Message
}

// AppendError appends the JSON body of e to dst:
//
//	{"error":{"message":…,"type":…,"param":…,"code":…,"aegis":{…}}}
func AppendError(dst []byte, e *Error) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = appendString(dst, e.Message)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, e.Type)
	dst = append(dst, `,"param":`...)
	dst = appendNullable(dst, e.Param)
	dst = append(dst, `,"code":`...)
	dst = appendNullable(dst, e.Code)
	dst = e.Details.append(dst)
	return append(dst, "}}\n"...)
}

func (d Details) append(dst []byte) []byte {
	if d == (Details{}) {
		return dst
	}
	dst = append(dst, `,"aegis":{`...)
	start := len(dst)
	for _, m := range [...]struct{ name, value string }{
		{"budget", d.Budget},
		{"limit", d.Limit},
		{"spent", d.Spent},
		{"held", d.Held},
		{"needed", d.Needed},
		{"resets_at", d.ResetsAt},
		{"largest_cap", d.LargestCap},
	} {
		if m.value == "" {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = appendString(dst, m.name)
		dst = append(dst, ':')
		dst = appendString(dst, m.value)
	}
	return append(dst, '}')
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, s)
}

// appendString quotes s. Bad UTF-8, the only error, is replaced by U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
