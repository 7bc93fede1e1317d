// Command upstream is the provider of the benchmarks: it asks the simulator
// for each kind of answer once and then serves the recordings, so that it
// costs as little as a real server can.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	"github.com/aegis-proxy/aegis-proxy/internal/simulator"
)

// What is asked of the simulator, so that a stream has the same number of events in
// each API.
const (
	chat        = `{"model":"gpt-4o-mini","max_completion_tokens":48,"messages":[{"role":"user","content":"Say it."}]}`
	stream      = `{"model":"gpt-4o-mini","max_completion_tokens":48,"stream":true,"messages":[{"role":"user","content":"Say it."}]}`
	streamUsage = `{"model":"gpt-4o-mini","max_completion_tokens":48,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Say it."}]}`
	messages    = `{"model":"claude-sonnet-4-5","max_tokens":46,"stream":true,"messages":[{"role":"user","content":"Say it."}]}`
	responses   = `{"model":"gpt-4o-mini","max_output_tokens":44,"stream":true,"input":"Say it."}`
)

// Paths of the APIs.
const (
	chatPath      = "/v1/chat/completions"
	messagesPath  = "/v1/messages"
	responsesPath = "/v1/responses"
)

// main takes an address to listen on.
func main() {
	sim := simulator.New(simulator.Config{KeepCalls: -1})
	p := provider{
		chat:        record(sim, chatPath, chat),
		stream:      events(record(sim, chatPath, stream)),
		streamUsage: events(record(sim, chatPath, streamUsage)),
		messages:    events(record(sim, messagesPath, messages)),
		responses:   events(record(sim, responsesPath, responses)),
	}
	log.Fatal(http.ListenAndServe(os.Args[1], p))
}

func record(sim *simulator.Server, path, body string) []byte {
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader([]byte(body)))
	request.Header.Set("Anthropic-Version", "2023-06-01") // which only its API looks at
	sim.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		log.Fatalf("the simulator answered %d: %s", recorder.Code, recorder.Body)
	}
	return recorder.Body.Bytes()
}

// events splits a stream after each event.
func events(stream []byte) [][]byte {
	split := bytes.SplitAfter(stream, []byte("\n\n"))
	return split[:len(split)-1] // nothing follows the last
}

type provider struct {
	chat                                     []byte
	stream, streamUsage, messages, responses [][]byte
}

func (p provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case r.URL.Path == messagesPath:
		p.send(w, r, p.messages)
	case r.URL.Path == responsesPath:
		p.send(w, r, p.responses)
	case bytes.Contains(body, []byte(`"include_usage":true`)):
		p.send(w, r, p.streamUsage)
	case bytes.Contains(body, []byte(`"stream":true`)):
		p.send(w, r, p.stream)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(p.chat)))
		_, _ = w.Write(p.chat) // a client that left is the load generator's to count
	}
}

// pauseHeader is how many milliseconds lie between two events of a stream.
const pauseHeader = "X-Bench-Pause"

// send writes event by event, as a model would.
func (p provider) send(w http.ResponseWriter, r *http.Request, events [][]byte) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	pause, err := strconv.Atoi(r.Header.Get(pauseHeader))
	if err != nil || pause < 1 {
		http.Error(w, pauseHeader+" is not a number of milliseconds", http.StatusBadRequest)
		return
	}
	ticker := time.NewTicker(time.Duration(pause) * time.Millisecond)
	defer ticker.Stop()
	for _, event := range events {
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
		if _, err := w.Write(event); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
	}
}
