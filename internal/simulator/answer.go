package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Answer is what a script wants for one request. The zero value is a complete
// answer, at once, exactly as long as the request's cap allows.
type Answer struct {
	// Status is the HTTP status; 0 is 200. From 300 on the answer is a failure,
	// which costs nothing.
	Status     int
	RetryAfter time.Duration // sent as Retry-After, in whole seconds rounded up
	Code       string        // of an error; empty takes OpenAI's own for the status
	Message    string        // of an error
	Header     http.Header   // sent too, in place of ours of the same name
	Body       []byte        // sent in place of an error's rendered body

	Latency      time.Duration // before the first byte
	TokenDelay   time.Duration // before each event of a stream but the first
	OutputTokens int64         // of each choice, 0: the cap, or DefaultOutputTokens; never above the cap
	IgnoreCap    bool          // lets OutputTokens exceed the cap
	Reasoning    int64         // of OutputTokens, how many are billed but never shown
	PromptTokens int64         // to bill, 0: what Config.CountPrompt says
	CachedTokens int64         // of the prompt tokens
	CacheWrites  int64         // of the prompt tokens
	Model        string        // that the answer reports, empty: the one asked for

	Text     string   // said, in place of as many words as OutputTokens; no tool is called then
	Call     ToolCall // made, whichever tools are offered; without a name the first one offered is called
	Searches int64    // of the web, each billed and shown; not in chats

	Fault Fault

	NoUsage            bool    // the answer never says what it cost
	NoDone             bool    // a stream ends without its last event: "data: [DONE]", message_stop, response.completed
	UsageBesideChoices bool    // a stream tells its usage in the finishing event, asked or not
	Gzip               bool    // compressed, whatever was accepted
	OddWhitespace      bool    // valid, but nobody writes JSON or events like that
	Framing            Framing // how the body's end is told
	PadBytes           int     // adds an unknown member of that length
	TrickleBytes       int     // writes at most so many bytes at a time, TokenDelay apart
	Informational      int     // 100 or 103: a status sent ahead of the answer
}

// ToolCall is a call that the model makes of a tool.
type ToolCall struct {
	Name      string
	Namespace string // of the tool, in Responses only
	Arguments string // JSON; of a custom tool any text
	Custom    bool   // a custom tool of Responses, not a function
}

// Fault is a way for the connection to break.
type Fault int

// The faults. After Hang and HangMidStream nothing more comes until the client
// leaves or the Server is closed.
const (
	NoFault            Fault = iota
	CloseBeforeHeaders       // after Latency, without a byte
	CloseAfterHeaders        // with status and headers, but no body
	CloseMidStream           // between two events, half of them sent
	CloseMidJSON             // inside the middle event, or inside a JSON body
	ErrorMidStream           // an error event in place of the second half of the events; the connection lives
	Hang                     // never answers
	HangMidStream            // stops after half of the events
)

// Framing is how the end of a body is told.
type Framing int

// The framings.
const (
	UsualFraming Framing = iota // Content-Length for JSON, chunked for streams
	Chunked
	ContentLength
)

// Always gives every request the same answer.
func Always(a Answer) func(*Request) Answer {
	return func(*Request) Answer { return a }
}

// InTurn gives the first request the first answer, and so on; the last answer
// repeats. It goes by Request.Number.
func InTurn(answers ...Answer) func(*Request) Answer {
	return func(r *Request) Answer {
		return answers[min(r.Number, int64(len(answers)))-1]
	}
}

// Fail is OpenAI's error of that status.
func Fail(status int) Answer {
	return Answer{Status: status}
}

// RateLimited is a 429 that says when to come back.
func RateLimited(retryAfter time.Duration) Answer {
	return Answer{Status: http.StatusTooManyRequests, RetryAfter: retryAfter}
}

// words are the behaviours that stand for themselves.
var words = map[string]func(*Answer){
	"close-before-headers": func(a *Answer) { a.Fault = CloseBeforeHeaders },
	"close-after-headers":  func(a *Answer) { a.Fault = CloseAfterHeaders },
	"close-mid-stream":     func(a *Answer) { a.Fault = CloseMidStream },
	"close-mid-json":       func(a *Answer) { a.Fault = CloseMidJSON },
	"error-mid-stream":     func(a *Answer) { a.Fault = ErrorMidStream },
	"hang":                 func(a *Answer) { a.Fault = Hang },
	"hang-mid-stream":      func(a *Answer) { a.Fault = HangMidStream },
	"no-usage":             func(a *Answer) { a.NoUsage = true },
	"no-done":              func(a *Answer) { a.NoDone = true },
	"usage-beside-choices": func(a *Answer) { a.UsageBesideChoices = true },
	"gzip":                 func(a *Answer) { a.Gzip = true },
	"odd-whitespace":       func(a *Answer) { a.OddWhitespace = true },
	"chunked":              func(a *Answer) { a.Framing = Chunked },
	"content-length":       func(a *Answer) { a.Framing = ContentLength },
	"ignore-cap":           func(a *Answer) { a.IgnoreCap = true },
	"slow":                 func(a *Answer) { a.Latency, a.TokenDelay = time.Second, 100*time.Millisecond },
	"continue":             func(a *Answer) { a.Informational = http.StatusContinue },
}

// settings are the behaviours that take a value.
var settings = map[string]func(*Answer, string) error{
	"latency":     func(a *Answer, v string) error { return setDuration(&a.Latency, v) },
	"delay":       func(a *Answer, v string) error { return setDuration(&a.TokenDelay, v) },
	"retry-after": func(a *Answer, v string) error { return setDuration(&a.RetryAfter, v) },
	"tokens":      func(a *Answer, v string) error { return setCount(&a.OutputTokens, v) },
	"prompt":      func(a *Answer, v string) error { return setCount(&a.PromptTokens, v) },
	"writes":      func(a *Answer, v string) error { return setCount(&a.CacheWrites, v) },
	"searches":    func(a *Answer, v string) error { return setCount(&a.Searches, v) },
	"cached":      func(a *Answer, v string) error { return setCount(&a.CachedTokens, v) },
	"reasoning":   func(a *Answer, v string) error { return setCount(&a.Reasoning, v) },
	"pad":         func(a *Answer, v string) error { return setSize(&a.PadBytes, v) },
	"trickle":     func(a *Answer, v string) error { return setSize(&a.TrickleBytes, v) },
}

// maxSetting bounds a count or size given by name: 64 Mi.
const maxSetting = 64 << 20

// ParseAnswer reads a comma-separated list of behaviours: an error status from
// 400 to 599, a word (hang, gzip, no-usage, ...), or a setting
// (latency=200ms, tokens=50, ...). The empty string is the zero Answer. The
// error names the part that it does not know, and the parts that it does.
func ParseAnswer(spec string) (Answer, error) {
	var a Answer
	for part := range strings.SplitSeq(spec, ",") {
		if err := a.apply(strings.TrimSpace(part)); err != nil {
			return Answer{}, err
		}
	}
	return a, nil
}

func (a *Answer) apply(part string) error {
	if part == "" {
		return nil
	}
	if status, err := strconv.Atoi(part); err == nil && status >= 400 && status < 600 {
		a.Status = status
		return nil
	}
	if word, known := words[part]; known {
		word(a)
		return nil
	}
	name, value, _ := strings.Cut(part, "=")
	set, known := settings[name]
	if !known {
		return fmt.Errorf("unknown behaviour %q; known are a status from 400 to 599, %s", part, behaviours())
	}
	if err := set(a, value); err != nil {
		return fmt.Errorf("behaviour %q: %w", part, err)
	}
	return nil
}

// behaviours lists every word and setting, sorted.
func behaviours() string {
	var names []string
	for name := range words {
		names = append(names, name)
	}
	for name := range settings {
		names = append(names, name+"=")
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func setDuration(to *time.Duration, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("%v is negative", d)
	}
	*to = d
	return nil
}

func setCount(to *int64, value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return err
	}
	if n < 0 || n > maxSetting {
		return fmt.Errorf("%d is not between 0 and %d", n, maxSetting)
	}
	*to = n
	return nil
}

func setSize(to *int, value string) error {
	var n int64
	if err := setCount(&n, value); err != nil {
		return err
	}
	*to = int(n)
	return nil
}

// openAIErrors are type and code of the API's errors by status, and the
// message where a script gives none.
var openAIErrors = map[int]struct{ kind, code, message string }{
	400: {"invalid_request_error", "", "Invalid request."},
	401: {"invalid_request_error", "invalid_api_key", "Incorrect API key provided."},
	403: {"invalid_request_error", "unsupported_country_region_territory", "Country, region, or territory not supported."},
	404: {"invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."},
	429: {"requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."},
	503: {"service_unavailable", "", "The engine is currently overloaded, please try again later."},
}

// failure renders the script's error.
func (a Answer) failure() reply {
	known := openAIErrors[a.Status]
	r := failure(a.Status, cmp.Or(a.Code, known.code), cmp.Or(a.Message, known.message))
	if a.Body != nil {
		r.pieces = []piece{{data: a.Body}}
	}
	return r
}

// failure is an error body as OpenAI writes it.
func failure(status int, code, message string) reply {
	kind := cmp.Or(openAIErrors[status].kind, "invalid_request_error")
	if status >= http.StatusInternalServerError {
		kind = cmp.Or(openAIErrors[status].kind, "server_error")
	}
	if message == "" {
		message = "The server had an error while processing your request."
	}
	var body struct {
		Error struct {
			Message string  `json:"message"`
			Type    string  `json:"type"`
			Param   *string `json:"param"`
			Code    *string `json:"code"`
		} `json:"error"`
	}
	body.Error.Message, body.Error.Type = message, kind
	if code != "" {
		body.Error.Code = &code
	}
	indented, _ := json.MarshalIndent(body, "", "    ")
	return reply{status: status, pieces: []piece{{data: append(indented, '\n')}}}
}
