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

const (
	chat        = `{"model":"gpt-4o-mini","max_completion_tokens":48,"messages":[{"role":"user","content":"Say it."}]}`
	stream      = `{"model":"gpt-4o-mini","max_completion_tokens":48,"stream":true,"messages":[{"role":"user","content":"Say it."}]}`
	streamUsage = `{"model":"gpt-4o-mini","max_completion_tokens":48,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Say it."}]}`
)

// main takes an address to listen on.
func main() {
	sim := simulator.New(simulator.Config{KeepCalls: -1})
	p := provider{
		chat:        record(sim, chat),
		stream:      events(record(sim, stream)),
		streamUsage: events(record(sim, streamUsage)),
	}
	log.Fatal(http.ListenAndServe(os.Args[1], p))
}

func record(sim *simulator.Server, body string) []byte {
	recorder := httptest.NewRecorder()
	sim.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", bytes.NewReader([]byte(body))))
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
	chat                []byte
	stream, streamUsage [][]byte
}

func (p provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
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
