package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegis-proxy/aegis-proxy/gate"
	"github.com/aegis-proxy/aegis-proxy/internal/admission"
	"github.com/aegis-proxy/aegis-proxy/policy"
	"github.com/aegis-proxy/aegis-proxy/providers"
)

const (
	maxActionIDBytes   = 64
	maxActionTextBytes = 256 // of a target or tool
	maxLeaseBytes      = 128
	// defaultActionTTL is how long a lease lasts that names no time, in seconds.
	defaultActionTTL = 300
)

// actionBody is what the members of a body say. Not every route has all.
type actionBody struct {
	id, action, target, tool, run, lease string

	amount     int64 // nano-USD
	ttlSeconds int64
}

// member is one member that a route's body may have.
type member struct {
	name     string
	kind     jsontext.Kind // '"' or '0'
	required bool
	// set takes the value over, or says what it must be.
	set func(b *actionBody, value string) (must string)
}

var (
	leaseMember = member{"lease", '"', true, func(b *actionBody, v string) string {
		b.lease = v
		return bytesWithin(v, maxLeaseBytes)
	}}
	runMember = member{"run", '"', false, func(b *actionBody, v string) string {
		b.run = v
		return bytesWithin(v, admission.MaxRunBytes)
	}}
)

var authorizeMembers = []member{
	{"id", '"', true, setID},
	{"action", '"', true, setAction},
	{"amount_usd", '"', true, setAmount},
	{"target", '"', false, func(b *actionBody, v string) string {
		b.target = v
		return bytesWithin(v, maxActionTextBytes)
	}},
	{"tool", '"', false, func(b *actionBody, v string) string {
		b.tool = v
		return bytesWithin(v, maxActionTextBytes)
	}},
	runMember,
	{"ttl_seconds", '0', false, setTTL},
}

var (
	settleMembers  = []member{leaseMember, {"amount_usd", '"', true, setAmount}}
	releaseMembers = []member{leaseMember}
	extendMembers  = []member{leaseMember, {"total_usd", '"', true, setAmount}}
)

func setID(b *actionBody, v string) string {
	b.id = v
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
	if v == "" || len(v) > maxActionIDBytes || strings.Trim(v, allowed) != "" {
		return fmt.Sprintf(`have 1 to %d letters, digits, ".", "_", ":" or "-"`, maxActionIDBytes)
	}
	return ""
}

func setAction(b *actionBody, v string) string {
	b.action = v
	if !policy.ActionName(v) {
		return "name a kind of action, as in payment"
	}
	return ""
}

func setAmount(b *actionBody, v string) string {
	amount, err := policy.ParseUSD(v)
	if err != nil {
		return "be USD in decimal digits, with at most 9 decimals and at most 9007199.254740991, as in \"0.25\""
	}
	b.amount = amount
	return ""
}

func setTTL(b *actionBody, v string) string {
	const most = int64(gate.MaxActionTTL / time.Second)
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 1 || n > most {
		return fmt.Sprintf("be a whole number from 1 to %d", most)
	}
	b.ttlSeconds = n
	return ""
}

// bytesWithin says what a text must be that is empty or too long.
func bytesWithin(v string, most int) string {
	if v == "" || len(v) > most {
		return fmt.Sprintf("have 1 to %d bytes", most)
	}
	return ""
}

// parseAction reads a body strictly: one object, of the members given and no
// others, each once and of its own type. The error is a *providers.ParseError
// that names the member.
func parseAction(text []byte, members []member) (actionBody, error) {
	body := actionBody{ttlSeconds: defaultActionTTL}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	if dec.PeekKind() != '{' {
		return body, malformed("", "the body must be a JSON object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return body, malformedAt(err)
	}
	var seen []string
	for dec.PeekKind() == '"' {
		name, err := readMember(dec, members, &body)
		if err != nil {
			return body, err
		}
		seen = append(seen, name)
	}
	if _, err := dec.ReadToken(); err != nil {
		return body, malformedAt(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return body, malformed("", "the body has data after its JSON object")
	}
	for _, m := range members {
		if m.required && !slices.Contains(seen, m.name) {
			return body, malformed(m.name, m.name+" is missing")
		}
	}
	return body, nil
}

func readMember(dec *jsontext.Decoder, members []member, body *actionBody) (string, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return "", malformedAt(err)
	}
	name := token.String()
	i := slices.IndexFunc(members, func(m member) bool { return m.name == name })
	if i < 0 {
		return "", malformed(admission.Clip(name), admission.Clip(name)+" is not a member that is known here")
	}
	m := members[i]
	if kind := dec.PeekKind(); kind != m.kind && kind != 0 {
		return "", malformed(name, name+" must be "+map[jsontext.Kind]string{'"': "a string", '0': "a number"}[m.kind])
	}
	value, err := dec.ReadToken()
	if err != nil {
		return "", malformedAt(err)
	}
	if must := m.set(body, value.String()); must != "" {
		return "", malformed(name, name+" must "+must)
	}
	return name, nil
}

func malformed(param, message string) *providers.ParseError {
	return &providers.ParseError{Param: param, Message: message}
}

// malformedAt tells of a body that is not one JSON object, and names a member
// that it has twice.
func malformedAt(err error) *providers.ParseError {
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return malformed("", "the body is not whole JSON")
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		name := admission.Clip(syntax.JSONPointer.LastToken())
		return malformed(name, name+" is given twice")
	}
	return malformed("", fmt.Sprintf("the body is not valid JSON, at byte %d", syntax.ByteOffset))
}
