package oxdeai

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
)

// EnvelopeFormat is the only format version of an envelope.
const EnvelopeFormat = 1

// Envelope is a snapshot with the audit events that lead to it. The four last fields are empty in an unsigned one.
type Envelope struct {
	Snapshot  []byte  // snapshot bytes
	Events    []Value // audit events, as they were logged
	Issuer    string
	Alg       string // AlgEd25519
	KID       string
	Signature string // padded standard base64

	wire *Object // what was decoded; the signature covers exactly this
}

// object gives the envelope as it travels, with its members in canonical order.
func (e *Envelope) object() *Object {
	o := &Object{Members: make([]Member, 0, 7)}
	o.addText("alg", e.Alg)
	o.Members = append(o.Members, Member{"events", e.Events}, Member{"formatVersion", Int(EnvelopeFormat)})
	o.addText("issuer", e.Issuer)
	o.addText("kid", e.KID)
	o.addText("signature", e.Signature)
	o.Members = append(o.Members, Member{"snapshot", base64.StdEncoding.EncodeToString(e.Snapshot)})
	return o
}

// addText appends a member unless the text is empty.
func (o *Object) addText(name, text string) {
	if text != "" {
		o.Members = append(o.Members, Member{Name: name, Value: text})
	}
}

// AppendEnvelope appends the canonical bytes of the envelope. The error is that of canonical JSON, ErrTooLarge beyond
// MaxDocumentBytes, or the schema issue that a reader would find.
func AppendEnvelope(dst []byte, e *Envelope) ([]byte, error) {
	o := e.object()
	if err := checkEnvelope(o); err != nil {
		return dst, err
	}
	start := len(dst)
	dst, err := AppendCanonical(dst, o)
	if err == nil && len(dst)-start > MaxDocumentBytes {
		err = ErrTooLarge
	}
	return dst, err
}

// SignEnvelope returns the envelope with issuer, algorithm, key id and Ed25519 signature set.
func SignEnvelope(e Envelope, key ed25519.PrivateKey, issuer, kid string) (Envelope, error) {
	if issuer == "" || kid == "" {
		return Envelope{}, errors.New("sign envelope: issuer and kid must not be empty")
	}
	e.Issuer, e.Alg, e.KID, e.Signature, e.wire = issuer, AlgEd25519, kid, "", nil
	signature, err := SignEd25519(key, DomainEnvelope, e.object())
	if err != nil {
		return Envelope{}, fmt.Errorf("sign envelope: %w", err)
	}
	e.Signature = signature
	return e, nil
}

// EnvelopeError says which rule of the wire format an envelope breaks: the first one in the order path, code, message.
type EnvelopeError struct{ Issue Issue }

// Error gives the text that stands in the violation.
func (e *EnvelopeError) Error() string {
	return "invalid verification envelope: " + e.Issue.Path + ": " + e.Issue.Message
}

// DecodeEnvelope reads an envelope of at most MaxDocumentBytes. The error is that of Parse or an *EnvelopeError. A snapshot text that has
// only letters of base64 but is not base64 gives an empty Snapshot, which VerifySnapshot calls corrupt.
func DecodeEnvelope(data []byte) (*Envelope, error) {
	v, err := Parse(data)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*Object)
	if !ok {
		return nil, &EnvelopeError{Issue{Path: "$", Code: issueType, Message: "must be object"}}
	}
	if err := checkEnvelope(o); err != nil {
		return nil, err
	}
	e := &Envelope{wire: o}
	events, _ := o.Get("events")
	e.Events, _ = events.([]Value)
	e.Issuer, _ = o.Text("issuer")
	e.Alg, _ = o.Text("alg")
	e.KID, _ = o.Text("kid")
	e.Signature, _ = o.Text("signature")
	text, _ := o.Text("snapshot")
	if e.Snapshot, err = decodeBase64(text); err != nil {
		e.Snapshot = nil
	}
	return e, nil
}

// signed gives what the signature of a decoded envelope covers.
func (e *Envelope) signed() *Object { return e.wire.Without("signature") }

func checkEnvelope(o *Object) error {
	issues := envelopeMembers(o)
	issues = envelopeSigner(o, issues)
	issues = envelopeEvents(o, issues)
	if len(issues) == 0 {
		return nil
	}
	return &EnvelopeError{first(issues)[0]}
}

// first keeps only the issue that sorts first, so that a hostile envelope does not pile them up.
func first(issues []Issue) []Issue {
	sortIssues(issues)
	return issues[:1]
}

// envelopeMembers checks which members there are, the version and the snapshot.
func envelopeMembers(o *Object) []Issue {
	var issues []Issue
	for _, name := range [...]string{"formatVersion", "snapshot", "events"} {
		if _, found := o.Get(name); !found {
			issues = append(issues, Issue{Path: "$", Code: issueRequired, Message: "missing " + name})
		}
	}
	for _, m := range o.Members {
		switch m.Name {
		case "formatVersion", "snapshot", "events", "issuer", "alg", "kid", "signature":
		default:
			issues = append(issues, Issue{Path: "$." + m.Name, Code: issueAdditional, Message: "unknown field"})
		}
		if len(issues) > MaxEventIssues {
			issues = first(issues)
		}
	}
	if v, found := o.Get("formatVersion"); found && v != float64(EnvelopeFormat) {
		issues = append(issues, Issue{Path: "$.formatVersion", Code: issueValue, Message: "must equal 1"})
	}
	if v, found := o.Get("snapshot"); found && !isBase64Text(v) {
		issues = append(issues, Issue{Path: "$.snapshot", Code: issueFormat, Message: "must be base64 string"})
	}
	return issues
}

func envelopeEvents(o *Object, issues []Issue) []Issue {
	v, found := o.Get("events")
	if !found {
		return issues
	}
	events, ok := v.([]Value)
	if !ok {
		return append(issues, Issue{Path: "$.events", Code: issueType, Message: "must be array"})
	}
	for i, v := range events {
		if issues = checkEnvelopeEvent(i, v, issues); len(issues) > MaxEventIssues {
			issues = first(issues)
		}
	}
	return issues
}

func checkEnvelopeEvent(i int, v Value, issues []Issue) []Issue {
	event, ok := v.(*Object)
	if !ok || event == nil {
		return append(issues, Issue{Path: eventPath(i), Code: issueType, Message: "must be object"})
	}
	if checkEventAt("", event, nil) == nil {
		return issues
	}
	return append(issues, first(checkEventAt(eventPath(i), event, nil))...)
}

func eventPath(i int) string { return "$.events[" + strconv.Itoa(i) + "]" }

// envelopeSigner checks the members about the signature. A signature, even an empty one, makes the other three required.
func envelopeSigner(o *Object, issues []Issue) []Issue {
	for _, name := range [...]string{"issuer", "kid", "signature"} {
		if v, found := o.Get(name); found && !isString(v) {
			issues = append(issues, Issue{Path: "$." + name, Code: issueType, Message: "must be string"})
		}
	}
	alg, found := o.Get("alg")
	if found && alg != AlgEd25519 {
		issues = append(issues, Issue{Path: "$.alg", Code: issueEnum, Message: "must be Ed25519"})
	}
	if v, _ := o.Get("signature"); !isString(v) {
		return issues
	}
	if alg != AlgEd25519 {
		issues = append(issues, required("alg"))
	}
	for _, name := range [...]string{"issuer", "kid"} {
		if _, ok := o.Text(name); !ok {
			issues = append(issues, required(name))
		}
	}
	return issues
}

func required(name string) Issue {
	return Issue{Path: "$." + name, Code: issueRequired, Message: "required when signature is present"}
}

// isBase64Text says whether v is letters of the standard alphabet, at least one, with at most two padding signs behind.
func isBase64Text(v Value) bool {
	s, _ := v.(string)
	pad := 0
	for pad < 2 && pad < len(s) && s[len(s)-1-pad] == '=' {
		pad++
	}
	s = s[:len(s)-pad]
	for i := 0; i < len(s); i++ {
		if !isBase64Letter(s[i]) {
			return false
		}
	}
	return s != ""
}

func isBase64Letter(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}
