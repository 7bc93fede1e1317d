// Package simulator is a pretend LLM provider that speaks the OpenAI API and
// Anthropic's over real HTTP: what the demo, the end-to-end tests and the benchmarks put
// upstream of the proxy.
//
// It promises three things. It answers as OpenAI does (chat completions, responses,
// completions, embeddings, moderations, the model list, errors, headers, streams
// event by event), and as Anthropic does (messages, counts of tokens, the model
// list), or breaks in exactly the
// way that a test's script asks for. It keeps books of its own of every
// request it received and every token it billed, so that a test compares the
// proxy's ledger with somebody else's truth. And it is deterministic: the same
// requests in the same order get the same bytes.
//
//	sim := simulator.New(simulator.Config{
//		Script: simulator.InTurn(
//			simulator.RateLimited(2*time.Second),
//			simulator.Answer{OutputTokens: 40, Fault: simulator.CloseMidStream},
//		),
//	})
//	upstream := httptest.NewServer(sim)
//	...
//	if got := sim.Totals().Billed.Completion; got != 40 { ... }
//
// # Behaviours by name
//
// Without a Script a request chooses its own answer, so that a demo or a
// person with curl can: by an X-Simulate header, or by what follows a "+" in
// the model's name.
//
//	X-Simulate: latency=200ms,tokens=50,close-mid-stream
//	"model": "gpt-4o-mini+503"
//
// ParseAnswer lists the words.
package simulator

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// MaxBodyBytes bounds a request's body; a longer one is answered 413.
	MaxBodyBytes = 256 << 20

	// MaxOutputTokens bounds the tokens of one choice, whatever the cap says.
	MaxOutputTokens = 1 << 17

	// MaxChoices bounds n and best_of, as OpenAI does.
	MaxChoices = 128

	// DefaultOutputTokens is the length of an answer where neither the script
	// nor the request's cap says one.
	DefaultOutputTokens = 16

	// DefaultKeepCalls is how many calls the books keep in full where
	// Config.KeepCalls is 0.
	DefaultKeepCalls = 100_000
)

// Config says what a provider is like. The zero value answers every request at
// once and in full.
type Config struct {
	// Script chooses the answer to a request; nil lets the request choose by
	// name. It is called from many goroutines.
	Script func(*Request) Answer

	// CountPrompt gives the prompt tokens to bill; nil bills PromptQuarter.
	CountPrompt func(*Request) int64

	// Key is the only API key that this provider knows; others get a 401.
	// Empty accepts any.
	Key string

	// Keys are others that it knows too.
	Keys []string

	// CapFields are the members that cap the output here, the first one
	// present wins; nil means max_completion_tokens, then max_tokens, and
	// max_output_tokens in Responses.
	CapFields []string

	// Refuses are members of a body that it refuses, as the backend of a login with ChatGPT
	// refuses output caps and tiers.
	Refuses []string

	// Models is what GET /v1/models lists; nil lists a few well-known names.
	Models []string

	// StopsOnCancel makes a stream that its client abandons cost only the
	// tokens written by then. Otherwise the whole answer is billed.
	StopsOnCancel bool

	// KeepCalls is how many calls the books keep in full, the first ones: 0
	// means DefaultKeepCalls, negative none. Totals count all of them.
	KeepCalls int
}

// Server is a simulated provider. It is safe for concurrent use.
type Server struct {
	config Config
	books  books
	closed chan struct{}
	once   sync.Once
}

// New makes a provider, ready to be served by an http.Server or httptest.
func New(config Config) *Server {
	if config.Script == nil {
		config.Script = byName
	}
	if config.CountPrompt == nil {
		config.CountPrompt = PromptQuarter
	}
	if config.CapFields == nil {
		config.CapFields = []string{"max_completion_tokens", "max_tokens", "max_output_tokens"}
	}
	if config.Models == nil {
		config.Models = []string{"gpt-4o", "gpt-4o-mini", "text-embedding-3-small"}
	}
	if config.KeepCalls == 0 {
		config.KeepCalls = DefaultKeepCalls
	}
	s := &Server{config: config, closed: make(chan struct{})}
	s.books.keep = config.KeepCalls
	s.books.changed.L = &s.books.mu
	return s
}

// Close ends the answers that hang or wait, so that the HTTP server that
// serves s can shut down.
func (s *Server) Close() {
	s.once.Do(func() { close(s.closed) })
}

// ServeHTTP answers one request and enters it in the books.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := s.books.open(r)
	defer s.end(r, call)

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	call.Body = body
	if err != nil {
		s.deliver(w, r, call, Answer{}, failure(http.StatusRequestEntityTooLarge, "", "request body could not be read: "+err.Error()))
		return
	}
	problem := call.Request.parse(s.config.CapFields)
	if refusal := s.refuse(&call.Request, problem); refusal != nil {
		s.deliver(w, r, call, Answer{}, *refusal)
		return
	}
	answer := s.config.Script(&call.Request)
	s.deliver(w, r, call, answer, s.reply(&call.Request, answer))
}

// refuse gives OpenAI's answer to a request that no script gets to see.
func (s *Server) refuse(r *Request, problem error) *reply {
	var refusal reply
	switch {
	case s.config.Key != "" && r.key() != s.config.Key && !slices.Contains(s.config.Keys, r.key()):
		refusal = failure(http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided.")
	case r.Endpoint == "":
		refusal = failure(http.StatusNotFound, "unknown_url", "Invalid URL ("+r.Method+" "+r.Path+")")
	case r.Method != r.Endpoint.method():
		refusal = failure(http.StatusMethodNotAllowed, "method_not_supported", "Not allowed to "+r.Method+" on "+r.Path+".")
	case problem != nil:
		refusal = failure(http.StatusBadRequest, "", "We could not parse the JSON body of your request: "+problem.Error())
	case r.refused(s.config.Refuses) != "":
		return unsupported(r.refused(s.config.Refuses))
	case r.Model == "" && r.Endpoint.method() != http.MethodGet && r.Endpoint != Moderations:
		refusal = failure(http.StatusBadRequest, "", "you must provide a model parameter")
	default:
		return nil
	}
	switch {
	case r.Endpoint.anthropic():
		refusal = messageFailure(refusal.status, "")
	case r.Endpoint.google():
		refusal = googleFailure(refusal.status, "")
	}
	return &refusal
}

// unsupported refuses a member in ChatGPT's own form.
func unsupported(member string) *reply {
	body, _ := json.Marshal(map[string]string{"detail": "Unsupported parameter: " + member})
	return &reply{status: http.StatusBadRequest, pieces: []piece{{data: body}}}
}

// reply renders what the answer says, before any fault or quirk of its way to
// the client.
func (s *Server) reply(r *Request, a Answer) reply {
	switch {
	case a.Status >= http.StatusMultipleChoices && r.Endpoint.anthropic() && a.Body == nil:
		return messageFailure(a.Status, a.Message)
	case a.Status >= http.StatusMultipleChoices && r.Endpoint.google() && a.Body == nil:
		return googleFailure(a.Status, a.Message)
	case a.Status >= http.StatusMultipleChoices:
		return a.failure()
	case r.Endpoint == Models:
		return modelList(r, s.config.Models)
	case r.Endpoint == Hello:
		return reply{status: http.StatusOK}
	case r.Endpoint == Moderations:
		return moderation(r, a)
	}
	usage := Usage{Prompt: a.PromptTokens, Cached: a.CachedTokens, CacheWrites: a.CacheWrites, Searches: a.Searches}
	if usage.Prompt == 0 {
		usage.Prompt = s.config.CountPrompt(r)
	}
	switch r.Endpoint {
	case Embeddings:
		return embeddings(r, a, usage)
	case Completions:
		return completion(r, a, usage)
	case Messages:
		return messages(r, a, usage)
	case Responses:
		return responses(r, a, usage)
	case GenerateContent, StreamGenerateContent:
		return contents(r, a, usage)
	case EmbedContent, BatchEmbedContents:
		return contentEmbeddings(r, a, usage)
	case CountContents:
		return document(map[string]int64{"totalTokens": usage.Prompt}, Usage{}, a)
	case CountTokens, InputTokens:
		return count(r, a, usage)
	case Compact:
		return compaction(r, a, usage)
	default:
		return chat(r, a, usage)
	}
}

// PromptQuarter counts a token for every four bytes of the request's text, and
// at least one: below what a tokenizer counts for ordinary prose.
func PromptQuarter(r *Request) int64 {
	return max(1, int64(r.textBytes()/4))
}

// byName reads the answer that a request asks for; a word that it does not
// know is answered 400 with the reason.
func byName(r *Request) Answer {
	spec := r.Header.Get("X-Simulate")
	if _, suffix, found := strings.Cut(r.Model, "+"); found && spec == "" {
		spec = suffix
	}
	answer, err := ParseAnswer(spec)
	if err != nil {
		return Answer{Status: http.StatusBadRequest, Message: err.Error()}
	}
	return answer
}

// pause waits, unless the client leaves or the server closes first.
func (s *Server) pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return r.Context().Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.closed:
	}
	return false
}

// hang waits until the client leaves or the server closes.
func (s *Server) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.closed:
	}
}
