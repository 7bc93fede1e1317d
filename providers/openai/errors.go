package openai

import (
	"strconv"

	"github.com/aegis-proxy/aegis-proxy/providers"
	"github.com/aegis-proxy/aegis-proxy/providers/wire"
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

// Details are what a budget denial adds.
type Details = providers.Details

// Error returns the status and the message.
func (e *Error) Error() string {
	return strconv.Itoa(e.Status) + ": " + e.Message
}

// AppendError appends the JSON body of e to dst:
//
//	{"error":{"message":…,"type":…,"param":…,"code":…,"aegis":{…}}}
func AppendError(dst []byte, e *Error) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = wire.AppendString(dst, e.Message)
	dst = append(dst, `,"type":`...)
	dst = wire.AppendString(dst, e.Type)
	dst = append(dst, `,"param":`...)
	dst = appendNullable(dst, e.Param)
	dst = append(dst, `,"code":`...)
	dst = appendNullable(dst, e.Code)
	dst = appendDetails(dst, &e.Details)
	return append(dst, "}}\n"...)
}
